// How fast a tokenizer encodes, on one core.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "text/tokenizer.h"

namespace chimera {

struct TokenizerBenchResult {
  double mb_per_s_median;  // 10^6 bytes of text a second
  double mb_per_s_min;
  double mb_per_s_max;
  int64_t tokens;
  int64_t bytes;
  double bytes_per_token;
  int runs;
};

// About `bytes` bytes of made-up English for a bench without a text of its own: the vocabulary's
// words by Zipf's law, some of them compounds that are no token, in sentences and paragraphs. The
// same text for the same tokenizer. Real text is the better measure.
std::string SampleEnglish(const Tokenizer& tokenizer, size_t bytes);

// Encodes `text` `runs` times after one run that is not counted, and checks that it decodes to
// itself. INVALID_ARGUMENT for empty text or runs outside [1, 1000].
absl::StatusOr<TokenizerBenchResult> RunTokenizerBench(const Tokenizer& tokenizer,
                                                       std::string_view text, int runs);

}  // namespace chimera
