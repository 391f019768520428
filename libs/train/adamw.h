// AdamW over the flat parameter buffer (Loshchilov & Hutter 2019; spec E.8): decoupled decay on
// matrices only, global-norm clipping, cosine schedule with linear warm-up.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/exec_context.h"
#include "model/network.h"

namespace chimera {

struct AdamWOptions {
  double lr = 3e-4;
  double lr_min_ratio = 0.1;
  int64_t warmup_steps = 0;
  int64_t steps_total = 1;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double grad_clip = 1.0;  // 0: off
};

// Learning rate of step t = 1..steps_total: lr * t / warmup while warming up, then cosine to
// lr * lr_min_ratio at steps_total, constant afterwards.
double LearningRate(const AdamWOptions& options, int64_t t);

// Thread-compatible. First and second moments in float, one buffer each.
class AdamW {
 public:
  AdamW(const AdamWOptions& options, const Parameters& parameters);

  // Applies step t (1-based) with the gradients in `parameters` and zeroes them. Returns the
  // gradient norm before clipping; when it is not finite nothing is changed but the gradients.
  double Step(ExecContext* exec, int64_t t, Parameters* parameters);

  // Moments, in the order of the parameters.
  std::span<float> m() { return m_; }
  std::span<float> v() { return v_; }

 private:
  AdamWOptions options_;
  std::vector<float> m_;
  std::vector<float> v_;
};

}  // namespace chimera
