// The steps of the gated delta rule and of the mLSTM, whole and in two halves, and what stands
// around them.
#include <cmath>

#include "kernels/check.h"
#include "layers/gated_delta.h"
#include "layers/gated_delta_naive.h"
#include "layers/head.h"
#include "layers/mlstm.h"
#include "layers/mlstm_naive.h"

namespace chimera {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;
constexpr int kD = kHeadDim;
constexpr int kSteps = 24;

void CheckGatedDelta(Check* check) {
  const GatedDeltaKernels& kernels = GatedDeltaFor(check->isa());
  const Floats q_raw = Noise(kSteps * kD, 1.0f, 0.0f, 31),
               k_raw = Noise(kSteps * kD, 1.0f, 0.0f, 32);
  Floats q(q_raw.size()), k(k_raw.size());
  const Floats v = Noise(kSteps * kD, 1.0f, 0.0f, 33);
  Doubles want(q.size());
  for (int t = 0; t < kSteps; ++t) NaiveL2Norm(Wide(q_raw).data() + t * kD, kD, &want[t * kD]);
  kernels.l2norm(q_raw.data(), kSteps, q.data(), nullptr);
  kernels.l2norm(k_raw.data(), kSteps, k.data(), nullptr);
  check->Close("unit rows", q, want);

  const Floats a = Noise(kSteps, 3.0f, 0.0f, 34), b = Noise(kSteps, 3.0f, 0.0f, 35);
  const float a_log = 0.3f, dt_bias = -1.2f;
  Floats g(kSteps), beta(kSteps);
  Doubles want_g(kSteps), want_beta(kSteps);
  kernels.gates(a.data(), b.data(), &a_log, &dt_bias, kSteps, 1, g.data(), beta.data());
  for (int t = 0; t < kSteps; ++t) {
    NaiveGate<double>(a[t], b[t], a_log, dt_bias, &want_g[t], &want_beta[t]);
  }
  check->Close("decays", g, want_g);
  check->Close("write strengths", beta, want_beta);

  const Floats start = Noise(kHeadState, 0.3f, 0.0f, 36);
  Doubles want_state = Wide(start), want_o(kSteps * kD);
  const Doubles wq = Wide(q), wk = Wide(k), wv = Wide(v), wg = Wide(g), wbeta = Wide(beta);
  const NaiveGatedDelta<double> twin = {kSteps,    kD,        wq.data(),   wk.data(),
                                        wv.data(), wg.data(), wbeta.data()};
  twin.Forward(want_state.data(), want_o.data());
  Floats state = start, o(kSteps * kD), halves = start, o_halves(kSteps * kD), u(kD);
  for (int t = 0; t < kSteps; ++t) {
    const float *qt = &q[t * kD], *kt = &k[t * kD], *vt = &v[t * kD];
    kernels.step(state.data(), qt, kt, vt, g[t], beta[t], &o[t * kD]);
    kernels.read(halves.data(), qt, kt, vt, g[t], beta[t], &o_halves[t * kD], u.data());
    kernels.write(halves.data(), kt, u.data(), g[t]);
  }
  check->Close("gated delta outputs", o, want_o);
  check->Close("gated delta state", state, want_state);
  check->Same("gated delta outputs of reads", o_halves, o);
  check->Same("gated delta state of writes", halves, state);

  const Floats gate = Noise(kSteps * kD, 4.0f, 0.0f, 37), gamma = Noise(kD, 0.5f, 1.0f, 38);
  Floats y(kSteps * kD);
  Doubles want_y(kSteps * kD);
  kernels.head_norm(o.data(), gate.data(), gamma.data(), kSteps, y.data(), nullptr);
  for (int t = 0; t < kSteps; ++t) {
    NaiveGatedNorm(Wide(o).data() + t * kD, Wide(gate).data() + t * kD, Wide(gamma).data(), kD,
                   &want_y[t * kD]);
  }
  check->Close("gated delta head norm", y, want_y);
}

void CheckMlstm(Check* check) {
  const MlstmKernels& kernels = MlstmFor(check->isa());
  const Floats q = Noise(kSteps * kD, 1.0f, 0.0f, 41), k = Noise(kSteps * kD, 1.0f, 0.0f, 42);
  const Floats v = Noise(kSteps * kD, 1.0f, 0.0f, 43), z = Noise(2 * kSteps, 20.0f, 0.0f, 44);
  const float bias = 0.7f;
  Floats capped(2 * kSteps);
  Doubles want(2 * kSteps);
  kernels.gate_cap(z.data(), &bias, 2 * kSteps, 1, capped.data());
  for (int i = 0; i < 2 * kSteps; ++i) want[i] = NaiveGateCap(double{z[i]} + double{bias});
  check->Close("capped gates", capped, want);

  const Floats i_gate(capped.begin(), capped.begin() + kSteps);
  const Floats f_gate(capped.begin() + kSteps, capped.end());
  const Doubles wq = Wide(q), wk = Wide(k), wv = Wide(v), wi = Wide(i_gate), wf = Wide(f_gate);
  const NaiveMlstm<double> twin = {kSteps,    kD,        wq.data(), wk.data(),
                                   wv.data(), wi.data(), wf.data()};
  Doubles want_c(kHeadState), want_n(kD), want_h(kSteps * kD);
  double want_m = 0;
  twin.Forward(want_c.data(), want_n.data(), &want_m, want_h.data());
  Floats c(kHeadState), n(kD), m(1), h(kSteps * kD);
  Floats c2 = c, n2 = n, m2 = m, h2 = h;
  for (int t = 0; t < kSteps; ++t) {
    const float *qt = &q[t * kD], *kt = &k[t * kD], *vt = &v[t * kD];
    kernels.step(c.data(), n.data(), m.data(), qt, kt, vt, i_gate[t], f_gate[t], &h[t * kD]);
    kernels.read(c2.data(), n2.data(), m2[0], qt, kt, vt, i_gate[t], f_gate[t], &h2[t * kD]);
    kernels.write(c2.data(), n2.data(), m2.data(), kt, vt, i_gate[t], f_gate[t]);
  }
  check->Close("mLSTM outputs", h, want_h, 1e-4);  // a quotient of sums that nearly cancel
  check->Close("mLSTM state", c, want_c);
  check->Close("mLSTM normaliser", n, want_n);
  check->Close("mLSTM frame", m, {want_m});
  check->Same("mLSTM outputs of reads", h2, h);
  check->Same("mLSTM state of writes", c2, c);

  const Floats gate = Noise(kSteps * kD, 4.0f, 0.0f, 45), gamma = Noise(kD, 0.5f, 1.0f, 46);
  Floats y(kSteps * kD);
  Doubles want_y(kSteps * kD);
  kernels.head_norm(h.data(), gate.data(), gamma.data(), kSteps, 1, y.data(), nullptr);
  for (int t = 0; t < kSteps; ++t) {
    NaiveSigmoidNorm(Wide(h).data() + t * kD, Wide(gate).data() + t * kD, Wide(gamma).data(), kD,
                     &want_y[t * kD]);
  }
  check->Close("mLSTM head norm", y, want_y);
}

}  // namespace

void CheckRecurrences(Check* check) {
  CheckGatedDelta(check);
  CheckMlstm(check);
}

}  // namespace chimera
