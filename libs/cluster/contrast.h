// What a text in front is worth to another text: nats of the latter's end, teacher-forced, behind
// the one front and behind the other (math-inference-training C.6, contrastive validation).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "decode/knot.h"

namespace chimera {

inline constexpr int kContrastWindowMax = 64;  // tokens that are scored

struct Contrast {
  double nll_with = 0, nll_without = 0;  // nats, summed over the tokens
  int tokens = 0;                        // scored each time
};

// Scores the last min(window, text.size() - 1) tokens of a text behind eot, front_with and what of
// the text comes before them, then behind eot, front_without and the same. Fronts may be empty. The
// first token of the text is never scored: it would measure the seam. Any text in front helps, so
// front_without is what is left when the item is masked, not nothing. Two prefills on two streams,
// one after the other and of one model; model_id and deadline_ns as in Knot::Open. eot: the model's
// end-of-text.
// INVALID_ARGUMENT for less than 2 tokens of text, a window outside 1..kContrastWindowMax and a
// scored token that no text has; INTERNAL for answers that do not fit; else as Open and Verify.
absl::StatusOr<Contrast> MeasureContrast(Knot* knot, const std::string& model_id, int32_t eot,
                                         std::span<const int32_t> front_with,
                                         std::span<const int32_t> front_without,
                                         std::span<const int32_t> text, int window,
                                         int64_t deadline_ns);

}  // namespace chimera
