// AdamW over the flat parameter buffer (Loshchilov & Hutter 2019; spec E.8): decoupled decay on
// matrices only, global-norm clipping, cosine schedule with linear warm-up.
#pragma once

#include <cstdint>
#include <vector>

#include "base/exec_context.h"
#include "model/network.h"
#include "train/optimizer.h"

namespace chimera {

struct AdamWOptions {
  LearningRateSchedule schedule;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double grad_clip = 1.0;  // 0: off
};

// Thread-compatible. First and second moments in float, one buffer each, in the order of the
// parameters, which are borrowed.
class AdamW final : public Optimizer {
 public:
  AdamW(const AdamWOptions& options, Parameters* parameters);

  OptimizerKind kind() const override { return OptimizerKind::kAdamW; }
  StepResult Step(ExecContext* exec, int64_t t, BatchLoss* loss) override;
  void Save(Checkpoint* checkpoint) const override;
  bool Restore(const Checkpoint& checkpoint) override;

 private:
  // Applies the gradients and zeroes them. Returns their norm before clipping; when it is not
  // finite nothing is changed but the gradients.
  double Apply(ExecContext* exec, int64_t t);

  const AdamWOptions options_;
  Parameters* const parameters_;
  std::vector<float> m_;
  std::vector<float> v_;
};

}  // namespace chimera
