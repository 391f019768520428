// The obvious twin of loop.h and loop_op.h, for tests: plain loops, T = float or double.
#pragma once

#include <algorithm>
#include <cmath>

#include "layers/loop.h"
#include "layers/swiglu_naive.h"

namespace chimera {

template <typename T>
T NaiveLoopStep(T a_log, T dt_bias) {
  const T tau = dt_bias > 20 ? dt_bias : std::log1p(std::exp(dt_bias));
  return tau * std::exp(std::clamp(a_log, T(-20), T(20)));
}

template <typename T>
void NaiveLoopGains(T a_log, T dt_bias, T b, T* a_bar, T* b_bar) {
  const T lam = std::exp(std::clamp(a_log, T(-20), T(20)));
  const T x = std::clamp(NaiveLoopStep(a_log, dt_bias), T(1e-4), T(20));
  *a_bar = std::exp(-x);
  *b_bar = -std::expm1(-x) / lam * b;
}

// 4.2: adds to the gradients of one channel's parameters, given those of Abar and Bbar. Written
// with tau and lam as the section has it; loop_op.cc goes through x.
template <typename T>
void NaiveLoopGainsBackward(T a_log, T dt_bias, T b, T d_a_bar, T d_b_bar, T* d_a_log, T* d_dt_bias,
                            T* d_b) {
  const T lam = std::exp(std::clamp(a_log, T(-20), T(20)));
  const T raw = NaiveLoopStep(a_log, dt_bias), x = std::clamp(raw, T(1e-4), T(20));
  const T tau = raw / lam, fall = -std::expm1(-x), dg = b * d_b_bar;
  *d_b += fall / lam * d_b_bar;
  T d_tau = 0, d_lam = 0;
  if (raw == x) {
    const T dx = -std::exp(-x) * d_a_bar;
    d_tau = lam * dx + std::exp(-x) * dg;
    d_lam = tau * dx + dg * (x * std::exp(-x) - fall) / (lam * lam);
  } else {
    d_lam = -dg * fall / (lam * lam);  // x stands still, the gain's divisor does not
  }
  if (a_log > -20 && a_log < 20) *d_a_log += lam * d_lam;
  *d_dt_bias += NaiveSigmoid(dt_bias) * d_tau;
}

template <typename T>
T NaiveRelativeChange(const T* h, const T* h_prev, int d) {
  T moved = 0, size = 0;
  for (int i = 0; i < d; ++i) {
    moved += (h[i] - h_prev[i]) * (h[i] - h_prev[i]);
    size += h[i] * h[i];
  }
  return std::sqrt(moved) / std::sqrt(size);
}

}  // namespace chimera
