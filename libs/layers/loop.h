// Looping the middle layers (Parcae, arXiv 2604.12946; math-backbone 4.2 to 4.5). Before every pass
//   u = Abar * h + Bbar * e,    h = layers(u)          elementwise, h = 0 before the first pass
//   lam = exp(a_log), tau = softplus(dt_bias), x = clamp(tau lam, 1e-4, 20)
//   Abar = e^-x, Bbar = (1 - e^-x) / lam * b           the exact gain of a hold of length tau
// so 0 < Abar < 1 whatever the parameters are. a_log is clamped to +-kLoopLogMax first: beyond it
// the gain 1 / lam would leave the floats (docs/layers/loop.md).
// Plain pointers, no allocation. Free of Abseil.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace chimera {

inline constexpr float kLoopStepMin = 1e-4f;  // bounds of x
inline constexpr float kLoopStepMax = 20.0f;
inline constexpr float kLoopLogMax = 20.0f;       // bound of |a_log|
inline constexpr float kLoopDtInit = 0.2119353f;  // dt_bias with Abar = sqrt(1/5) at a_log = 0

// The same bits on every instruction set and for any cut into tokens. Tables are *immutable*.
struct LoopKernels {
  // All [d]. Once per set of weights.
  void (*gains)(const float* a_log, const float* dt_bias, const float* b, int d, float* a_bar,
                float* b_bar);
  // h, e, u [n_tokens][d]; h null: zero. u may be h or e.
  void (*inject)(const float* h, const float* e, const float* a_bar, const float* b_bar,
                 int64_t n_tokens, int d, float* u);
  // change[t] = |h - h_prev|_2 / |h|_2 of each token; 0 when h equals h_prev, infinite when only h
  // is zero. h_prev null: zero.
  void (*relative_change)(const float* h, const float* h_prev, int64_t n_tokens, int d,
                          float* change);
  // dh = a_bar * du (null: not wanted) and de = b_bar * du, written, or added when add_h, add_e.
  // d_a [d], d_b [d] += sums over tokens of du * h and du * e, in order. h null: zero.
  void (*inject_backward)(const float* h, const float* e, const float* a_bar, const float* b_bar,
                          const float* du, int64_t n_tokens, int d, bool add_h, bool add_e,
                          float* dh, float* de, float* d_a, float* d_b);
};

const LoopKernels& LoopFor(Isa isa);
const LoopKernels& Loop();  // the best for this CPU

// When a token stops looping (4.5). A token exits on its own values only; the depth of a block in
// prefill, scoring and training is fixed before its first token (DESIGN D14).
struct LoopExit {
  int loops_min = 1;
  int loops_max = 1;
  float threshold = 0.01f;  // adaptive_exit_threshold; 0: never before loops_max
};

// Whether to stop after `loops` >= 1 passes, the last of which changed h by `change`.
constexpr bool ShouldExit(const LoopExit& rule, int loops, float change) {
  return loops >= rule.loops_max || (loops >= rule.loops_min && change < rule.threshold);
}

// The depth the rule would have chosen from the changes of all passes 1..n: the first below the
// threshold, else n. What the depth router learns.
constexpr int OracleDepth(const float* change, int n, float threshold) {
  for (int loops = 1; loops < n; ++loops) {
    if (change[loops - 1] < threshold) return loops;
  }
  return n;
}

}  // namespace chimera
