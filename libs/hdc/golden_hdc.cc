#include "hdc/golden_hdc.h"

#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/check.h"
#include "base/file.h"

namespace chimera {

nlohmann::json GoldenHdcCase(const std::string& name) {
  const auto text = ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/hdc.json", 1 << 22);
  CHIMERA_CHECK(text.ok());
  const nlohmann::json file = nlohmann::json::parse(*text, nullptr, false);
  CHIMERA_CHECK(!file.is_discarded());
  CHIMERA_CHECK(file["cases"].contains(name));
  return file["cases"][name];
}

std::string HexOf(const HyperVector& vector) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (uint8_t byte : ToBytes(vector)) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

HyperVector VectorOfHex(const std::string& hex) {
  CHIMERA_CHECK(hex.size() == 2 * kHyperBytes);
  std::array<uint8_t, kHyperBytes> bytes;
  for (size_t i = 0; i < kHyperBytes; ++i) {
    bytes[i] = static_cast<uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  }
  return FromBytes(bytes);
}

}  // namespace chimera
