// Fields to train the span knot with (docs/layers/span_knot.md): each sequence gets or lacks each
// field at random, so that serving may leave any of them out. Memory is the running sketch of the
// text before the row; grammar and debt are noise at a low rate, for no state of either exists in
// training and the layer only has to live with them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/exec_context.h"
#include "hdc/features.h"
#include "layers/span_knot_op.h"
#include "layers/train_batch.h"

namespace chimera {

inline constexpr int kSketchRefresh = 16;  // positions that share a memory sketch

// How likely a sequence carries each field in a step; its weight is then uniform in (0, 1].
struct SketchFieldRates {
  float memory = 0.5f;
  float grammar = 0.05f;
  float debt = 0.05f;
};

// Draws are those of Philox (seed, purpose 5, stream = sequence, index = step * 65536 + i):
// block i = 0 decides memory, grammar, debt (words 0, 1, 2), block 1 has their weights, blocks
// 16.. and 128.. the noise of grammar and debt, 128 bits each. Depends on nothing else, so a
// resumed run draws the same. step < 2^48. Thread-compatible.
class SketchFieldBuilder {
 public:
  // bits as in SpanKnotShape.
  SketchFieldBuilder(int bits, uint64_t seed, const SketchFieldRates& rates);

  // The fields of a batch; valid until the next call. Row t of a sequence sees, as memory, the
  // tokens since the last reset and before position t - t % 16, none of its own window: no field
  // knows a token of the row or after it.
  SketchFields Build(ExecContext* exec, const TrainBatch& batch, uint64_t step);

 private:
  void BuildSequence(const TrainBatch& batch, int seq, uint64_t step);
  void BuildMemory(const TrainBatch& batch, int seq, float weight);

  int bits_, words_;
  uint64_t seed_;
  SketchFieldRates rates_;
  FeatureCodebook codebook_;
  int64_t per_sequence_ = 0;  // sketches of the table a sequence owns: grammar, debt, memories
  std::vector<uint64_t> table_;
  std::vector<int32_t> index_[3];
  std::vector<float> weight_[3];
};

}  // namespace chimera
