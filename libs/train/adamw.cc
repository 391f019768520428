#include "train/adamw.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "tensor/kernels.h"

namespace chimera {
namespace {

constexpr int64_t kBlock = 1 << 16;  // floats of one task

}  // namespace

AdamW::AdamW(const AdamWOptions& options, Parameters* parameters)
    : options_(options),
      parameters_(parameters),
      m_(parameters->values().size()),
      v_(parameters->values().size()) {}

StepResult AdamW::Step(ExecContext* exec, int64_t t, BatchLoss* loss) {
  StepResult result;
  result.loss = loss->Evaluate(true);
  if (!std::isfinite(result.loss)) return result;
  loss->Backward();
  result.gradient_norm = Apply(exec, t);
  return result;
}

void AdamW::Save(Checkpoint* checkpoint) const {
  checkpoint->m = m_;
  checkpoint->v = v_;
}

bool AdamW::Restore(const Checkpoint& checkpoint) {
  if (checkpoint.m.size() != m_.size() || checkpoint.v.size() != v_.size()) return false;
  m_ = checkpoint.m;
  v_ = checkpoint.v;
  return true;
}

double AdamW::Apply(ExecContext* exec, int64_t t) {
  const std::span<float> grads = parameters_->grads();
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
    const auto lr = static_cast<float>(LearningRate(options_.schedule, t));
    step.beta1 = static_cast<float>(options_.beta1);
    step.beta2 = static_cast<float>(options_.beta2);
    step.eps = static_cast<float>(options_.eps);
    step.correction1 = static_cast<float>(1.0 / (1.0 - std::pow(options_.beta1, t)));
    step.correction2 = static_cast<float>(1.0 / (1.0 - std::pow(options_.beta2, t)));
    step.grad_scale = clip > 0 && norm > clip ? static_cast<float>(clip / norm) : 1.0f;
    for (const Parameters::Entry& e : parameters_->entries()) {
      if (e.frozen || !e.spec.trainable) continue;
      step.lr = lr * e.spec.lr_scale;
      step.weight_decay = e.spec.decay ? static_cast<float>(options_.weight_decay) : 0.0f;
      exec->ParallelFor((e.size + kBlock - 1) / kBlock, [&](int64_t b) {
        const int64_t at = e.offset + b * kBlock;
        Kernels().adamw(step, std::min(kBlock, e.size - b * kBlock),
                        parameters_->values().data() + at, grads.data() + at, m_.data() + at,
                        v_.data() + at);
      });
    }
  }
  std::memset(grads.data(), 0, grads.size() * sizeof(float));
  return norm;
}

}  // namespace chimera
