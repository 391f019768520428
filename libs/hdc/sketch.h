// Text sketches (math-inference-training C.2; details in golden/README "Sketch"): a SimHash of
// 8,192 bits. Features: every token (weight 1), every ordered pair of neighbours (2), every word
// that is not a stop word (2). Two texts whose feature vectors have cosine c differ in about
// arccos(c) / pi of the bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hdc/bundle_counter.h"
#include "hdc/features.h"
#include "hdc/hypervector.h"

namespace chimera {

// Bounds that keep every counter exact: 3 per token and 1 per byte stay below BundleCounter's
// limit.
inline constexpr size_t kMaxSketchTokens = 131072;
inline constexpr size_t kMaxSketchTextBytes = 524288;

// Adds the features of one window to counter (not reset first). tokens are the ids of text. An
// error, and nothing added, when a bound above or the counter's own would be passed.
absl::Status AddTextFeatures(const FeatureCodebook& codebook, std::span<const int32_t> tokens,
                             std::string_view text, BundleCounter* counter);

// The sketch of one text. Depends on the features only, not on their order of arrival.
absl::StatusOr<HyperVector> SketchText(const FeatureCodebook& codebook,
                                       std::span<const int32_t> tokens, std::string_view text);

// The running context sketch: leaky counters, fed with one window of 32 committed tokens at a time.
// shift 2 forgets quickly, shift 5 slowly. 16 KB, allocates nothing after construction.
// Thread-compatible.
class RunningSketch {
 public:
  // shift 1..6, so that |counter| stays below 2^15 (checked).
  explicit RunningSketch(int shift);

  // acc += 8 * clip(window, -16, 16) - (acc >> shift), with the old acc and an arithmetic shift.
  void Update(const BundleCounter& window);
  HyperVector Sketch(const FeatureCodebook& codebook) const;
  void Reset() { acc_.fill(0); }
  std::span<const int16_t, kHyperBits> counters() const { return acc_; }

 private:
  int shift_;
  std::array<int16_t, kHyperBits> acc_{};
};

}  // namespace chimera
