// Top-p and the draw (math-inference-training A.5). The uniform of a position is named by (seed,
// choice, position), so the same seed draws the same token whatever ran before or beside it.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "decode/knot.h"

namespace chimera {

struct SamplerSettings {
  float temperature = 1.0f;  // 0: the first row, which is the argmax with ties to the smaller id
  float top_p = 1.0f;        // shortest prefix by (-p, id) whose mass reaches it; 1 keeps all
  uint64_t seed = 0;
  uint32_t choice = 0;
};

struct DrawnToken {
  int32_t token_id = 0;
  int row = 0;             // its place in the sorted rows
  float raw_logit = 0.0f;  // before the transform
};

// The uniform of a position, counted from the first prompt token.
float TokenUniform(const SamplerSettings& settings, int64_t position);

// Appends rows [first, first + count) to the distribution's three row lists, in order; fewer only
// at the end of the allowed rows.
using FetchRows = absl::FunctionRef<absl::Status(int first, int count, NodeDistribution* rows)>;

// Draws from a distribution whose rows may stop early: the cut or the draw beyond the rows held
// asks for more, so the result never depends on how many came first. INTERNAL when rows run dry.
absl::StatusOr<DrawnToken> DrawToken(NodeDistribution* distribution,
                                     const SamplerSettings& settings, int64_t position,
                                     FetchRows fetch);

}  // namespace chimera
