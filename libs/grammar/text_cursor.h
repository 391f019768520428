// A place in a text that is read from left to right, for the parsers of expressions and rules.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/utf8.h"

namespace chimera {

// The value of a hexadecimal digit, or -1.
constexpr int HexDigit(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  const int lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Borrows the text, which is UTF-8. Thread-compatible.
class TextCursor {
 public:
  explicit TextCursor(std::string_view text) : text_(text) {}

 protected:
  bool AtEnd() const { return at_ == text_.size(); }
  // Not at the end.
  char Peek() const { return text_[at_]; }
  bool Take(std::string_view token) {
    if (text_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  // Not at the end.
  uint32_t TakeCodePoint() {
    const Utf8Char c = Utf8At(text_, at_);
    at_ += c.length;
    return c.code_point;
  }
  // So many hexadecimal digits, at most 8, one after the other; false, at the one that is missing.
  bool TakeHex(size_t digits, uint32_t* value) {
    *value = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      const int digit = AtEnd() ? -1 : HexDigit(static_cast<uint8_t>(Peek()));
      if (digit < 0) return false;
      *value = *value << 4 | static_cast<uint32_t>(digit);
    }
    return true;
  }

  const std::string_view text_;
  size_t at_ = 0;
};

}  // namespace chimera
