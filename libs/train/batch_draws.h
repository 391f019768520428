// What a training step draws beside its tokens: how often each token loops, and the fields its SK
// layers see. Functions of the seed and the step, so a resumed run draws the same.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/exec_context.h"
#include "config/model_config.h"
#include "layers/loop_depth.h"
#include "layers/sketch_fields.h"
#include "layers/train_batch.h"

namespace chimera {

// The law of loop depths in training (math-backbone 4.3, 4.4). A model with a TM layer inside its
// loop draws one depth per sequence and step: there all tokens of a sequence run an iteration or
// none does (docs/numerics.md); states held from step to step it meets all the same.
LoopDepthOptions DepthOptionsOf(const ModelConfig& config);

// Thread-compatible.
class BatchDraws {
 public:
  BatchDraws(const ModelConfig& config, uint64_t seed);

  // Fills batch->loops and batch->fields for step (0, 1, ...), valid until the next call.
  void Draw(ExecContext* exec, int64_t step, TrainBatch* batch);
  // Iterations a token of the last batch runs on average; 1 without a loop.
  double mean_loops() const { return mean_loops_; }

 private:
  const bool loops_on_;
  const LoopDepthOptions depths_;
  const uint64_t seed_;
  std::optional<SketchFieldBuilder> builder_;
  SketchFields fields_;
  std::vector<uint8_t> loops_;
  double mean_loops_ = 1;
};

}  // namespace chimera
