#include "grammar/expected_bytes.h"

#include <vector>

#include "absl/strings/str_cat.h"

namespace chimera {
namespace {

constexpr size_t kPartsMax = 12;

std::string ByteName(int byte) {
  switch (byte) {
    case '\n':
      return "a newline";
    case '\t':
      return "a tab";
    case '\r':
      return "a carriage return";
    case ' ':
      return "a space";
    case '"':
      return "\"";
    default:
      break;
  }
  if (byte > ' ' && byte < 0x7F) return std::string(1, static_cast<char>(byte));
  return absl::StrCat("byte ", absl::Hex(byte, absl::kZeroPad2));
}

}  // namespace

std::string ExpectedBytes(StateTable* table, GrammarState state) {
  const auto may_follow = [&](int byte) {
    return byte < 256 && table->Next(state, static_cast<uint8_t>(byte)) != kDeadState;
  };
  std::vector<std::string> parts;
  for (int byte = 0; byte < 256; ++byte) {
    if (!may_follow(byte)) continue;
    const int low = byte;
    while (may_follow(byte + 1)) ++byte;
    parts.push_back(low == byte ? ByteName(low)
                                : absl::StrCat(ByteName(low), byte == low + 1 ? " or " : " to ",
                                               ByteName(byte)));
  }
  if (parts.size() > kPartsMax) {
    parts.resize(kPartsMax);
    parts.push_back("others");
  }
  if (table->CanEnd(state)) parts.push_back("the end");
  std::string text;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) text += i + 1 == parts.size() ? " or " : ", ";
    text += parts[i];
  }
  return text.empty() ? "nothing" : text;
}

}  // namespace chimera
