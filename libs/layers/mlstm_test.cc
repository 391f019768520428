// Serving forms and the small layers around the recurrence.
#include "layers/mlstm.h"

#include <cmath>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/mlstm_naive.h"

namespace chimera {
namespace {

constexpr int kD = kHeadDim;

struct State {
  Floats c = Floats(kHeadState), n = Floats(kD);
  float m = 0;
};

TEST(MlstmGateTest, MatchesTheGoldenCap) {
  const Doubles z = Golden("mlstm", "gate_cap", "in", "z");
  const int n = static_cast<int>(z.size());
  for (const Isa isa : RunnableIsas()) {
    Floats out = ToFloats(z), slope(n, 1), dbias(1);
    const float bias = 0;
    MlstmFor(isa).gate_cap(out.data(), &bias, n, 1, out.data());
    ExpectClose(out, Golden("mlstm", "gate_cap", "out", "cap"), 1e-6, "cap");
    MlstmTrainFor(isa).gate_cap_backward(out.data(), slope.data(), n, 1, slope.data(),
                                         dbias.data());
    ExpectClose(slope, Golden("mlstm", "gate_cap", "out", "slope"), 1e-6, "slope");
    EXPECT_NEAR(dbias[0], Inner(ToDoubles(slope), Doubles(n, 1)), 1e-5);
  }
}

TEST(MlstmGateTest, BiasIsPerHeadAndEveryInstructionSetGivesTheSameBits) {
  const int tokens = 3, heads = 18;
  const Floats z = Noise(tokens * heads, 40, 0, 1), bias = Noise(heads, 10, 0, 2);
  Doubles want(z.size());
  for (size_t i = 0; i < z.size(); ++i) want[i] = NaiveGateCap<double>(z[i] + bias[i % heads]);
  Floats first;
  for (const Isa isa : RunnableIsas()) {
    Floats out(z.size());
    MlstmFor(isa).gate_cap(z.data(), bias.data(), tokens, heads, out.data());
    ExpectClose(out, want, 1e-6, "cap");
    if (isa == Isa::kBaseline) first = out;
    ExpectSame(out, first, IsaName(isa));
  }
}

TEST(MlstmStepTest, EveryInstructionSetGivesTheSameBits) {
  const int tokens = 40;
  const Floats q = Noise(tokens * kD, 1, 0, 1), k = Noise(tokens * kD, 1, 0, 2);
  const Floats v = Noise(tokens * kD, 2, 0, 3), i = Noise(tokens, 5, 0, 4);
  const Floats f = Noise(tokens, 5, 0, 5);
  Floats h0;
  State state0;
  for (const Isa isa : RunnableIsas()) {
    State s;
    Floats h = q;
    for (int t = 0; t < tokens; ++t) {
      float* ht = &h[t * kD];  // h is q
      MlstmFor(isa).step(s.c.data(), s.n.data(), &s.m, ht, &k[t * kD], &v[t * kD], i[t], f[t], ht);
    }
    if (isa == Isa::kBaseline) h0 = h, state0 = s;
    ExpectSame(h, h0, IsaName(isa));
    ExpectSame(s.c, state0.c, IsaName(isa));
    ExpectSame(s.n, state0.n, IsaName(isa));
    EXPECT_EQ(s.m, state0.m);
  }
}

TEST(MlstmStepTest, ReadPlusWriteIsStep) {
  const int tokens = 60;
  const Floats q = Noise(tokens * kD, 1, 0, 1), k = Noise(tokens * kD, 1, 0, 2);
  const Floats v = Noise(tokens * kD, 2, 0, 3), i = Noise(tokens, 15, 0, 4);
  const Floats f = Noise(tokens, 15, 0, 5);
  for (const Isa isa : RunnableIsas()) {
    const MlstmKernels& kernels = MlstmFor(isa);
    State whole, halves;
    for (int t = 0; t < tokens; ++t) {
      const int at = t * kD;
      const State before = halves;
      Floats h(kD), h_read(q.begin() + at, q.begin() + at + kD);
      kernels.read(halves.c.data(), halves.n.data(), halves.m, h_read.data(), &k[at], &v[at], i[t],
                   f[t], h_read.data());  // h is q
      ExpectSame(halves.c, before.c, "read leaves C alone");
      ExpectSame(halves.n, before.n, "read leaves n alone");
      kernels.write(halves.c.data(), halves.n.data(), &halves.m, &k[at], &v[at], i[t], f[t]);
      kernels.step(whole.c.data(), whole.n.data(), &whole.m, &q[at], &k[at], &v[at], i[t], f[t],
                   h.data());
      ExpectSame(h_read, h, "h");
      ExpectSame(halves.c, whole.c, "C");
      ExpectSame(halves.n, whole.n, "n");
      EXPECT_EQ(halves.m, whole.m);
    }
  }
}

TEST(MlstmStepTest, TenThousandStepsAtTheCapStayFinite) {
  const Floats q = Noise(64 * kD, 1, 0, 1), k = Noise(64 * kD, 1, 0, 2),
               v = Noise(64 * kD, 1, 0, 3);
  for (const float i : {-15.0f, 15.0f}) {
    for (const float f : {-15.0f, 15.0f}) {
      State s;
      Floats h(kD);
      for (int t = 0; t < 10'000; ++t) {
        const int at = (t * 7 % 64) * kD;
        Mlstm().step(s.c.data(), s.n.data(), &s.m, &q[at], &k[at], &v[at], i, f, h.data());
        ExpectFinite(h, "h");
      }
      ExpectFinite(s.c, "C");
      ExpectFinite(s.n, "n");
      EXPECT_TRUE(std::isfinite(s.m));
    }
  }
}

TEST(MlstmStepTest, TheFrameDoesNotMatter) {
  const int tokens = 20;
  const Floats q = Noise(tokens * kD, 1, 0, 1), k = Noise(tokens * kD, 1, 0, 2);
  const Floats v = Noise(tokens * kD, 1, 0, 3);
  State a, b;
  a.c = Noise(kHeadState, 1, 0, 4), a.n = Noise(kD, 1, 0, 5), a.m = 1;
  b = a;
  b.m += 2.5f;
  for (float& x : b.c) x *= std::exp(-2.5f);
  for (float& x : b.n) x *= std::exp(-2.5f);
  Floats ha(kD), hb(kD);
  for (int t = 0; t < tokens; ++t) {
    const int at = t * kD;
    Mlstm().step(a.c.data(), a.n.data(), &a.m, &q[at], &k[at], &v[at], -1, 3, ha.data());
    Mlstm().step(b.c.data(), b.n.data(), &b.m, &q[at], &k[at], &v[at], -1, 3, hb.data());
    ExpectClose(hb, ToDoubles(ha), 1e-5, "h");
  }
}

TEST(MlstmStepTest, ClosedForgetGateSeesTheCurrentTokenOnly) {
  const Floats q = Noise(kD, 1, 0, 1), k = Noise(kD, 1, 0, 2), v = Noise(kD, 1, 0, 3);
  State fresh, used;
  used.c = Noise(kHeadState, 1, 0, 4), used.n = Noise(kD, 1, 0, 5);
  Floats h(kD), h_used(kD);
  Mlstm().step(fresh.c.data(), fresh.n.data(), &fresh.m, q.data(), k.data(), v.data(), 2, -15,
               h.data());
  Mlstm().step(used.c.data(), used.n.data(), &used.m, q.data(), k.data(), v.data(), 2, -15,
               h_used.data());
  ExpectClose(h_used, ToDoubles(h), 1e-5, "h");
}

TEST(MlstmNormTest, MatchesTheNaiveTwinAndAgreesOnEveryInstructionSet) {
  const int tokens = 3, heads = 5, rows = tokens * heads;
  const Floats h = Noise(rows * kD, 2, 0, 1), gate = Noise(rows * kD, 6, 0, 2);
  const Floats gamma = Noise(heads * kD, 1, 1, 3), dy = Noise(rows * kD, 1, 0, 4);
  const Doubles hd = ToDoubles(h), gated = ToDoubles(gate), gd = ToDoubles(gamma);
  const Doubles dyd = ToDoubles(dy);
  Doubles y_want(h.size()), dh_want(h.size()), dgate_want(h.size()), dgamma_want(gamma.size());
  for (int row = 0; row < rows; ++row) {
    const int at = row * kD, g = row % heads * kD;
    NaiveSigmoidNorm(&hd[at], &gated[at], &gd[g], kD, &y_want[at]);
    NaiveSigmoidNormBackward(&hd[at], &gated[at], &gd[g], &dyd[at], kD, &dh_want[at],
                             &dgate_want[at], &dgamma_want[g]);
  }
  Floats first;
  for (const Isa isa : RunnableIsas()) {
    Floats y(h.size()), inv(rows), dh = dy, dgate(h.size()), dgamma(gamma.size());
    MlstmFor(isa).head_norm(h.data(), gate.data(), gamma.data(), tokens, heads, y.data(),
                            inv.data());
    MlstmTrainFor(isa).head_norm_backward(h.data(), gate.data(), gamma.data(), inv.data(),
                                          dh.data(), tokens, heads, dh.data(), dgate.data(),
                                          dgamma.data());
    ExpectClose(y, y_want, 1e-5, "y");
    ExpectClose(dh, dh_want, 1e-5, "dh");
    ExpectClose(dgate, dgate_want, 1e-5, "dgate");
    ExpectClose(dgamma, dgamma_want, 1e-5, "dgamma");
    if (isa == Isa::kBaseline) first = y;
    ExpectSame(y, first, IsaName(isa));
  }
}

}  // namespace
}  // namespace chimera
