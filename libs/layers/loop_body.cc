// Injection of the loop, compiled once per instruction set; see loop.h.
#include "layers/loop.h"
#include "layers/native_vec.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

void Gains(const float* a_log, const float* dt_bias, const float* b, int d, float* a_bar,
           float* b_bar) {
  for (int i = 0; i < d; i += 16) {
    const int lanes = d - i < 16 ? d - i : 16;
    const F16 log = LoadLanes(a_log + i, lanes);
    const F16 lam = Exp(Max(Min(log, Splat(kLoopLogMax)), Splat(-kLoopLogMax)));
    const F16 x = Softplus(LoadLanes(dt_bias + i, lanes)) * lam;
    const F16 step = Max(Min(x, Splat(kLoopStepMax)), Splat(kLoopStepMin));
    // 1 - e^-x without cancellation: with t = tanh(x / 2) it is 2 t / (1 + t).
    const F16 t = Tanh(step * 0.5f);
    const F16 gain = (t + t) / (t + 1.0f) / lam;
    StoreLanes(a_bar + i, Exp(-step), lanes);
    StoreLanes(b_bar + i, gain * LoadLanes(b + i, lanes), lanes);
  }
}

void Inject(const float* h, const float* e, const float* a_bar, const float* b_bar,
            int64_t n_tokens, int d, float* u) {
  for (int64_t t = 0; t < n_tokens; ++t, e += d, u += d) {
    for (int i = 0; i < d; i += 16) {
      const int lanes = d - i < 16 ? d - i : 16;
      const F16 input = LoadLanes(b_bar + i, lanes) * LoadLanes(e + i, lanes);
      const F16 state = h == nullptr ? F16{} : LoadLanes(h + t * d + i, lanes);
      StoreLanes(u + i, Fma(LoadLanes(a_bar + i, lanes), state, input), lanes);
    }
  }
}

void RelativeChange(const float* h, const float* h_prev, int64_t n_tokens, int d, float* change) {
  for (int64_t t = 0; t < n_tokens; ++t, h += d) {
    F16 moved = {}, size = {};
    for (int i = 0; i < d; i += 16) {
      const int lanes = d - i < 16 ? d - i : 16;
      const F16 now = LoadLanes(h + i, lanes);
      const F16 before = h_prev == nullptr ? F16{} : LoadLanes(h_prev + t * d + i, lanes);
      moved = Fma(now - before, now - before, moved);
      size = Fma(now, now, size);
    }
    const float distance = Sqrt1(FoldAdd(moved));
    change[t] = distance == 0.0f ? 0.0f : distance / Sqrt1(FoldAdd(size));
  }
}

CHIMERA_VEC void Put(float* p, F16 v, int lanes, bool add) {
  StoreLanes(p, add ? LoadLanes(p, lanes) + v : v, lanes);
}

void InjectBackward(const float* h, const float* e, const float* a_bar, const float* b_bar,
                    const float* du, int64_t n_tokens, int d, bool add_h, bool add_e, float* dh,
                    float* de, float* d_a, float* d_b) {
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int i = 0; i < d; i += 16) {
      const int lanes = d - i < 16 ? d - i : 16;
      const int64_t at = t * d + i;
      const F16 g = LoadLanes(du + at, lanes);
      Put(d_b + i, g * LoadLanes(e + at, lanes), lanes, true);
      if (h != nullptr) Put(d_a + i, g * LoadLanes(h + at, lanes), lanes, true);
      if (dh != nullptr) Put(dh + at, g * LoadLanes(a_bar + i, lanes), lanes, add_h);
      Put(de + at, g * LoadLanes(b_bar + i, lanes), lanes, add_e);
    }
  }
}

}  // namespace

extern const LoopKernels kLoop;
const LoopKernels kLoop = {Gains, Inject, RelativeChange, InjectBackward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
