#include "text/tokenizer_bench.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"

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

}  // namespace chimera
