#include "train/adamw.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "tensor/kernels.h"

namespace chimera {
namespace {

constexpr int64_t kBlock = 1 << 16;  // floats of one task

}  // namespace

double LearningRate(const AdamWOptions& o, int64_t t) {
  if (t <= o.warmup_steps)
    return o.lr * static_cast<double>(t) / static_cast<double>(o.warmup_steps);
  const double lr_min = o.lr * o.lr_min_ratio;
  const auto span = static_cast<double>(std::max<int64_t>(1, o.steps_total - o.warmup_steps));
  const double at = std::min(1.0, static_cast<double>(t - o.warmup_steps) / span);
  return lr_min + 0.5 * (o.lr - lr_min) * (1.0 + std::cos(std::numbers::pi * at));
}

AdamW::AdamW(const AdamWOptions& options, const Parameters& parameters)
    : options_(options), m_(parameters.values().size()), v_(parameters.values().size()) {}

double AdamW::Step(ExecContext* exec, int64_t t, Parameters* parameters) {
  const std::span<float> grads = parameters->grads();
  const auto size = static_cast<int64_t>(grads.size());
  std::vector<double> partial(static_cast<size_t>((size + kBlock - 1) / kBlock));
  exec->ParallelFor(static_cast<int64_t>(partial.size()), [&](int64_t b) {
    partial[static_cast<size_t>(b)] =
        Kernels().sum_squares(grads.data() + b * kBlock, std::min(kBlock, size - b * kBlock));
  });
  double sum = 0.0;
  for (double p : partial) sum += p;
  const double norm = std::sqrt(sum);
  if (std::isfinite(norm)) {
    const double clip = options_.grad_clip;
    AdamWStep step;
    step.lr = static_cast<float>(LearningRate(options_, t));
    step.beta1 = static_cast<float>(options_.beta1);
    step.beta2 = static_cast<float>(options_.beta2);
    step.eps = static_cast<float>(options_.eps);
    step.correction1 = static_cast<float>(1.0 / (1.0 - std::pow(options_.beta1, t)));
    step.correction2 = static_cast<float>(1.0 / (1.0 - std::pow(options_.beta2, t)));
    step.grad_scale = clip > 0 && norm > clip ? static_cast<float>(clip / norm) : 1.0f;
    for (const Parameters::Entry& e : parameters->entries()) {
      if (e.frozen) continue;
      step.weight_decay = e.spec.decay ? static_cast<float>(options_.weight_decay) : 0.0f;
      exec->ParallelFor((e.size + kBlock - 1) / kBlock, [&](int64_t b) {
        const int64_t at = e.offset + b * kBlock;
        Kernels().adamw(step, std::min(kBlock, e.size - b * kBlock),
                        parameters->values().data() + at, grads.data() + at, m_.data() + at,
                        v_.data() + at);
      });
    }
  }
  std::memset(grads.data(), 0, grads.size() * sizeof(float));
  return norm;
}

}  // namespace chimera
