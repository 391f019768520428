#include "layers/loop_op.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "layers/loop.h"
#include "layers/token_blocks.h"

namespace chimera {
namespace {

// From the gradients of Abar and Bbar to those of the parameters (4.2). In double: for small x the
// slope of the gain is a difference of nearly equal numbers, x e^-x - (1 - e^-x) = -x^2/2 + ...,
// which keeps 12 digits at the smallest x without a series of its own.
void GainsBackward(const LoopParams& p, const float* d_a_bar, const float* d_b_bar) {
  for (int i = 0; i < p.b.cols; ++i) {
    const double log = static_cast<double>(p.a_log.value[i]);
    const double bias = static_cast<double>(p.dt_bias.value[i]);
    const double log_max = static_cast<double>(kLoopLogMax);
    const double lam = std::exp(std::clamp(log, -log_max, log_max));
    const double tau = std::max(bias, 0.0) + std::log1p(std::exp(-std::abs(bias)));
    const double raw = tau * lam;
    const double x =
        std::clamp(raw, static_cast<double>(kLoopStepMin), static_cast<double>(kLoopStepMax));
    const double keep = std::exp(-x), fall = -std::expm1(-x);
    const double d_gain = static_cast<double>(p.b.value[i]) * static_cast<double>(d_b_bar[i]);
    // x = tau lam enters both gains; outside its bounds it stands still.
    const bool inside = raw == x;
    const double dx = inside ? -keep * static_cast<double>(d_a_bar[i]) + keep / lam * d_gain : 0.0;
    // By lam at a fixed tau: both terms of the gain's slope in one difference.
    const double gain_slope = inside ? x * keep - fall : -fall;
    const double direct = inside ? -keep * static_cast<double>(d_a_bar[i]) * tau : 0.0;
    const double d_lam = direct + d_gain * gain_slope / (lam * lam);
    p.b.grad[i] += static_cast<float>(fall / lam * static_cast<double>(d_b_bar[i]));
    p.dt_bias.grad[i] += static_cast<float>(lam * dx / (1 + std::exp(-bias)));
    if (std::abs(log) < log_max) p.a_log.grad[i] += static_cast<float>(lam * d_lam);
  }
}

}  // namespace

Var* LoopInject(Tape* tape, Var* h, Var* e, const LoopParams& params) {
  const int64_t rows = e->rows;
  const int d = static_cast<int>(e->cols);
  CHIMERA_CHECK(params.b.cols == d && (h == nullptr || h->size() == e->size()));
  float* a_bar = tape->arena().New<float>(d);
  float* b_bar = tape->arena().New<float>(d);
  Loop().gains(params.a_log.value, params.dt_bias.value, params.b.value, d, a_bar, b_bar);
  Var* u = tape->New(rows, d);
  ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
    Loop().inject(h == nullptr ? nullptr : h->value + t * d, e->value + t * d, a_bar, b_bar, n, d,
                  u->value + t * d);
  });
  tape->OnBackward([tape, h, e, u, params, a_bar, b_bar, rows, d] {
    if (!u->has_grad) return;
    bool add_h = false, add_e = false;
    float* dh = h == nullptr ? nullptr : tape->GradTarget(h, &add_h);
    float* de = tape->GradTarget(e, &add_e);
    PartialSums d_a(tape, rows, d), d_b(tape, rows, d);
    ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
      const int64_t at = t * d;
      Loop().inject_backward(h == nullptr ? nullptr : h->value + at, e->value + at, a_bar, b_bar,
                             u->grad + at, n, d, add_h, add_e, dh == nullptr ? nullptr : dh + at,
                             de + at, d_a.Block(t), d_b.Block(t));
    });
    float* sums = tape->arena().New<float>(2 * d);
    std::fill_n(sums, 2 * d, 0.0f);
    d_a.AddTo(sums);
    d_b.AddTo(sums + d);
    GainsBackward(params, sums, sums + d);
  });
  return u;
}

}  // namespace chimera
