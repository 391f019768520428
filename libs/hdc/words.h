// Words of a text for the sketch (math-inference-training C.2; golden/README "Sketch"): maximal
// runs of characters of the Unicode categories L, M and N, lower-cased. Functions here are
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace chimera {

// What DecodeUtf8 returns for a byte that starts no well-formed sequence.
inline constexpr uint32_t kInvalidCodePoint = 0xFFFFFFFF;

// The code point at *at, which must be inside text; moves *at behind it, or by one byte when the
// bytes there are not well formed (overlong forms, surrogates and values over 10FFFF included).
uint32_t DecodeUtf8(std::string_view text, size_t* at);

bool IsValidUtf8(std::string_view text);

// True for categories L, M, N.
bool IsWordCodePoint(uint32_t code_point);

// The small letter, or the code point itself. One to one: see SplitWords for the two exceptions.
uint32_t LowerCodePoint(uint32_t code_point);

// The lower-cased words in order, stop words included. Bytes that are not UTF-8 separate words.
// Two special cases of full lower-casing are kept: U+0130 becomes i and U+0307, and a capital sigma
// that ends a word of two or more characters becomes the final form U+03C2.
std::vector<std::string> SplitWords(std::string_view text);

// The fixed list of C.2; such words carry weight 0.
bool IsStopWord(std::string_view word);

}  // namespace chimera
