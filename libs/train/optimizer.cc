#include "train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "train/adamw.h"
#include "train/mezo.h"

namespace chimera {

double LearningRate(const LearningRateSchedule& s, int64_t t) {
  if (t <= s.warmup_steps)
    return s.lr * static_cast<double>(t) / static_cast<double>(s.warmup_steps);
  const double lr_min = s.lr * s.lr_min_ratio;
  const auto span = static_cast<double>(std::max<int64_t>(1, s.steps_total - s.warmup_steps));
  const double at = std::min(1.0, static_cast<double>(t - s.warmup_steps) / span);
  return lr_min + 0.5 * (s.lr - lr_min) * (1.0 + std::cos(std::numbers::pi * at));
}

LearningRateSchedule ScheduleOf(const TrainRecipe& r) {
  return {.lr = r.lr,
          .lr_min_ratio = r.lr_min_ratio,
          .warmup_steps = r.warmup_steps,
          .steps_total = r.StepsTotal()};
}

std::unique_ptr<Optimizer> MakeOptimizer(const TrainRecipe& r, Parameters* parameters) {
  if (r.optimizer == OptimizerKind::kMezo) {
    return std::make_unique<Mezo>(MezoOptions{.schedule = ScheduleOf(r),
                                              .seed = r.seed,
                                              .eps = r.mezo_eps,
                                              .weight_decay = r.weight_decay},
                                  parameters->values(), DecayedRanges(*parameters));
  }
  return std::make_unique<AdamW>(AdamWOptions{.schedule = ScheduleOf(r),
                                              .beta1 = r.beta1,
                                              .beta2 = r.beta2,
                                              .eps = r.eps,
                                              .weight_decay = r.weight_decay,
                                              .grad_clip = r.grad_clip},
                                 parameters);
}

}  // namespace chimera
