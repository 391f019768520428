// The chunk form against the golden files, the recurrence and the naive twin.
#include <algorithm>
#include <cmath>
#include <string>

#include "gtest/gtest.h"
#include "layers/gated_delta.h"
#include "layers/gated_delta_naive.h"
#include "layers/kernel_testing.h"

namespace chimera {
namespace {

constexpr int kD = kHeadDim;

// One head of one sequence with everything that flows in, rows contiguous.
struct Head {
  int n, d;
  Doubles q, k, v, g, beta, start, d_o, d_end;
  std::vector<uint8_t> reset;
  const uint8_t* flags() const { return reset.empty() ? nullptr : reset.data(); }
};

struct Result {
  Doubles o, end, dq, dk, dv, dg, dbeta, d_start;
};

void ExpectResult(const Result& got, const Result& want, double tol, const std::string& what) {
  ExpectClose(got.o, want.o, tol, what + " o");
  ExpectClose(got.end, want.end, tol, what + " end");
  ExpectClose(got.dq, want.dq, tol, what + " dq");
  ExpectClose(got.dk, want.dk, tol, what + " dk");
  ExpectClose(got.dv, want.dv, tol, what + " dv");
  ExpectClose(got.dg, want.dg, tol, what + " dg");
  ExpectClose(got.dbeta, want.dbeta, tol, what + " dbeta");
  ExpectClose(got.d_start, want.d_start, tol, what + " d_start");
}

Result RunNaive(const Head& x) {
  NaiveGatedDelta<double> naive = {x.n,        x.d,        x.q.data(),    x.k.data(),
                                   x.v.data(), x.g.data(), x.beta.data(), x.flags()};
  Result r;
  r.o = r.dq = r.dk = r.dv = Doubles(x.n * x.d);
  r.dg = r.dbeta = Doubles(x.n);
  r.end = x.start, r.d_start = x.d_end;
  naive.Forward(r.end.data(), r.o.data());
  naive.Backward(x.start.data(), x.d_o.data(), r.d_start.data(), r.dq.data(), r.dk.data(),
                 r.dv.data(), r.dg.data(), r.dbeta.data());
  return r;
}

// Puts rows of d as the first columns of head 1 of 3 heads of 64; the rest holds a canary.
constexpr float kCanary = 3e33f;
Floats Embed(const Doubles& x, int d, double scale) {
  const int n = static_cast<int>(x.size()) / d;
  Floats out(n * 3 * kD, kCanary);
  for (int t = 0; t < n; ++t) {
    std::fill_n(&out[(3 * t + 1) * kD], kD, 0.0f);
    for (int i = 0; i < d; ++i) {
      out[(3 * t + 1) * kD + i] = static_cast<float>(x[t * d + i] * scale);
    }
  }
  return out;
}
Doubles Extract(const Floats& x, int d, double scale) {
  Doubles out;
  for (size_t at = 0; at < x.size(); at += 3 * kD) {
    EXPECT_EQ(x[at + kD - 1], kCanary) << "wrote into the head before";
    EXPECT_EQ(x[at + 2 * kD], kCanary) << "wrote into the head after";
    for (int i = 0; i < d; ++i) out.push_back(x[at + kD + i] * scale);
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

// The kernels on a head of size d <= 64: zero padding, and q times sqrt(64/d) for the scale.
Result RunChunks(Isa isa, const Head& x) {
  const double widen = std::sqrt(64.0 / x.d);
  const Floats q = Embed(x.q, x.d, widen), k = Embed(x.k, x.d, 1), v = Embed(x.v, x.d, 1);
  const Floats d_o = Embed(x.d_o, x.d, 1), g = ToFloats(x.g), beta = ToFloats(x.beta);
  const GatedDeltaSequence seq = {&q[kD],      &k[kD], &v[kD],    3 * kD, g.data(),
                                  beta.data(), 1,      x.flags(), x.n};
  const int64_t chunks = CountChunks(x.flags(), x.n);
  Floats state = EmbedState(x.start, x.d), d_state = EmbedState(x.d_end, x.d);
  Floats o(q.size(), kCanary), dq = o, dk = o, dv = o, dg(x.n), dbeta(x.n);
  Floats saved(chunks * kHeadState + 1, kCanary);
  GatedDeltaTrainFor(isa).forward(&seq, state.data(), &o[kD], state.data(), saved.data());
  EXPECT_EQ(saved.back(), kCanary);
  GatedDeltaTrainFor(isa).backward(&seq, saved.data(), &d_o[kD], d_state.data(), &dq[kD], &dk[kD],
                                   &dv[kD], dg.data(), dbeta.data(), d_state.data());
  return {Extract(o, x.d, 1),  ExtractState(state, x.d),  Extract(dq, x.d, widen),
          Extract(dk, x.d, 1), Extract(dv, x.d, 1),       ToDoubles(dg),
          ToDoubles(dbeta),    ExtractState(d_state, x.d)};
}

Result RunSteps(Isa isa, const Head& x) {
  Result r = {};
  Floats state = ToFloats(x.start), o(kD);
  const Floats q = ToFloats(x.q), k = ToFloats(x.k), v = ToFloats(x.v);
  for (int t = 0; t < x.n; ++t) {
    if (!x.reset.empty() && x.reset[t] != 0) std::fill(state.begin(), state.end(), 0.0f);
    GatedDeltaFor(isa).step(state.data(), &q[t * kD], &k[t * kD], &v[t * kD],
                            static_cast<float>(x.g[t]), static_cast<float>(x.beta[t]), o.data());
    r.o.insert(r.o.end(), o.begin(), o.end());
  }
  r.end = ToDoubles(state);
  return r;
}

Doubles Normalised(Doubles u, int d) {
  for (size_t at = 0; at < u.size(); at += d) {
    const Doubles row(u.begin() + at, u.begin() + at + d);
    NaiveL2Norm(row.data(), d, &u[at]);
  }
  // Through float, so that every form sees the same numbers.
  return ToDoubles(ToFloats(u));
}

Head RandomHead(int n, int d, uint32_t seed) {
  const auto noise = [&](int64_t size, float scale, float offset) {
    return ToDoubles(Noise(size, scale, offset, seed++));
  };
  Head x;
  x.n = n, x.d = d;
  x.q = Normalised(noise(n * d, 1, 0), d), x.k = Normalised(noise(n * d, 1, 0.1f), d);
  x.v = noise(n * d, 1, 0), x.g = noise(n, 0.2f, -0.2f), x.beta = noise(n, 0.5f, 0.5f);
  x.start = noise(d * d, 0.5f, 0), x.d_o = noise(n * d, 1, 0), x.d_end = noise(d * d, 0.5f, 0);
  return x;
}

// Head h of a golden case.
Head GoldenHead(const char* file, const char* golden_case, int n, int heads, int d, int h) {
  const auto in = [&](const char* name, int inner) {
    return Slice(Golden(file, golden_case, "in", name), heads, h, inner);
  };
  Head x;
  x.n = n, x.d = d;
  x.q = in("q", d), x.k = in("k", d), x.v = in("v", d), x.g = in("g", 1), x.beta = in("beta", 1);
  x.start = in("S0", d * d);
  x.d_o = Doubles(n * d), x.d_end = Doubles(d * d);
  return x;
}

TEST(GatedDeltaGoldenTest, SmallHeadsForwardAndBackward) {
  for (int h = 0; h < 2; ++h) {
    Head x = GoldenHead("gated_delta", "recurrent_d8", 37, 2, 8, h);
    const auto array = [&](const char* group, const char* name, int inner) {
      return Slice(Golden("gated_delta", "recurrent_d8", group, name), 2, h, inner);
    };
    x.d_o = array("in", "do", 8), x.d_end = array("in", "dS", 64);
    Result want = {array("out", "o", 8),     array("out", "S", 64),  array("grad", "q", 8),
                   array("grad", "k", 8),    array("grad", "v", 8),  array("grad", "g", 1),
                   array("grad", "beta", 1), array("grad", "S0", 64)};
    ExpectResult(RunNaive(x), want, 1e-10, "naive");
    for (const Isa isa : RunnableIsas()) ExpectResult(RunChunks(isa, x), want, 1e-5, IsaName(isa));
  }
}

TEST(GatedDeltaGoldenTest, ExtremeGates) {
  const Head x = GoldenHead("gated_delta", "extreme_gates_d8", 12, 1, 8, 0);
  const Doubles o = Golden("gated_delta", "extreme_gates_d8", "out", "o");
  const Doubles end = Golden("gated_delta", "extreme_gates_d8", "out", "S");
  ExpectClose(RunNaive(x).o, o, 1e-10, "naive");
  for (const Isa isa : RunnableIsas()) {
    const Result got = RunChunks(isa, x);
    ExpectClose(got.o, o, 1e-5, "o");
    ExpectClose(got.end, end, 1e-5, "S");
  }
}

Doubles SampleRows(const Doubles& s) {
  Doubles out;
  for (const int row : {0, 7, 21, 63}) {
    out.insert(out.end(), s.begin() + row * kD, s.begin() + (row + 1) * kD);
  }
  return out;
}

TEST(GatedDeltaGoldenTest, RealHeadsForwardAndBackward) {
  for (int h = 0; h < 2; ++h) {
    Head x = GoldenHead("gated_delta_64_fwd", "recurrent_d64", 37, 2, kD, h);
    const auto array = [&](const char* group, const char* name, int inner) {
      return Slice(Golden("gated_delta_64_bwd", "recurrent_d64", group, name), 2, h, inner);
    };
    x.d_o = array("in", "do", kD), x.d_end = array("in", "dS", kHeadState);
    const Doubles o = Slice(Golden("gated_delta_64_fwd", "recurrent_d64", "out", "o"), 2, h, kD);
    const Doubles rows =
        Slice(Golden("gated_delta_64_fwd", "recurrent_d64", "out", "S/at_rows"), 2, h, 4 * kD);
    const auto expect = [&](const Result& got, double tol, const char* what) {
      ExpectClose(got.o, o, tol, what);
      ExpectClose(SampleRows(got.end), rows, tol, what);
      ExpectClose(got.dq, array("grad", "q", kD), tol, what);
      ExpectClose(got.dk, array("grad", "k", kD), tol, what);
      ExpectClose(got.dv, array("grad", "v", kD), tol, what);
      ExpectClose(got.dg, array("grad", "g", 1), tol, what);
      ExpectClose(got.dbeta, array("grad", "beta", 1), tol, what);
      ExpectClose(SampleRows(got.d_start), array("grad", "S0/at_rows", 4 * kD), tol, what);
    };
    expect(RunNaive(x), 1e-10, "naive");
    for (const Isa isa : RunnableIsas()) expect(RunChunks(isa, x), 1e-5, IsaName(isa));
  }
}

TEST(GatedDeltaGoldenTest, LayerCoreOfTheNaiveTwins) {
  const int n = 6, heads = 2, d = 8;
  const auto array = [&](const char* group, const char* name) {
    return Golden("gated_delta", "layer_core", group, name);
  };
  const Doubles gamma = array("in", "gamma"), a_log = array("in", "A_log");
  const Doubles dt_bias = array("in", "dt_bias");
  Doubles dgamma(d), da_log(heads), ddt(heads);
  for (int h = 0; h < heads; ++h) {
    const auto in = [&](const char* name, int inner) {
      return Slice(array("in", name), heads, h, inner);
    };
    const auto grad = [&](const char* name, int inner) {
      return Slice(array("grad", name), heads, h, inner);
    };
    const Doubles qr = in("qr", d), kr = in("kr", d), a = in("a", 1), b = in("b", 1);
    const Doubles gate = in("h", d), dy = in("dy", d);
    Head x;
    x.n = n, x.d = d, x.v = in("v", d), x.start = in("S0", d * d), x.d_end = in("dS", d * d);
    x.q = x.k = x.d_o = Doubles(n * d), x.g = x.beta = Doubles(n);
    Doubles y(n * d), dqr(n * d), dkr(n * d), dh(n * d), da(n), db(n);
    for (int t = 0; t < n; ++t) {
      NaiveL2Norm(&qr[t * d], d, &x.q[t * d]);
      NaiveL2Norm(&kr[t * d], d, &x.k[t * d]);
      NaiveGate(a[t], b[t], a_log[h], dt_bias[h], &x.g[t], &x.beta[t]);
    }
    const Doubles o = RunNaive(x).o;
    for (int t = 0; t < n; ++t) {
      NaiveGatedNorm(&o[t * d], &gate[t * d], gamma.data(), d, &y[t * d]);
      NaiveGatedNormBackward(&o[t * d], &gate[t * d], gamma.data(), &dy[t * d], d, &x.d_o[t * d],
                             &dh[t * d], dgamma.data());
    }
    const Result r = RunNaive(x);
    for (int t = 0; t < n; ++t) {
      NaiveL2NormBackward(&qr[t * d], &r.dq[t * d], d, &dqr[t * d]);
      NaiveL2NormBackward(&kr[t * d], &r.dk[t * d], d, &dkr[t * d]);
      NaiveGateBackward(a[t], b[t], a_log[h], dt_bias[h], r.dg[t], r.dbeta[t], &da[t], &db[t],
                        &da_log[h], &ddt[h]);
    }
    ExpectClose(y, Slice(array("out", "y"), heads, h, d), 1e-10, "y");
    ExpectClose(r.end, Slice(array("out", "S"), heads, h, d * d), 1e-10, "S");
    ExpectClose(dqr, grad("qr", d), 1e-10, "dqr");
    ExpectClose(dkr, grad("kr", d), 1e-10, "dkr");
    ExpectClose(r.dv, grad("v", d), 1e-10, "dv");
    ExpectClose(dh, grad("h", d), 1e-10, "dh");
    ExpectClose(da, grad("a", 1), 1e-10, "da");
    ExpectClose(db, grad("b", 1), 1e-10, "db");
    ExpectClose(r.d_start, grad("S0", d * d), 1e-10, "dS0");
  }
  ExpectClose(dgamma, array("grad", "gamma"), 1e-10, "dgamma");
  ExpectClose(da_log, array("grad", "A_log"), 1e-10, "da_log");
  ExpectClose(ddt, array("grad", "dt_bias"), 1e-10, "ddt_bias");
}

TEST(GatedDeltaNaiveTest, GradientsMatchCentralDifferences) {
  Head x = RandomHead(9, 4, 1);
  x.reset = {0, 0, 0, 0, 1, 0, 0, 0, 0};
  const Result r = RunNaive(x);
  const auto loss = [&] {
    const Result now = RunNaive(x);
    return Inner(now.o, x.d_o) + Inner(now.end, x.d_end);
  };
  ExpectSlopes(x.q, r.dq, "q", loss);
  ExpectSlopes(x.k, r.dk, "k", loss);
  ExpectSlopes(x.v, r.dv, "v", loss);
  ExpectSlopes(x.g, r.dg, "g", loss);
  ExpectSlopes(x.beta, r.dbeta, "beta", loss);
  ExpectSlopes(x.start, r.d_start, "start", loss);
}

TEST(GatedDeltaNaiveTest, NormAndGateGradientsMatchCentralDifferences) {
  const int d = 6;
  Doubles o = ToDoubles(Noise(d, 1, 0, 1)), h = ToDoubles(Noise(d, 2, 0, 2));
  Doubles gamma = ToDoubles(Noise(d, 1, 1, 3)), gate = {0.3, -0.8, 0.5, -1.0};
  const Doubles dy = ToDoubles(Noise(d, 1, 0, 4));
  Doubles d_o(d), dh(d), dgamma(d), du(d), y(d), dgate(4);
  NaiveGatedNormBackward(o.data(), h.data(), gamma.data(), dy.data(), d, d_o.data(), dh.data(),
                         dgamma.data());
  const auto norm_loss = [&] {
    NaiveGatedNorm(o.data(), h.data(), gamma.data(), d, y.data());
    return Inner(y, dy);
  };
  ExpectSlopes(o, d_o, "o", norm_loss);
  ExpectSlopes(h, dh, "h", norm_loss);
  ExpectSlopes(gamma, dgamma, "gamma", norm_loss);
  NaiveL2NormBackward(o.data(), dy.data(), d, du.data());
  ExpectSlopes(o, du, "u", [&] {
    NaiveL2Norm(o.data(), d, y.data());
    return Inner(y, dy);
  });
  NaiveGateBackward(gate[0], gate[1], gate[2], gate[3], 1.5, -0.7, &dgate[0], &dgate[1], &dgate[2],
                    &dgate[3]);
  ExpectSlopes(gate, dgate, "gates", [&] {
    double g, beta;
    NaiveGate(gate[0], gate[1], gate[2], gate[3], &g, &beta);
    return 1.5 * g - 0.7 * beta;
  });
}

TEST(GatedDeltaChunkTest, EqualsStepsAndTheNaiveTwinForEveryLength) {
  for (const int n : {1, 7, 15, 16, 17, 64, 65, 130}) {
    const Head x = RandomHead(n, kD, n);
    const Result want = RunNaive(x);
    for (const Isa isa : RunnableIsas()) {
      const std::string what = std::string(IsaName(isa)) + " n = " + std::to_string(n);
      ExpectResult(RunChunks(isa, x), want, 2e-5, what);
      const Result steps = RunSteps(isa, x);
      ExpectClose(steps.o, want.o, 1e-5, what + " steps o");
      ExpectClose(steps.end, want.end, 1e-5, what + " steps S");
    }
  }
}

TEST(GatedDeltaChunkTest, ResetsCutTheSequenceIntoIndependentPieces) {
  Head x = RandomHead(150, kD, 3);
  x.reset.assign(150, 0);
  for (const int t : {1, 2, 17, 90, 149}) x.reset[t] = 1;
  EXPECT_EQ(CountChunks(x.flags(), 150), 7);  // 1, 1, 15, 64 + 9, 59, 1
  EXPECT_EQ(MaxChunks(150, 5), 8);
  const Result want = RunNaive(x);
  for (const Isa isa : RunnableIsas()) ExpectResult(RunChunks(isa, x), want, 2e-5, IsaName(isa));
  x.reset[0] = 1;
  const Result fresh = RunNaive(x);
  ExpectClose(fresh.d_start, Doubles(kHeadState), 0, "nothing reaches the start");
  for (const Isa isa : RunnableIsas()) ExpectResult(RunChunks(isa, x), fresh, 2e-5, IsaName(isa));
}

TEST(GatedDeltaChunkTest, SplitsAnywhere) {
  const Head x = RandomHead(100, kD, 5);
  const Result whole = RunChunks(BestIsa(), x);
  for (const int cut : {1, 33, 64, 99}) {
    Head first = x, second = x;
    const auto part = [](Doubles* v, int from, int to) {
      *v = Doubles(&(*v)[from], &(*v)[0] + to);
    };
    first.n = cut, second.n = x.n - cut;
    for (Doubles Head::*rows : {&Head::q, &Head::k, &Head::v, &Head::d_o}) {
      part(&(first.*rows), 0, cut * kD);
      part(&(second.*rows), cut * kD, x.n * kD);
    }
    for (Doubles Head::*gates : {&Head::g, &Head::beta}) {
      part(&(first.*gates), 0, cut);
      part(&(second.*gates), cut, x.n);
    }
    second.start = RunChunks(BestIsa(), first).end;
    const Result b = RunChunks(BestIsa(), second);
    first.d_end = b.d_start;
    const Result a = RunChunks(BestIsa(), first);
    const auto join = [](Doubles x, const Doubles& y) {
      x.insert(x.end(), y.begin(), y.end());
      return x;
    };
    const Result joined = {join(a.o, b.o),         b.end,
                           join(a.dq, b.dq),       join(a.dk, b.dk),
                           join(a.dv, b.dv),       join(a.dg, b.dg),
                           join(a.dbeta, b.dbeta), a.d_start};
    ExpectResult(joined, whole, 2e-5, "cut " + std::to_string(cut));
  }
}

TEST(GatedDeltaChunkTest, ExtremeGatesStayExact) {
  Head x = RandomHead(130, kD, 7);
  for (int t = 0; t < x.n; ++t) {
    x.g[t] = t % 5 == 0 ? -40 : t % 3 == 0 ? 0 : t % 7 == 0 ? -1e6 : x.g[t];
    x.beta[t] = t % 4 == 0 ? 1 : t % 11 == 0 ? 0 : x.beta[t];
  }
  const Result want = RunNaive(x);
  for (const Isa isa : RunnableIsas()) ExpectResult(RunChunks(isa, x), want, 2e-5, IsaName(isa));
  for (const double all : {0.0, -40.0, -1e30}) {
    std::fill(x.g.begin(), x.g.end(), all);
    ExpectResult(RunChunks(BestIsa(), x), RunNaive(x), 5e-5, "g everywhere");
  }
}

TEST(GatedDeltaChunkTest, IsCausal) {
  Head x = RandomHead(80, kD, 9);
  const Doubles before = RunChunks(BestIsa(), x).o;
  const int t = 41;
  for (int i = 0; i < kD; ++i) x.q[t * kD + i] = x.k[t * kD + i] = x.v[t * kD + i] = 0.25;
  x.g[t] = -3, x.beta[t] = 0.1;
  const Doubles after = RunChunks(BestIsa(), x).o;
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + t * kD, after.begin()));
  EXPECT_NE(before[t * kD], after[t * kD]);
  EXPECT_NE(before[79 * kD], after[79 * kD]);
}

TEST(GatedDeltaChunkTest, OptionalPointersMayBeNull) {
  Head x = RandomHead(70, kD, 11);
  x.start = Doubles(kHeadState), x.d_end = Doubles(kHeadState);
  const Result want = RunChunks(BestIsa(), x);
  const Floats q = ToFloats(x.q), k = ToFloats(x.k), v = ToFloats(x.v), d_o = ToFloats(x.d_o);
  const Floats g = ToFloats(x.g), beta = ToFloats(x.beta);
  const GatedDeltaSequence seq = {q.data(),    k.data(), v.data(), kD, g.data(),
                                  beta.data(), 1,        nullptr,  x.n};
  Floats o(q.size()), saved(2 * kHeadState), dq(o), dk(o), dv(o), dg(x.n), dbeta(x.n);
  GatedDeltaTrain().forward(&seq, nullptr, o.data(), nullptr, nullptr);
  ExpectClose(o, want.o, 0, "o");
  GatedDeltaTrain().forward(&seq, nullptr, o.data(), nullptr, saved.data());
  GatedDeltaTrain().backward(&seq, saved.data(), d_o.data(), nullptr, dq.data(), dk.data(),
                             dv.data(), dg.data(), dbeta.data(), nullptr);
  ExpectClose(dk, want.dk, 0, "dk");
  ExpectClose(dg, want.dg, 0, "dg");
}

}  // namespace
}  // namespace chimera
