#include "hdc/sketch.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "hdc/words.h"

namespace chimera {

absl::Status AddTextFeatures(const FeatureCodebook& codebook, std::span<const int32_t> tokens,
                             std::string_view text, BundleCounter* counter) {
  if (tokens.size() > kMaxSketchTokens || text.size() > kMaxSketchTextBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "sketch window of ", tokens.size(), " tokens and ", text.size(), " bytes exceeds ",
        kMaxSketchTokens, " tokens or ", kMaxSketchTextBytes, " bytes"));
  }
  // A word of n bytes and its separator weigh 2, so words weigh at most one more than the bytes.
  const size_t most = 3 * tokens.size() + text.size() + 1;
  if (most > BundleCounter::kMaxWeight - counter->total_weight()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("sketch counters hold weight ", counter->total_weight(), "; up to ", most,
                     " more would exceed ", BundleCounter::kMaxWeight));
  }
  HyperVector previous;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const HyperVector code = codebook.Code(TokenFeature(tokens[i]));
    counter->Add(code, 1);
    if (i > 0) counter->Add(FeatureCodebook::Bigram(previous, code), 2);
    previous = code;
  }
  for (const std::string& word : SplitWords(text)) {
    if (!IsStopWord(word)) counter->Add(codebook.Code(WordFeature(word)), 2);
  }
  return absl::OkStatus();
}

absl::StatusOr<HyperVector> SketchText(const FeatureCodebook& codebook,
                                       std::span<const int32_t> tokens, std::string_view text) {
  BundleCounter counter;
  CHIMERA_RETURN_IF_ERROR(AddTextFeatures(codebook, tokens, text, &counter));
  return counter.Majority(codebook.tie());
}

RunningSketch::RunningSketch(int shift) : shift_(shift) { CHIMERA_CHECK(shift >= 1 && shift <= 6); }

void RunningSketch::Update(const BundleCounter& window) {
  std::array<int32_t, kHyperBits> sums;
  window.SignedSums(sums);
  for (int i = 0; i < kHyperBits; ++i) {
    const int old = acc_[i];
    acc_[i] = static_cast<int16_t>(old + 8 * std::clamp(sums[i], -16, 16) - (old >> shift_));
  }
}

HyperVector RunningSketch::Sketch(const FeatureCodebook& codebook) const {
  HyperVector out{};
  for (int i = 0; i < kHyperBits; ++i) {
    const bool bit = acc_[i] != 0 ? acc_[i] > 0 : codebook.tie().Bit(i);
    out.words[i / 64] |= static_cast<uint64_t>(bit) << (i % 64);
  }
  return out;
}

}  // namespace chimera
