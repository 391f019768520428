// Serving forms and the small layers around the recurrence.
#include "layers/gated_delta.h"

#include <cmath>

#include "gtest/gtest.h"
#include "layers/gated_delta_naive.h"
#include "layers/kernel_testing.h"

namespace chimera {
namespace {

constexpr int kD = kHeadDim;

Floats Unit(Floats u) {
  for (size_t at = 0; at < u.size(); at += kD) {
    Doubles row(u.begin() + at, u.begin() + at + kD), y(kD);
    NaiveL2Norm(row.data(), kD, y.data());
    std::copy(y.begin(), y.end(), u.begin() + at);
  }
  return u;
}

TEST(GatedDeltaStepTest, MatchesTheGoldenHeads) {
  const auto in = [](const char* name) {
    return Golden("gated_delta_64_fwd", "recurrent_d64", "in", name);
  };
  const auto out = [](const char* name) {
    return Golden("gated_delta_64_fwd", "recurrent_d64", "out", name);
  };
  const int tokens = 37;
  const Floats q = ToFloats(in("q")), k = ToFloats(in("k")), v = ToFloats(in("v"));
  const Floats g = ToFloats(in("g")), beta = ToFloats(in("beta"));
  for (const Isa isa : RunnableIsas()) {
    Floats state = ToFloats(in("S0")), o(q.size());
    for (int t = 0; t < tokens; ++t) {
      for (int h = 0; h < 2; ++h) {
        const int at = (2 * t + h) * kD;
        GatedDeltaFor(isa).step(&state[h * kHeadState], &q[at], &k[at], &v[at], g[2 * t + h],
                                beta[2 * t + h], &o[at]);
      }
    }
    ExpectClose(o, out("o"), 1e-5, "o");
    Floats rows, over_value(2 * kD), over_key(2 * kD);
    for (int h = 0; h < 2; ++h) {
      for (const int row : {0, 7, 21, 63}) {
        const float* s = &state[h * kHeadState + row * kD];
        rows.insert(rows.end(), s, s + kD);
      }
      for (int i = 0; i < kHeadState; ++i) {
        over_value[h * kD + i / kD] += state[h * kHeadState + i];
        over_key[h * kD + i % kD] += state[h * kHeadState + i];
      }
    }
    ExpectClose(rows, out("S/at_rows"), 1e-5, "state rows");
    ExpectClose(over_value, out("S/sum_over_value"), 1e-5, "row sums");
    ExpectClose(over_key, out("S/sum_over_key"), 1e-5, "column sums");
  }
}

TEST(GatedDeltaStepTest, EveryInstructionSetGivesTheSameBitsAndReadPlusWriteIsStep) {
  const int tokens = 40;
  const Floats q = Unit(Noise(tokens * kD, 1, 0, 1)), k = Unit(Noise(tokens * kD, 1, 0, 2));
  const Floats v = Noise(tokens * kD, 2, 0, 3), g = Noise(tokens, 1, -1, 4);
  const Floats beta = Noise(tokens, 0.5f, 0.5f, 5), start = Noise(kHeadState, 1, 0, 6);
  Floats o0, state0;
  for (const Isa isa : RunnableIsas()) {
    const GatedDeltaKernels& kernels = GatedDeltaFor(isa);
    Floats state = start, halves = start, o(q), u(kD), o_read(kD);
    for (int t = 0; t < tokens; ++t) {
      const int at = t * kD;
      kernels.read(halves.data(), &q[at], &k[at], &v[at], g[t], beta[t], o_read.data(), u.data());
      kernels.write(halves.data(), &k[at], u.data(), g[t]);
      kernels.step(state.data(), &o[at], &k[at], &v[at], g[t], beta[t], &o[at]);  // o is q
      ExpectSame(o_read, Floats(&o[at], &o[at] + kD), "read");
    }
    ExpectSame(halves, state, "write");
    if (isa == Isa::kBaseline) o0 = o, state0 = state;
    ExpectSame(o, o0, IsaName(isa));
    ExpectSame(state, state0, IsaName(isa));
  }
}

TEST(GatedDeltaStepTest, RecallsOrthonormalKeysExactlyAndDecaysWithoutWrites) {
  const GatedDeltaKernels& kernels = GatedDelta();
  Floats state(kHeadState), o(kD);
  const Floats v = Noise(kD * kD, 1, 0, 1);
  for (int t = 0; t < kD; ++t) {
    Floats e(kD);
    e[t] = 1;
    kernels.step(state.data(), e.data(), e.data(), &v[t * kD], 0, 1, o.data());
  }
  ExpectClose(state, ToDoubles(v), 1e-7, "S^T k_i = v_i");
  Doubles want = ToDoubles(state);
  const Floats k = Unit(Noise(kD, 1, 0, 2));
  for (int t = 0; t < 5; ++t) {
    kernels.step(state.data(), k.data(), k.data(), v.data(), -0.5f, 0, o.data());
    for (double& x : want) x *= std::exp(-0.5);
  }
  ExpectClose(state, want, 1e-5, "beta = 0");
}

TEST(GatedDeltaStepTest, HundredThousandRandomTokensStayBounded) {
  const int tokens = 100'000;
  const GatedDeltaKernels& kernels = GatedDelta();
  const Floats q = Unit(Noise(256 * kD, 1, 0, 1)), k = Unit(Noise(256 * kD, 1, 0, 2));
  const Floats v = Noise(256 * kD, 1, 0, 3);
  Floats state(kHeadState), o(kD);
  for (int t = 0; t < tokens; ++t) {
    const int at = (t * 7 % 256) * kD;
    kernels.step(state.data(), &q[at], &k[(t * 11 % 256) * kD], &v[(t * 13 % 256) * kD], -0.1f,
                 0.9f, o.data());
  }
  ExpectFinite(state, "state");
  // |S|_2 <= max(beta |v|) / (1 - max alpha), |v| <= 8.
  double squares = 0;
  for (const float x : state) squares += double{x} * x;
  EXPECT_LE(std::sqrt(squares / kD), 0.9 * 8 / (1 - std::exp(-0.1)));
}

TEST(GatedDeltaGatesTest, MatchTheNaiveTwinIncludingExtremesAndAgreeOnEveryInstructionSet) {
  const int tokens = 5, heads = 19;
  Floats a = Noise(tokens * heads, 8, 0, 1), b = Noise(tokens * heads, 8, 0, 2);
  const Floats a_log = Noise(heads, 2, 0.5f, 3), dt_bias = Noise(heads, 3, -3, 4);
  const Floats dg = Noise(tokens * heads, 1, 0, 5), dbeta = Noise(tokens * heads, 1, 0, 6);
  a[3] = 80, a[4] = -80, b[5] = 80, b[6] = -80;
  Doubles g_want(a.size()), beta_want(a.size()), da_want(a.size()), db_want(a.size());
  Doubles da_log_want(heads), ddt_want(heads);
  for (size_t i = 0; i < a.size(); ++i) {
    const int h = static_cast<int>(i) % heads;
    NaiveGate<double>(a[i], b[i], a_log[h], dt_bias[h], &g_want[i], &beta_want[i]);
    NaiveGateBackward<double>(a[i], b[i], a_log[h], dt_bias[h], dg[i], dbeta[i], &da_want[i],
                              &db_want[i], &da_log_want[h], &ddt_want[h]);
  }
  Floats g0, beta0;
  for (const Isa isa : RunnableIsas()) {
    Floats g(a.size()), beta(a.size()), da(a.size()), db(a.size()), da_log(heads), ddt(heads);
    GatedDeltaFor(isa).gates(a.data(), b.data(), a_log.data(), dt_bias.data(), tokens, heads,
                             g.data(), beta.data());
    GatedDeltaTrainFor(isa).gates_backward(a.data(), a_log.data(), dt_bias.data(), g.data(),
                                           beta.data(), dg.data(), dbeta.data(), tokens, heads,
                                           da.data(), db.data(), da_log.data(), ddt.data());
    ExpectClose(g, g_want, 1e-5, "g");
    ExpectClose(beta, beta_want, 1e-5, "beta");
    ExpectClose(da, da_want, 1e-5, "da");
    ExpectClose(db, db_want, 1e-5, "db");
    ExpectClose(da_log, da_log_want, 1e-5, "da_log");
    ExpectClose(ddt, ddt_want, 1e-5, "ddt_bias");
    for (size_t i = 0; i < g.size(); ++i) {
      EXPECT_LE(g[i], 0);
      EXPECT_GE(beta[i], 0);
      EXPECT_LE(beta[i], 1);
    }
    if (isa == Isa::kBaseline) g0 = g, beta0 = beta;
    ExpectSame(g, g0, IsaName(isa));
    ExpectSame(beta, beta0, IsaName(isa));
  }
}

TEST(GatedDeltaNormsTest, MatchTheNaiveTwinsAndAgreeOnEveryInstructionSet) {
  const int rows = 7;
  const Floats o = Noise(rows * kD, 2, 0, 1), h = Noise(rows * kD, 6, 0, 2);
  const Floats gamma = Noise(kD, 1, 1, 3), dy = Noise(rows * kD, 1, 0, 4);
  const Doubles od = ToDoubles(o), hd = ToDoubles(h), gd = ToDoubles(gamma), dyd = ToDoubles(dy);
  Doubles y_want(o.size()), do_want(o.size()), dh_want(o.size()), dgamma_want(kD);
  Doubles l2_want(o.size()), du_want(o.size());
  for (int at = 0; at < rows * kD; at += kD) {
    NaiveGatedNorm(&od[at], &hd[at], gd.data(), kD, &y_want[at]);
    NaiveGatedNormBackward(&od[at], &hd[at], gd.data(), &dyd[at], kD, &do_want[at], &dh_want[at],
                           dgamma_want.data());
    NaiveL2Norm(&od[at], kD, &l2_want[at]);
    NaiveL2NormBackward(&od[at], &dyd[at], kD, &du_want[at]);
  }
  Floats y0, l20;
  for (const Isa isa : RunnableIsas()) {
    const GatedDeltaKernels& serve = GatedDeltaFor(isa);
    const GatedDeltaTrainKernels& train = GatedDeltaTrainFor(isa);
    Floats y = o, inv(rows), d_o(o.size()), dh = dy, dgamma(kD);
    serve.head_norm(y.data(), h.data(), gamma.data(), rows, y.data(), inv.data());
    train.head_norm_backward(o.data(), h.data(), gamma.data(), inv.data(), dh.data(), rows,
                             d_o.data(), dh.data(), dgamma.data());
    Floats l2 = o, factor(rows), du = dy;
    serve.l2norm(l2.data(), rows, l2.data(), factor.data());
    train.l2norm_backward(l2.data(), factor.data(), du.data(), rows, du.data());
    ExpectClose(y, y_want, 1e-5, "y");
    ExpectClose(d_o, do_want, 1e-5, "do");
    ExpectClose(dh, dh_want, 1e-5, "dh");
    ExpectClose(dgamma, dgamma_want, 1e-5, "dgamma");
    ExpectClose(l2, l2_want, 1e-5, "l2norm");
    ExpectClose(du, du_want, 1e-5, "du");
    if (isa == Isa::kBaseline) y0 = y, l20 = l2;
    ExpectSame(y, y0, IsaName(isa));
    ExpectSame(l2, l20, IsaName(isa));
  }
}

}  // namespace
}  // namespace chimera
