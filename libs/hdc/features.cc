#include "hdc/features.h"

#include <string>

#include "base/file.h"
#include "base/philox.h"

namespace chimera {
namespace {

HyperVector PhiloxVector(uint64_t seed, uint64_t index, uint32_t first_stream) {
  HyperVector out;
  for (uint32_t b = 0; b < kHyperBits / 128; ++b) {
    const PhiloxBlock block =
        PhiloxStream(seed, RngPurpose::kFeatureCode, first_stream + b).Block(index);
    out.words[2 * b] = block[0] | static_cast<uint64_t>(block[1]) << 32;
    out.words[2 * b + 1] = block[2] | static_cast<uint64_t>(block[3]) << 32;
  }
  return out;
}

}  // namespace

uint64_t TokenFeature(int32_t token) {
  const uint8_t bytes[5] = {0x01, static_cast<uint8_t>(token), static_cast<uint8_t>(token >> 8),
                            static_cast<uint8_t>(token >> 16), static_cast<uint8_t>(token >> 24)};
  return Xxh3(bytes);
}

uint64_t WordFeature(std::string_view word) {
  std::string bytes(1, '\x02');
  bytes += word;
  return Xxh3(bytes);
}

FeatureCodebook::FeatureCodebook(uint64_t seed) : seed_(seed), tie_(PhiloxVector(seed, 0, 64)) {}

HyperVector FeatureCodebook::Code(uint64_t feature) const {
  return PhiloxVector(seed_, feature, 0);
}

HyperVector FeatureCodebook::Bigram(const HyperVector& first, const HyperVector& second) {
  return Bind(Rotate(first, 1), second);
}

}  // namespace chimera
