// The chunk form against the golden files, the recurrence and the naive twin.
#include <algorithm>
#include <cmath>
#include <string>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/mlstm.h"
#include "layers/mlstm_naive.h"

namespace chimera {
namespace {

constexpr int kD = kHeadDim;

// One head of one sequence with everything that flows in, rows contiguous.
struct Head {
  int n, d;
  Doubles q, k, v, i, f, c, norm, dh, d_c, d_norm;
  double m = 0;
  std::vector<uint8_t> reset;
  const uint8_t* flags() const { return reset.empty() ? nullptr : reset.data(); }
};

// End states are in their frame m; c and norm are meant together with it.
struct Result {
  Doubles h, c, norm, dq, dk, dv, di, df, d_c, d_norm;
  double m = 0;
};

void ExpectGrads(const Result& got, const Result& want, double tol, const std::string& what) {
  ExpectClose(got.dq, want.dq, tol, what + " dq");
  ExpectClose(got.dk, want.dk, tol, what + " dk");
  ExpectClose(got.dv, want.dv, tol, what + " dv");
  ExpectClose(got.di, want.di, tol, what + " di");
  ExpectClose(got.df, want.df, tol, what + " df");
  ExpectClose(got.d_c, want.d_c, tol, what + " d_c");
  ExpectClose(got.d_norm, want.d_norm, tol, what + " d_n");
}

void ExpectResult(const Result& got, const Result& want, double tol, const std::string& what) {
  ExpectClose(got.h, want.h, tol, what + " h");
  ExpectClose(got.c, want.c, tol, what + " C");
  ExpectClose(got.norm, want.norm, tol, what + " n");
  EXPECT_NEAR(got.m, want.m, tol * (1 + std::abs(want.m))) << what;
  ExpectGrads(got, want, tol, what);
}

Result RunNaive(const Head& x) {
  const NaiveMlstm<double> naive = {x.n,        x.d,        x.q.data(), x.k.data(),
                                    x.v.data(), x.i.data(), x.f.data(), x.flags()};
  Result r;
  r.h = r.dq = r.dk = r.dv = Doubles(x.n * x.d);
  r.di = r.df = Doubles(x.n);
  r.c = x.c, r.norm = x.norm, r.m = x.m;
  r.d_c = x.d_c, r.d_norm = x.d_norm;
  naive.Forward(r.c.data(), r.norm.data(), &r.m, r.h.data());
  naive.Backward(x.c.data(), x.norm.data(), x.m, x.dh.data(), r.d_c.data(), r.d_norm.data(),
                 r.dq.data(), r.dk.data(), r.dv.data(), r.di.data(), r.df.data());
  return r;
}

// Head 1 of 2 heads of 64, the first d columns; zero padding and q times sqrt(64/d) for the scale.
Floats Embed(const Doubles& x, int d, double scale) {
  const int n = static_cast<int>(x.size()) / d;
  Floats out(n * 2 * kD);
  for (int i = 0; i < n * d; ++i) {
    out[(2 * (i / d) + 1) * kD + i % d] = static_cast<float>(x[i] * scale);
  }
  return out;
}
Doubles Extract(const Floats& x, int d, double scale) {
  Doubles out;
  for (size_t at = kD; at < x.size(); at += 2 * kD) {
    for (int i = 0; i < d; ++i) out.push_back(x[at + i] * scale);
  }
  return out;
}
Floats EmbedState(const Doubles& s, int d) {
  Floats out(kHeadState);
  for (int i = 0; i < d * d; ++i) out[i / d * kD + i % d] = static_cast<float>(s[i]);
  return out;
}
Doubles ExtractState(const Floats& s, int d) {
  Doubles out;
  for (int i = 0; i < d * d; ++i) out.push_back(s[i / d * kD + i % d]);
  return out;
}

Result RunChunks(Isa isa, const Head& x) {
  const double widen = std::sqrt(64.0 / x.d);
  const Floats q = Embed(x.q, x.d, widen), k = Embed(x.k, x.d, 1), v = Embed(x.v, x.d, 1);
  const Floats dh = Embed(x.dh, x.d, 1), i = ToFloats(x.i), f = ToFloats(x.f);
  const MlstmSequence seq = {&q[kD], &k[kD], &v[kD], 2 * kD, i.data(), f.data(), 1, x.flags(), x.n};
  Floats c = EmbedState(x.c, x.d), n = ToFloats(x.norm), d_c = EmbedState(x.d_c, x.d);
  Floats d_n = ToFloats(x.d_norm), saved(CountChunks(x.flags(), x.n) * kMlstmSaved);
  n.resize(kD), d_n.resize(kD);
  float m = static_cast<float>(x.m);
  Floats h(q.size()), dq = h, dk = h, dv = h, di(x.n), df(x.n);
  const MlstmState state = {c.data(), n.data(), &m}, grad = {d_c.data(), d_n.data(), nullptr};
  const MlstmTrainKernels& train = MlstmTrainFor(isa);
  train.forward(&seq, &state, &h[kD], &state, saved.data());
  train.backward(&seq, saved.data(), &h[kD], &dh[kD], &grad, &dq[kD], &dk[kD], &dv[kD], di.data(),
                 df.data(), &grad);
  n.resize(x.d), d_n.resize(x.d);
  Result r;
  r.h = Extract(h, x.d, 1), r.c = ExtractState(c, x.d), r.norm = ToDoubles(n);
  r.dq = Extract(dq, x.d, widen), r.dk = Extract(dk, x.d, 1), r.dv = Extract(dv, x.d, 1);
  r.di = ToDoubles(di), r.df = ToDoubles(df);
  r.d_c = ExtractState(d_c, x.d), r.d_norm = ToDoubles(d_n), r.m = m;
  return r;
}

// Outputs and end state of the serving form.
Result RunSteps(Isa isa, const Head& x) {
  const double widen = std::sqrt(64.0 / x.d);
  const Floats q = Embed(x.q, x.d, widen), k = Embed(x.k, x.d, 1), v = Embed(x.v, x.d, 1);
  Floats c = EmbedState(x.c, x.d), n = ToFloats(x.norm), h(q.size());
  n.resize(kD);
  float m = static_cast<float>(x.m);
  for (int t = 0; t < x.n; ++t) {
    if (!x.reset.empty() && x.reset[t] != 0) {
      std::fill(c.begin(), c.end(), 0.0f);
      std::fill(n.begin(), n.end(), 0.0f);
      m = 0;
    }
    const int at = (2 * t + 1) * kD;
    MlstmFor(isa).step(c.data(), n.data(), &m, &q[at], &k[at], &v[at], static_cast<float>(x.i[t]),
                       static_cast<float>(x.f[t]), &h[at]);
  }
  n.resize(x.d);
  Result r;
  r.h = Extract(h, x.d, 1), r.c = ExtractState(c, x.d), r.norm = ToDoubles(n), r.m = m;
  return r;
}

void ExpectState(const Result& got, const Result& want, double tol, const std::string& what) {
  ExpectClose(got.h, want.h, tol, what + " h");
  ExpectClose(got.c, want.c, tol, what + " C");
  ExpectClose(got.norm, want.norm, tol, what + " n");
  EXPECT_NEAR(got.m, want.m, tol * (1 + std::abs(want.m))) << what;
}

Head RandomHead(int n, int d, uint32_t seed) {
  const auto noise = [&](int64_t size, float scale, float offset) {
    return ToDoubles(Noise(size, scale, offset, seed++));
  };
  Head x;
  x.n = n, x.d = d;
  x.q = noise(n * d, 1, 0), x.k = noise(n * d, 1, 0.1f), x.v = noise(n * d, 1, 0);
  x.i = noise(n, 3, -1), x.f = noise(n, 3, 3);
  x.c = noise(d * d, 0.5f, 0), x.norm = noise(d, 0.5f, 0), x.m = 0.5;
  x.dh = noise(n * d, 1, 0), x.d_c = noise(d * d, 0.5f, 0), x.d_norm = noise(d, 0.5f, 0);
  return x;
}

TEST(MlstmGoldenTest, RecurrentAndExtremeGatesForwardAndBackward) {
  for (const std::string name : {"recurrent_d8", "extreme_gates_d8"}) {
    const double tol = name == "recurrent_d8" ? 1e-5 : 5e-4;
    for (int head = 0; head < 2; ++head) {
      const auto array = [&](const char* group, const char* what, int inner) {
        return Slice(Golden("mlstm", name, group, what), 2, head, inner);
      };
      const auto in = [&](const char* what, int inner) { return array("in", what, inner); };
      Head x;
      x.n = 37, x.d = 8;
      x.q = in("q", 8), x.k = in("k", 8), x.v = in("v", 8), x.i = in("i", 1), x.f = in("f", 1);
      x.c = in("C0", 64), x.norm = in("n0", 8), x.m = in("m0", 1)[0];
      x.dh = in("dh", 8), x.d_c = in("dC", 64), x.d_norm = in("dn", 8);
      Result want;
      want.h = array("out", "h", 8), want.c = array("out", "C", 64);
      want.norm = array("out", "n", 8), want.m = array("out", "m_last", 1)[0];
      want.dq = array("grad", "q", 8), want.dk = array("grad", "k", 8);
      want.dv = array("grad", "v", 8), want.di = array("grad", "i", 1);
      want.df = array("grad", "f", 1), want.d_c = array("grad", "C0", 64);
      want.d_norm = array("grad", "n0", 8);
      ExpectResult(RunNaive(x), want, 1e-10, name + " naive");
      for (const Isa isa : RunnableIsas()) {
        ExpectResult(RunChunks(isa, x), want, tol, name + " " + IsaName(isa));
        ExpectState(RunSteps(isa, x), want, tol, name + " steps " + IsaName(isa));
      }
    }
  }
}

TEST(MlstmNaiveTest, GradientsMatchCentralDifferences) {
  Head x = RandomHead(9, 4, 2);
  x.reset = {0, 0, 0, 0, 1, 0, 0, 0, 0};
  // The loss sees h alone: gradients through the end state hold its frame fixed.
  x.d_c = Doubles(16), x.d_norm = Doubles(4);
  const Result r = RunNaive(x);
  const auto loss = [&] { return Inner(RunNaive(x).h, x.dh); };
  ExpectSlopes(x.q, r.dq, "q", loss);
  ExpectSlopes(x.k, r.dk, "k", loss);
  ExpectSlopes(x.v, r.dv, "v", loss);
  ExpectSlopes(x.i, r.di, "i", loss);
  ExpectSlopes(x.f, r.df, "f", loss);
  ExpectSlopes(x.c, r.d_c, "C", loss);
  ExpectSlopes(x.norm, r.d_norm, "n", loss);
}

TEST(MlstmNaiveTest, BothBranchesOfTheDenominatorAreHit) {
  const Head x = RandomHead(9, 4, 2);
  Doubles c = x.c, n = x.norm, h(36);
  double m = x.m;
  std::vector<NaiveMlstm<double>::Record> records;
  NaiveMlstm<double>{9, 4, x.q.data(), x.k.data(), x.v.data(), x.i.data(), x.f.data()}.Forward(
      c.data(), n.data(), &m, h.data(), &records);
  int floors = 0;
  for (const auto& r : records) floors += std::abs(r.nu) < std::exp(-r.m);
  EXPECT_GT(floors, 0);
  EXPECT_LT(floors, 9);
}

TEST(MlstmNaiveTest, NormAndCapGradientsMatchCentralDifferences) {
  const int d = 6;
  Doubles h = ToDoubles(Noise(d, 1, 0, 1)), gate = ToDoubles(Noise(d, 2, 0, 2));
  Doubles gamma = ToDoubles(Noise(d, 1, 1, 3)), z = {7.5};
  const Doubles dy = ToDoubles(Noise(d, 1, 0, 4));
  Doubles dh(d), dgate(d), dgamma(d), y(d);
  NaiveSigmoidNormBackward(h.data(), gate.data(), gamma.data(), dy.data(), d, dh.data(),
                           dgate.data(), dgamma.data());
  const auto loss = [&] {
    NaiveSigmoidNorm(h.data(), gate.data(), gamma.data(), d, y.data());
    return Inner(y, dy);
  };
  ExpectSlopes(h, dh, "h", loss);
  ExpectSlopes(gate, dgate, "gate", loss);
  ExpectSlopes(gamma, dgamma, "gamma", loss);
  ExpectSlopes(z, {NaiveGateCapSlope(z[0])}, "cap", [&] { return NaiveGateCap(z[0]); });
}

TEST(MlstmChunkTest, EqualsStepsAndTheNaiveTwinForEveryLength) {
  for (const int n : {1, 7, 15, 16, 17, 64, 65, 130}) {
    const Head x = RandomHead(n, kD, n);
    const Result want = RunNaive(x);
    for (const Isa isa : RunnableIsas()) {
      const std::string what = std::string(IsaName(isa)) + " n = " + std::to_string(n);
      ExpectResult(RunChunks(isa, x), want, 5e-5, what);
      ExpectState(RunSteps(isa, x), want, 2e-5, what + " steps");
    }
  }
}

TEST(MlstmChunkTest, ResetsCutTheSequenceIntoIndependentPieces) {
  Head x = RandomHead(150, kD, 3);
  x.reset.assign(150, 0);
  for (const int t : {1, 2, 17, 90, 149}) x.reset[t] = 1;
  const Result want = RunNaive(x);
  for (const Isa isa : RunnableIsas()) ExpectResult(RunChunks(isa, x), want, 5e-5, IsaName(isa));
  Head piece = x;  // tokens 17 .. 89 on their own, from a fresh state
  piece.n = 73, piece.m = 0, piece.reset.clear();
  piece.c = piece.d_c = Doubles(kHeadState), piece.norm = piece.d_norm = Doubles(kD);
  for (Doubles Head::*rows : {&Head::q, &Head::k, &Head::v, &Head::dh}) {
    piece.*rows = Doubles((x.*rows).begin() + 17 * kD, (x.*rows).begin() + 90 * kD);
  }
  for (Doubles Head::*gates : {&Head::i, &Head::f}) {
    piece.*gates = Doubles((x.*gates).begin() + 17, (x.*gates).begin() + 90);
  }
  const Result alone = RunChunks(BestIsa(), piece), whole = RunChunks(BestIsa(), x);
  ExpectClose(alone.h, Doubles(whole.h.begin() + 17 * kD, whole.h.begin() + 90 * kD), 0, "h");
  ExpectClose(alone.df, Doubles(whole.df.begin() + 17, whole.df.begin() + 90), 0, "df");
}

TEST(MlstmChunkTest, SplitsAnywhere) {
  const Head x = RandomHead(100, kD, 5);
  const Result whole = RunChunks(BestIsa(), x);
  for (const int cut : {1, 33, 64, 99}) {
    Head a = x, b = x;
    a.n = cut, b.n = x.n - cut;
    for (Doubles Head::*rows : {&Head::q, &Head::k, &Head::v, &Head::dh}) {
      (a.*rows).resize(cut * kD);
      (b.*rows).erase((b.*rows).begin(), (b.*rows).begin() + cut * kD);
    }
    for (Doubles Head::*gates : {&Head::i, &Head::f}) {
      (a.*gates).resize(cut);
      (b.*gates).erase((b.*gates).begin(), (b.*gates).begin() + cut);
    }
    const Result middle = RunChunks(BestIsa(), a);
    b.c = middle.c, b.norm = middle.norm, b.m = middle.m;
    const Result second = RunChunks(BestIsa(), b);
    a.d_c = second.d_c, a.d_norm = second.d_norm;
    const Result first = RunChunks(BestIsa(), a);
    const auto expect = [&](Doubles Result::*field) {
      Doubles joined = first.*field;
      joined.insert(joined.end(), (second.*field).begin(), (second.*field).end());
      ExpectClose(joined, whole.*field, 5e-5, "cut " + std::to_string(cut));
    };
    for (Doubles Result::*field :
         {&Result::h, &Result::dq, &Result::dk, &Result::dv, &Result::di, &Result::df}) {
      expect(field);
    }
    ExpectClose(second.c, whole.c, 5e-5, "C");
    ExpectClose(first.d_c, whole.d_c, 5e-5, "dC");
  }
}

TEST(MlstmChunkTest, GatesAtTheCapStayFiniteOverManyChunks) {
  for (const double i : {-15.0, 15.0}) {
    for (const double f : {-15.0, 15.0}) {
      Head x = RandomHead(640, kD, 7);
      std::fill(x.i.begin(), x.i.end(), i);
      std::fill(x.f.begin(), x.f.end(), f);
      const Result got = RunChunks(BestIsa(), x);
      for (const Doubles& values : {got.h, got.c, got.dq, got.dk, got.dv, got.di, got.df}) {
        ExpectFinite(ToFloats(values), "gates " + std::to_string(i) + " " + std::to_string(f));
      }
      ExpectClose(got.h, RunNaive(x).h, 5e-4, "h");
    }
  }
}

TEST(MlstmChunkTest, InputGateGradientIsTheValueGradientAlongTheValue) {
  // di_j = v_j . dv_j + dnu-part: with the end state's gradient zero and nu at the floor
  // everywhere (tiny keys), the augmented column is silent and the identity holds without it.
  Head x = RandomHead(70, kD, 8);
  for (double& k : x.k) k *= 1e-3;
  std::fill(x.norm.begin(), x.norm.end(), 0);
  std::fill(x.d_c.begin(), x.d_c.end(), 0);
  std::fill(x.d_norm.begin(), x.d_norm.end(), 0);
  x.m = -1;
  std::fill(x.i.begin(), x.i.end(), -1.0);
  const Result got = RunChunks(BestIsa(), x);
  Doubles along(x.n);
  for (int t = 0; t < x.n * kD; ++t) along[t / kD] += x.v[t] * got.dv[t];
  ExpectClose(got.di, along, 1e-5, "di");
}

TEST(MlstmChunkTest, IsCausal) {
  Head x = RandomHead(80, kD, 9);
  const Doubles before = RunChunks(BestIsa(), x).h;
  const int t = 41;
  for (int i = 0; i < kD; ++i) x.q[t * kD + i] = x.k[t * kD + i] = x.v[t * kD + i] = 0.25;
  x.i[t] = 14, x.f[t] = -3;
  const Doubles after = RunChunks(BestIsa(), x).h;
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + t * kD, after.begin()));
  EXPECT_NE(before[t * kD], after[t * kD]);
  EXPECT_NE(before[79 * kD], after[79 * kD]);
}

}  // namespace
}  // namespace chimera
