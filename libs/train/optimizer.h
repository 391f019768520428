// What the trainer asks of an optimizer: one step from the loss of a batch to changed parameters.
// How often the loss is evaluated, and whether backwards too, is the optimizer's affair.
#pragma once

#include <cstdint>
#include <memory>

#include "base/exec_context.h"
#include "config/recipe.h"
#include "model/network.h"
#include "train/checkpoint.h"

namespace chimera {

struct LearningRateSchedule {
  double lr = 3e-4;
  double lr_min_ratio = 0.1;
  int64_t warmup_steps = 0;
  int64_t steps_total = 1;
};

// Learning rate of step t = 1..steps_total: lr * t / warmup while warming up, then cosine to
// lr * lr_min_ratio at steps_total, constant afterwards (math-inference-training E.8).
double LearningRate(const LearningRateSchedule& schedule, int64_t t);

// The loss of one batch, a function of the present values of the parameters and of nothing else.
class BatchLoss {
 public:
  virtual ~BatchLoss() = default;
  // Mean nats per token, the tokens' losses summed in double in a fixed order. recorded: Backward
  // may follow.
  virtual double Evaluate(bool recorded) = 0;
  // Adds the gradient of the last recorded evaluation to Parameters::grads().
  virtual void Backward() = 0;
};

struct StepResult {
  double loss = 0;                // not finite: nothing was changed
  double gradient_norm = 0;       // before clipping; mezo: |projected_gradient|
  double projected_gradient = 0;  // mezo: (L+ - L-) / (2 eps); 0 otherwise
};

// Thread-compatible.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual OptimizerKind kind() const = 0;
  // Applies step t (1-based). Gradients are zero before and after.
  virtual StepResult Step(ExecContext* exec, int64_t t, BatchLoss* loss) = 0;
  // What a run continues from besides the parameters: fills or takes Checkpoint::m and v. Restore
  // returns false, and changes nothing, when their sizes are not those of this optimizer.
  virtual void Save(Checkpoint* checkpoint) const = 0;
  virtual bool Restore(const Checkpoint& checkpoint) = 0;
};

LearningRateSchedule ScheduleOf(const TrainRecipe& recipe);

// The recipe's optimizer over all of `parameters`, which must outlive it.
std::unique_ptr<Optimizer> MakeOptimizer(const TrainRecipe& recipe, Parameters* parameters);

}  // namespace chimera
