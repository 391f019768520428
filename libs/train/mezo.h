// MeZO, a gradient-free optimizer (Malladi et al. 2023; math-inference-training E.2): two losses at
// theta + eps z and theta - eps z give the derivative along z, and a step follows z by that much.
//   g = (L+ - L-) / (2 eps);  theta <- theta - lr * (g * z + weight_decay * theta)
// z is one sign a parameter: sign n of the Philox stream (seed, zeroth-order noise, t) belongs to
// parameter n. It is never stored, and it has no state from step to step: seed, t and g say what a
// step did. Memory: one copy of the parameters; the gradient buffer of Parameters stays unused.
//
// Two limits to know. A step learns one number from a batch, so it takes 30 to 1,000 times the
// steps of AdamW from scratch: it is for adapting a trained model (DESIGN D17). And a ternary
// matrix sees a probe only where eps carries a weight over a rounding threshold, about half of the
// group's scale away from a trit's centre.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/exec_context.h"
#include "train/optimizer.h"

namespace chimera {

inline constexpr int64_t kMezoStepsMax = UINT32_MAX;  // a step is a stream of the generator

struct MezoOptions {
  LearningRateSchedule schedule;
  uint64_t seed = 0;
  double eps = 1e-3;  // used as a float
  double weight_decay = 0;
};

// Parameters [begin, end) of the flat buffer.
struct ParameterRange {
  int64_t begin = 0;
  int64_t end = 0;
};

// The tensors whose TensorSpec::decay is set: matrices, but no norms, biases and embeddings.
std::vector<ParameterRange> DecayedRanges(const Parameters& parameters);

struct MezoProbe {
  double loss_plus = 0;
  double loss_minus = 0;
  double projected_gradient = 0;
};

// Thread-compatible. theta is borrowed.
class Mezo final : public Optimizer {
 public:
  // decayed: ascending, disjoint, inside theta.
  Mezo(const MezoOptions& options, std::span<float> theta, std::vector<ParameterRange> decayed);

  // Step t's probe, 1 <= t <= kMezoStepsMax: two calls of loss, which must be a function of theta
  // alone. Both perturbed values are computed from the same stored theta, and it is put back by
  // copying: afterwards theta has the bits it had before.
  MezoProbe Probe(ExecContext* exec, int64_t t, absl::FunctionRef<double()> loss);
  // Step t's change of theta for a projected gradient; each value is rounded once.
  void Update(ExecContext* exec, int64_t t, double projected_gradient);

  OptimizerKind kind() const override { return OptimizerKind::kMezo; }
  // The loss of a step is the mean of the two.
  StepResult Step(ExecContext* exec, int64_t t, BatchLoss* loss) override;
  void Save(Checkpoint* checkpoint) const override;
  bool Restore(const Checkpoint& checkpoint) override;

 private:
  // theta = stored + scale * z.
  void Perturb(ExecContext* exec, int64_t t, float scale);
  void UpdateRange(ExecContext* exec, int64_t t, ParameterRange range, double lr, double g,
                   double decay);

  const MezoOptions options_;
  const std::span<float> theta_;
  const std::vector<ParameterRange> decayed_;
  std::vector<float> stored_;
};

}  // namespace chimera
