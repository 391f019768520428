#include "text/tokenizer_bench.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/philox.h"

namespace chimera {
namespace {

constexpr int kRunsMax = 1000;

}  // namespace

absl::StatusOr<TokenizerBenchResult> RunTokenizerBench(const Tokenizer& tokenizer,
                                                       std::string_view text, int runs) {
  if (text.empty()) return absl::InvalidArgumentError("tokenizer bench: text is empty");
  if (runs < 1 || runs > kRunsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer bench: runs ", runs, " is not in [1, ", kRunsMax, "]"));
  }
  std::vector<int32_t> ids = tokenizer.Encode(text);
  if (tokenizer.Decode(ids) != text) {
    return absl::InternalError("tokenizer bench: the text does not decode to itself");
  }
  std::vector<double> speeds;
  for (int run = 0; run < runs; ++run) {
    ids.clear();
    const int64_t begin_ns = Clock::Real().NowNs();
    tokenizer.EncodeAppend(text, &ids);
    const int64_t ns = std::max<int64_t>(1, Clock::Real().NowNs() - begin_ns);
    speeds.push_back(1e3 * static_cast<double>(text.size()) / static_cast<double>(ns));
  }
  std::sort(speeds.begin(), speeds.end());
  const size_t middle = speeds.size() / 2;
  TokenizerBenchResult result{};
  result.mb_per_s_median =
      speeds.size() % 2 == 1 ? speeds[middle] : (speeds[middle - 1] + speeds[middle]) / 2;
  result.mb_per_s_min = speeds.front();
  result.mb_per_s_max = speeds.back();
  result.tokens = static_cast<int64_t>(ids.size());
  result.bytes = static_cast<int64_t>(text.size());
  result.bytes_per_token = static_cast<double>(result.bytes) / static_cast<double>(result.tokens);
  result.runs = runs;
  return result;
}

std::string SampleEnglish(const Tokenizer& tokenizer, size_t bytes) {
  constexpr size_t kWordsMax = 40'000;
  std::vector<std::string_view> words;  // " word", most frequent merges first
  std::vector<double> mass;             // cumulative
  for (int id = 0; id < tokenizer.n_ranks() && words.size() < kWordsMax; ++id) {
    const std::string_view token = tokenizer.TokenBytes(id);
    const bool word =
        token.size() > 2 && token[0] == ' ' &&
        std::all_of(token.begin() + 1, token.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    if (!word) continue;
    words.push_back(token);
    // Zipf's law, with the steeper tail of English beyond its commonest few thousand words.
    const auto rank = static_cast<double>(mass.size());
    const double weight = std::min(1.0, 5000.0 / (rank + 1)) / (rank + 2.7);
    mass.push_back((mass.empty() ? 0.0 : mass.back()) + weight);
  }
  std::string text;
  if (words.empty()) return text;
  const PhiloxStream rng(1, RngPurpose::kDataShuffle, 0);
  uint64_t drawn = 0;
  auto draw = [&] {
    const double at = static_cast<double>(rng.Uniform(drawn++)) * mass.back();
    return static_cast<size_t>(std::lower_bound(mass.begin(), mass.end(), at) - mass.begin());
  };
  for (int word = 0; text.size() < bytes; ++word) {
    const size_t index = draw();
    std::string_view next = words[index];
    if (word % 13 == 0) {  // a sentence ends before it; now and then a paragraph
      if (word > 0) text += word % 91 == 0 ? ".\n\n" : ". ";
      text += static_cast<char>(next[1] - 'a' + 'A');
      next.remove_prefix(2);
    }
    text += next;
    // Compounds recur as words do: each word has one it joins with.
    if (rng.Uniform(drawn++) < 0.05f) text += words[(index * 7919 + 13) % words.size()].substr(1);
  }
  return text;
}

}  // namespace chimera
