// The sentence around a token, as the machine writes it down (math-inference-training C.6). Pure.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "memory/learn_batch.h"

namespace chimera {

inline constexpr size_t kSentenceTokens = 64;  // looked at on either side of the token
inline constexpr size_t kSentenceBytesMin = 12;
inline constexpr size_t kSentenceBytesMax = 1024;

// From behind the last end of a sentence before the token (. ! ? or a line's end) to the next one,
// within kSentenceTokens and the offered tokens around it, without white space at its ends. Empty
// when that is not UTF-8 of kSentenceBytesMin..kSentenceBytesMax bytes.
std::string SentenceAround(std::span<const ReadToken> tokens, size_t at);

}  // namespace chimera
