// Well-formed UTF-8 (Unicode 16, table 3-7): validation, boundaries, replacement. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace chimera {

inline constexpr uint32_t kReplacementCodePoint = 0xFFFD;
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

// What stands at one place of a byte string.
struct Utf8Char {
  enum class Kind : uint8_t {
    kValid,      // a character of `length` bytes
    kInvalid,    // a maximal ill-formed subpart of `length` bytes (1..3): one U+FFFD
    kTruncated,  // the text ends after `length` bytes (1..3) of what may become a character
  };
  uint32_t code_point;  // kReplacementCodePoint unless kValid
  uint8_t length;
  Kind kind;
};

// at < text.size().
Utf8Char Utf8At(std::string_view text, size_t at);

// Length of the longest prefix that is well-formed; text.size() when all of it is.
size_t ValidUtf8Prefix(std::string_view text);

// The last bytes of a text, from the beginning of a character to the end of one: at most so many.
// Stops before what is ill-formed.
std::string_view Utf8Tail(std::string_view text, size_t bytes);

// How many bytes (0..3) at the end begin a character that more bytes could complete.
size_t TruncatedUtf8Suffix(std::string_view text);

// Appends text to out with U+FFFD for every maximal ill-formed subpart, the truncated end included.
void AppendUtf8Replaced(std::string_view text, std::string* out);

}  // namespace chimera
