// The exact delta rule: gates against the oracle and the naive twin, and what it is for: keys of
// any size through the step and chunk forms of the gated delta rule.
#include "layers/efla.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "layers/efla_naive.h"
#include "layers/gated_delta.h"
#include "layers/kernel_testing.h"

namespace chimera {
namespace {

constexpr int kD = kHeadDim;

// One head of one sequence; time is the beta of math-backbone 7, after the softplus.
struct Head {
  int n, d;
  Doubles q, k, v, g, time, start, d_o, d_end;
};

struct Result {
  Doubles o, end, dq, dk, dv, dg, dtime, d_start;
};

Result RunNaive(const Head& x) {
  Doubles gain(x.n), d_gain(x.n);
  for (int t = 0; t < x.n; ++t) {
    gain[t] = NaiveEflaGain(x.time[t], NaiveSquares(&x.k[t * x.d], x.d));
  }
  const NaiveGatedDelta<double> naive = {x.n,        x.d,        x.q.data(), x.k.data(),
                                         x.v.data(), x.g.data(), gain.data()};
  Result r;
  r.o = r.dq = r.dk = r.dv = Doubles(x.n * x.d);
  r.dg = r.dtime = Doubles(x.n);
  r.end = x.start, r.d_start = x.d_end;
  naive.Forward(r.end.data(), r.o.data());
  naive.Backward(x.start.data(), x.d_o.data(), r.d_start.data(), r.dq.data(), r.dk.data(),
                 r.dv.data(), r.dg.data(), d_gain.data());
  for (int t = 0; t < x.n; ++t) {
    const double lambda = NaiveSquares(&x.k[t * x.d], x.d);
    r.dtime[t] = d_gain[t] * std::exp(-x.time[t] * lambda);
    for (int i = 0; i < x.d; ++i) {
      r.dk[t * x.d + i] += 2 * x.k[t * x.d + i] * d_gain[t] * NaiveEflaSlope(x.time[t], lambda);
    }
  }
  return r;
}

Floats Widen(const Doubles& x, int d, double scale) {
  Floats out(x.size() / d * kD);
  for (size_t i = 0; i < x.size(); ++i) {
    out[i / d * kD + i % d] = static_cast<float>(x[i] * scale);
  }
  return out;
}
Doubles Narrow(const Floats& x, int d, double scale) {
  Doubles out;
  for (size_t i = 0; i < x.size(); ++i) {
    if (static_cast<int>(i % kD) < d) out.push_back(x[i] * scale);
  }
  return out;
}
Doubles NarrowState(const Floats& s, int d) {
  Doubles out;
  for (int i = 0; i < d * d; ++i) out.push_back(s[i / d * kD + i % d]);
  return out;
}

// The float kernels on a head of size d <= 64.
struct Kernels32 {
  Kernels32(Isa isa, const Head& x)
      : isa(isa),
        n(x.n),
        d(x.d),
        q(Widen(x.q, d, std::sqrt(64.0 / d))),
        k(Widen(x.k, d, 1)),
        v(Widen(x.v, d, 1)),
        g(ToFloats(x.g)),
        beta(n),
        lambda(n),
        start(kHeadState) {
    for (const double time : x.time) b.push_back(static_cast<float>(std::log(std::expm1(time))));
    for (int i = 0; i < d * d; ++i) start[i / d * kD + i % d] = static_cast<float>(x.start[i]);
    Floats none(n);
    EflaFor(isa).gates(Gates(), none.data(), beta.data(), lambda.data());
    ExpectClose(none, Doubles(n), 0, "no decay without a");
  }
  EflaGates Gates() const { return {nullptr, b.data(), k.data(), kD, nullptr, nullptr, n, 1}; }
  Result Steps() const {
    Floats state = start, o(q.size());
    for (int t = 0; t < n; ++t) {
      const int at = t * kD;
      GatedDeltaFor(isa).step(state.data(), &q[at], &k[at], &v[at], g[t], beta[t], &o[at]);
    }
    Result r;
    r.o = Narrow(o, d, 1), r.end = NarrowState(state, d);
    return r;
  }
  Result Chunks(const Head& x) const {
    const GatedDeltaSequence seq = {q.data(),    k.data(), v.data(), kD, g.data(),
                                    beta.data(), 1,        nullptr,  n};
    const double widen = std::sqrt(64.0 / d);
    Floats state = start, o(q.size()), dq(o), dk(o), dv(o), dg(n), dbeta(n), d_state(kHeadState);
    Floats saved(CountChunks(nullptr, n) * kHeadState), da(n);
    const Floats d_o = Widen(x.d_o, d, 1);
    for (int i = 0; i < d * d; ++i) d_state[i / d * kD + i % d] = static_cast<float>(x.d_end[i]);
    GatedDeltaTrainFor(isa).forward(&seq, state.data(), o.data(), state.data(), saved.data());
    GatedDeltaTrainFor(isa).backward(&seq, saved.data(), d_o.data(), d_state.data(), dq.data(),
                                     dk.data(), dv.data(), dg.data(), dbeta.data(), d_state.data());
    EflaFor(isa).gates_backward(Gates(), g.data(), lambda.data(), dg.data(), dbeta.data(),
                                da.data(), dbeta.data(), dk.data(), nullptr, nullptr);
    Result r = {Narrow(o, d, 1),  NarrowState(state, d), Narrow(dq, d, widen), Narrow(dk, d, 1),
                Narrow(dv, d, 1), ToDoubles(dg),         ToDoubles(dbeta),     {}};
    r.d_start = NarrowState(d_state, d);
    for (int t = 0; t < n; ++t) r.dtime[t] /= NaiveSigmoid<double>(b[t]);
    return r;
  }
  Isa isa;
  int n, d;
  Floats q, k, v, g, b, beta, lambda, start;
};

Head GoldenHead(const char* golden_case, int h) {
  const auto in = [&](const char* name, int inner) {
    return Slice(Golden("gated_delta", golden_case, "in", name), 2, h, inner);
  };
  return {20,           8,           in("q", 8),  in("k", 8), in("v", 8), in("g", 1), in("beta", 1),
          in("S0", 64), in("do", 8), in("dS", 64)};
}

TEST(EflaGoldenTest, PlainAndGatedForwardAndBackward) {
  for (const char* name : {"efla_d8", "gated_efla_d8"}) {
    for (int h = 0; h < 2; ++h) {
      const Head x = GoldenHead(name, h);
      const auto array = [&](const char* group, const char* which, int inner) {
        return Slice(Golden("gated_delta", name, group, which), 2, h, inner);
      };
      const bool gated = std::string(name) == "gated_efla_d8";
      const auto expect = [&](const Result& got, double tol, double grad_tol, const char* what) {
        ExpectClose(got.o, array("out", "o", 8), tol, what);
        ExpectClose(got.end, array("out", "S", 64), tol, what);
        ExpectClose(got.dq, array("grad", "q", 8), grad_tol, what);
        ExpectClose(got.dk, array("grad", "k", 8), grad_tol, what);
        ExpectClose(got.dv, array("grad", "v", 8), grad_tol, what);
        ExpectClose(got.dtime, array("grad", "beta", 1), grad_tol, what);
        ExpectClose(got.d_start, array("grad", "S0", 64), grad_tol, what);
        if (gated) ExpectClose(got.dg, array("grad", "g", 1), grad_tol, what);
      };
      expect(RunNaive(x), 1e-10, 1e-10, "naive");
      for (const Isa isa : RunnableIsas()) {
        const Kernels32 kernels(isa, x);
        expect(kernels.Chunks(x), 1e-5, 1e-4, IsaName(isa));
        const Result steps = kernels.Steps();
        ExpectClose(steps.o, array("out", "o", 8), 1e-5, "steps");
        ExpectClose(steps.end, array("out", "S", 64), 1e-5, "steps");
      }
    }
  }
}

TEST(EflaNaiveTest, GradientsMatchCentralDifferences) {
  const int d = 5;
  for (const double scale : {0.01, 0.1, 1.0, 4.0}) {  // series and closed form
    Doubles k = ToDoubles(Noise(d, 1, 0, 1)), b = {0.3};
    for (double& x : k) x *= scale;
    Doubles dk(d), db(1);
    NaiveEflaGateBackward(b[0], k.data(), d, 1.7, &db[0], dk.data());
    const auto loss = [&] { return 1.7 * NaiveEflaGate(b[0], k.data(), d); };
    ExpectSlopes(k, dk, "k", loss);
    ExpectSlopes(b, db, "b", loss);
  }
  Head x = GoldenHead("gated_efla_d8", 0);
  x.n = 6, x.d = 4;  // the first rows, cut anew; their keys are of ordinary size
  for (Doubles Head::*rows : {&Head::q, &Head::k, &Head::v, &Head::d_o}) {
    (x.*rows).resize(x.n * x.d);
  }
  for (Doubles Head::*gates : {&Head::g, &Head::time}) (x.*gates).resize(x.n);
  x.start.resize(16), x.d_end.resize(16);
  const Result r = RunNaive(x);
  const auto loss = [&] {
    const Result now = RunNaive(x);
    return Inner(now.o, x.d_o) + Inner(now.end, x.d_end);
  };
  ExpectSlopes(x.q, r.dq, "q", loss);
  ExpectSlopes(x.k, r.dk, "k", loss);
  ExpectSlopes(x.v, r.dv, "v", loss);
  ExpectSlopes(x.g, r.dg, "g", loss);
  ExpectSlopes(x.time, r.dtime, "time", loss);
  ExpectSlopes(x.start, r.d_start, "start", loss);
}

// Relative to their own size, on both sides of every switch between series and closed form.
TEST(EflaGatesTest, GainAndSlopeAreAccurateForEveryTime) {
  const auto series = [](double x, bool slope) {  // phi or phi', term by term
    double sum = 0, term = 1;
    for (int n = 0; n < 60; ++n) {
      term *= (n == 0 ? 1 : -x) / (n + 1);
      sum += slope ? n * term / x : term;
    }
    return sum;
  };
  for (double x = 1e-6; x < 4; x *= 1.13) {
    const float b = 0.25f, size = static_cast<float>(std::sqrt(x / 64 / NaiveSoftplus(0.25)));
    Floats k(kD, size), dk(kD);
    const double time = NaiveSoftplus<double>(b), lambda = NaiveSquares(ToDoubles(k).data(), kD);
    const double phi = time * series(time * lambda, false);
    const double slope = time * time * series(time * lambda, true);
    EXPECT_NEAR(NaiveEflaGain(time, lambda) / phi, 1, 1e-12) << x;
    EXPECT_NEAR(NaiveEflaSlope(time, lambda) / slope, 1, 1e-9) << x;
    float g = 1, beta = 0, squares = 0, da = 0, db = 0;
    const EflaGates in = {nullptr, &b, k.data(), kD, nullptr, nullptr, 1, 1};
    const float one = 1;
    Efla().gates(in, &g, &beta, &squares);
    Efla().gates_backward(in, &g, &squares, &one, &one, &da, &db, dk.data(), nullptr, nullptr);
    EXPECT_NEAR(beta / phi, 1, 2e-6) << x;
    EXPECT_NEAR(dk[7] / (2 * k[7] * slope), 1, 5e-6) << x;
    EXPECT_EQ(g, 0);
    EXPECT_EQ(da, 0);
  }
}

TEST(EflaGatesTest, MatchTheNaiveTwinAndAgreeOnEveryInstructionSet) {
  const int tokens = 7, heads = 19, stride = heads * kD + 3;
  Floats a = Noise(tokens * heads, 8, 0, 1), b = Noise(tokens * heads, 8, 0, 2);
  Floats k = Noise(tokens * stride, 1, 0, 3);
  const Floats a_log = Noise(heads, 2, 0.5f, 4), dt_bias = Noise(heads, 3, -3, 5);
  const Floats dg = Noise(tokens * heads, 1, 0, 6), dbeta = Noise(tokens * heads, 1, 0, 7);
  const Floats dk_before = Noise(tokens * stride, 1, 0, 8);
  // Keys of every size, zero too: x = beta lambda crosses both branches.
  for (int t = 0; t < tokens; ++t) {
    for (int h = 0; h < heads; ++h) {
      const float scale = h == 5 ? 0 : std::exp2(static_cast<float>((t * heads + h) % 23 - 14));
      for (int i = 0; i < kD; ++i) k[t * stride + h * kD + i] *= scale;
    }
  }
  Doubles g_want(a.size()), beta_want(a.size()), da(a.size()), db(a.size()), lambda_want(a.size());
  Doubles da_log(heads), ddt(heads), dk_want = ToDoubles(dk_before);
  const Doubles kd = ToDoubles(k);
  for (int t = 0; t < tokens; ++t) {
    for (int h = 0; h < heads; ++h) {
      const int at = t * heads + h;
      const double* key = &kd[t * stride + h * kD];
      double unused;
      NaiveGate<double>(a[at], b[at], a_log[h], dt_bias[h], &g_want[at], &unused);
      NaiveGateBackward<double>(a[at], b[at], a_log[h], dt_bias[h], dg[at], 0, &da[at], &unused,
                                &da_log[h], &ddt[h]);
      beta_want[at] = NaiveEflaGate<double>(b[at], key, kD);
      lambda_want[at] = NaiveSquares(key, kD);
      NaiveEflaGateBackward<double>(b[at], key, kD, dbeta[at], &db[at],
                                    &dk_want[t * stride + h * kD]);
    }
  }
  Floats g0, beta0, dk0;
  for (const Isa isa : RunnableIsas()) {
    const EflaGates in = {a.data(),     b.data(),       k.data(), stride,
                          a_log.data(), dt_bias.data(), tokens,   heads};
    Floats g(a), beta(b), lambda(a.size()), dk = dk_before, d_a = dg, d_b = dbeta;
    Floats d_log(heads), d_bias(heads);
    EflaFor(isa).gates(in, g.data(), beta.data(), lambda.data());
    EflaFor(isa).gates_backward(in, g.data(), lambda.data(), d_a.data(), d_b.data(), d_a.data(),
                                d_b.data(), dk.data(), d_log.data(), d_bias.data());
    ExpectClose(g, g_want, 1e-5, "g");
    ExpectClose(beta, beta_want, 1e-5, "beta");
    ExpectClose(lambda, lambda_want, 1e-5, "lambda");
    ExpectClose(d_a, da, 1e-5, "da");
    ExpectClose(d_b, db, 1e-5, "db");
    ExpectClose(dk, dk_want, 1e-5, "dk");
    ExpectClose(d_log, da_log, 1e-5, "da_log");
    ExpectClose(d_bias, ddt, 1e-5, "ddt_bias");
    for (size_t i = 0; i < beta.size(); ++i) {
      EXPECT_NEAR(beta[i] / beta_want[i], 1, 2e-6) << "relative, at x = " << lambda[i] * beta[i];
      EXPECT_LE(beta[i] * lambda[i], 1 + 1e-6) << "the eigenvalue along k stays in [0, 1]";
    }
    if (isa == Isa::kBaseline) g0 = g, beta0 = beta, dk0 = dk;
    ExpectSame(g, g0, IsaName(isa));
    ExpectSame(beta, beta0, IsaName(isa));
    ExpectSame(dk, dk0, IsaName(isa));
  }
  // In place, one token at a time, as a step calls it.
  for (int t = 0; t < tokens; ++t) {
    float *at = &a[t * heads], *bt = &b[t * heads];
    Efla().gates({at, bt, &k[t * stride], stride, a_log.data(), dt_bias.data(), 1, heads}, at, bt,
                 nullptr);
  }
  ExpectSame(a, g0, "g over a");
  ExpectSame(b, beta0, "beta over b");
}

// Keys of norm 8 * scale: the exact rule contracts, the plain rule multiplies by 1 - beta lambda.
Head BigKeys(int n, double scale) {
  const auto noise = [](int64_t size, float s, float offset, uint32_t seed) {
    return ToDoubles(Noise(size, s, offset, seed));
  };
  Head x = {n,
            kD,
            noise(n * kD, 0.2f, 0, 1),
            noise(n * kD, 1, 0.05f, 2),
            noise(n * kD, 1, 0, 3),
            Doubles(n),
            noise(n, 0.5f, 0.5f, 4),
            noise(kHeadState, 0.5f, 0, 5),
            noise(n * kD, 1, 0, 6),
            noise(kHeadState, 0.5f, 0, 7)};
  for (double& y : x.k) y *= scale;
  for (double& y : x.v) y *= scale;  // so that states and outputs are of order one
  x.k = ToDoubles(ToFloats(x.k));
  for (int t = 0; t < n; ++t) {  // through the float inverse of softplus, as the kernels see it
    x.time[t] = NaiveSoftplus<double>(static_cast<float>(std::log(std::expm1(x.time[t] + 1e-3))));
  }
  return x;
}

double Largest(const Doubles& x) {
  double most = 0;
  for (const double y : x) most = std::max(most, std::isfinite(y) ? std::abs(y) : 1e300);
  return most;
}

// |got - want| <= tol * the largest |want|.
void ExpectRelative(const Doubles& got, const Doubles& want, double tol, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(got[i] - want[i]);
    if (!(error <= worst)) worst = error;  // also takes NaN
  }
  EXPECT_LE(worst, tol * Largest(want)) << what << ", largest " << Largest(want);
}

void ExpectFormsAgree(const Head& x) {
  const Result want = RunNaive(x);
  for (const Isa isa : RunnableIsas()) {
    const Kernels32 kernels(isa, x);
    const Result steps = kernels.Steps(), chunks = kernels.Chunks(x);
    ExpectRelative(steps.o, want.o, 2e-6, "steps o");
    ExpectRelative(steps.end, want.end, 2e-6, "steps S");
    ExpectRelative(chunks.o, want.o, 2e-6, "chunks o");
    ExpectRelative(chunks.end, want.end, 2e-6, "chunks S");
    ExpectRelative(chunks.dq, want.dq, 2e-6, "dq");
    ExpectRelative(chunks.dk, want.dk, 2e-6, "dk");
    ExpectRelative(chunks.dv, want.dv, 2e-6, "dv");
    ExpectRelative(chunks.dtime, want.dtime, 5e-6, "dtime");
    ExpectRelative(chunks.d_start, want.d_start, 2e-6, "dS0");
  }
}

// The unit lower triangular solve of the chunk form sees a k_i.k_j, of order |k_j| / |k_i|:
// rescaling its rows and columns by |k| gives the solve of normalised keys, and substitution does
// not notice.
TEST(EflaStabilityTest, KeysOfScale100DoNotDivergeAndTheFormsAgree) {
  for (const double scale : {1.0, 100.0}) {
    const Head x = BigKeys(300, scale);
    const Doubles o = RunNaive(x).o;
    ASSERT_GT(Largest(o), 0.1);
    ASSERT_LT(Largest(o), 10);
    ExpectFormsAgree(x);
  }
}

TEST(EflaStabilityTest, KeysOfMixedSizeInOneChunkAgree) {
  Head x = BigKeys(300, 1);
  for (int t = 0; t < x.n; ++t) {
    const float scale = t % 3 == 0 ? 0.01f : t % 3 == 1 ? 1.0f : 100.0f;
    for (int i = 0; i < kD; ++i) {
      x.k[t * kD + i] = static_cast<float>(x.k[t * kD + i]) * scale;
    }
  }
  ExpectFormsAgree(x);
}

// The exact step mixes the component along k with v / |k|: |S|^2 <= |S0|^2 + sum |v|^2 / |k|^2.
TEST(EflaStabilityTest, ThePlainRuleDivergesOnTheSameKeysInBothForms) {
  const int n = 300;
  const Head x = BigKeys(n, 100);
  Kernels32 kernels(BestIsa(), x);
  double bound = NaiveSquares(x.start.data(), kHeadState);
  for (int t = 0; t < n; ++t) {
    bound += NaiveSquares(&x.v[t * kD], kD) / NaiveSquares(&x.k[t * kD], kD);
  }
  for (const Result& r : {kernels.Steps(), kernels.Chunks(x)}) {
    EXPECT_LE(NaiveSquares(r.end.data(), kHeadState), bound * (1 + 1e-5));
  }
  std::fill(kernels.beta.begin(), kernels.beta.end(), 0.5f);  // what sigmoid would give
  EXPECT_GT(Largest(kernels.Steps().end), 1e30);
  EXPECT_GT(Largest(kernels.Chunks(x).end), 1e30);
}

// a = beta - beta^2 lambda / 2 + ...: for short times the two rules differ by O(beta^2).
TEST(EflaStabilityTest, ShortTimesGiveTheBetaRuleUpToASquare) {
  const int n = 40;
  Head x = BigKeys(n, 1);
  for (int t = 0; t < n; ++t)
    NaiveL2Norm(Doubles(&x.k[t * kD], &x.k[t * kD] + kD).data(), kD, &x.k[t * kD]);
  const auto difference = [&](double beta) {
    std::fill(x.time.begin(), x.time.end(), beta);
    const Result exact = RunNaive(x);
    const NaiveGatedDelta<double> plain = {n,          kD,         x.q.data(),   x.k.data(),
                                           x.v.data(), x.g.data(), x.time.data()};
    Doubles state = x.start, o(n * kD);
    plain.Forward(state.data(), o.data());
    double worst = 0;
    for (int i = 0; i < kHeadState; ++i) {
      worst = std::max(worst, std::abs(state[i] - exact.end[i]));
    }
    // And through the float kernels.
    const Kernels32 kernels(BestIsa(), x);
    const Result steps = kernels.Steps();
    ExpectClose(steps.end, state, n * beta * beta, "kernels");
    ExpectClose(steps.o, o, n * beta * beta, "kernels");
    return worst;
  };
  const double small = difference(1e-3), twice = difference(2e-3);
  EXPECT_GT(small, 0);
  EXPECT_LT(small, n * 1e-6);
  EXPECT_NEAR(twice / small, 4, 0.05);
}

}  // namespace
}  // namespace chimera
