// Training kernels of the Titans layer: gradients of the memory against the golden file, the naive
// twin and central differences; attention and the decayed linear core against plain sums.
#include "layers/titans_train.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "gtest/gtest.h"
#include "layers/titans_testing.h"

namespace chimera {
namespace {

using Memory = NaiveTitansMemory<double>;

// A run of whole chunks of one head with everything that flows in.
struct Passage {
  Memory memory;
  Memory::State start, d_end;
  Doubles q, k, v, theta, eta, alpha, dr;
  bool momentum_guard = false, first_order = false;
  std::vector<Memory::Guard> guards;  // frozen when not empty

  int chunks() const { return static_cast<int>(theta.size()) / kTitansChunk; }
  Memory::Tokens Chunk(int c) const {
    const int at = c * kTitansChunk;
    return {kTitansChunk, &k[at * memory.d], &v[at * memory.d], &theta[at], &eta[at], &alpha[at]};
  }
};

struct Grads {
  Doubles r, q, k, v, theta, eta, alpha;
  Memory::State end, start;
};

void ExpectGrads(const Grads& got, const Grads& want, double tol, const std::string& what) {
  ExpectClose(got.r, want.r, tol, what + " r");
  ExpectClose(got.q, want.q, tol, what + " dq");
  ExpectClose(got.k, want.k, tol, what + " dk");
  ExpectClose(got.v, want.v, tol, what + " dv");
  ExpectClose(got.theta, want.theta, tol, what + " dtheta");
  ExpectClose(got.eta, want.eta, tol, what + " deta");
  ExpectClose(got.alpha, want.alpha, tol, what + " dalpha");
  ExpectClose(got.end.w1, want.end.w1, tol, what + " W1");
  ExpectClose(got.end.w2, want.end.w2, tol, what + " W2");
  ExpectClose(got.start.w1, want.start.w1, tol, what + " dW1");
  ExpectClose(got.start.w2, want.start.w2, tol, what + " dW2");
  ExpectClose(got.start.s1, want.start.s1, tol, what + " dS1");
  ExpectClose(got.start.s2, want.start.s2, tol, what + " dS2");
}

Grads RunNaive(Passage* x) {
  const int d = x->memory.d;
  Grads g;
  g.r = g.q = Doubles(x->q.size());
  g.k = g.v = Doubles(x->k.size());
  g.theta = g.eta = g.alpha = Doubles(x->theta.size());
  std::vector<Memory::State> states = {x->start};
  const bool fresh = x->guards.empty();
  for (int c = 0; c < x->chunks(); ++c) {
    Memory::State m = states.back();
    for (int t = c * kTitansChunk; t < (c + 1) * kTitansChunk; ++t) {
      x->memory.Read(m, &x->q[t * d], &g.r[t * d]);
    }
    if (fresh) x->guards.push_back(x->memory.GuardOf(m, x->Chunk(c), x->momentum_guard));
    x->memory.Write(x->Chunk(c), x->guards[c], &m);
    states.push_back(m);
  }
  g.end = states.back(), g.start = x->d_end;
  for (int c = x->chunks() - 1; c >= 0; --c) {
    const int at = c * kTitansChunk;
    const auto tokens =
        x->memory.WriteBackward(states[c], x->Chunk(c), x->guards[c], x->first_order, &g.start);
    std::copy(tokens.k.begin(), tokens.k.end(), &g.k[at * d]);
    std::copy(tokens.v.begin(), tokens.v.end(), &g.v[at * d]);
    std::copy(tokens.theta.begin(), tokens.theta.end(), &g.theta[at]);
    std::copy(tokens.eta.begin(), tokens.eta.end(), &g.eta[at]);
    std::copy(tokens.alpha.begin(), tokens.alpha.end(), &g.alpha[at]);
    for (int t = at; t < at + kTitansChunk; ++t) {
      x->memory.ReadBackward(states[c], &x->q[t * d], &x->dr[t * d], &g.q[t * d], &g.start);
    }
  }
  return g;
}

Grads RunKernels(Isa isa, const Passage& x) {
  const TitansMemoryTrainKernels& kernels = TitansMemoryTrainFor(isa);
  const int d = x.memory.d, n = static_cast<int>(x.theta.size());
  const Floats q = PadRows(x.q, d), dr = PadRows(x.dr, d);
  Floats fast = PadFast(x.memory, x.start), d_fast = PadFast(x.memory, x.d_end);
  Floats r(q.size()), dq(q.size()), dk(q.size()), dv(q.size());
  Grads g;
  g.theta = g.eta = g.alpha = Doubles(n);
  std::vector<Floats> states;
  for (int c = 0; c < x.chunks(); ++c) {
    const int at = c * kTitansChunk * kHeadDim;
    states.push_back(fast);
    kernels.retrieve(fast.data(), &q[at], kHeadDim, kTitansChunk, &r[at]);
    kernels.write(PadTokens(x.Chunk(c), d).data(), kTitansChunk, x.momentum_guard, fast.data());
  }
  for (int c = x.chunks() - 1; c >= 0; --c) {
    const int first = c * kTitansChunk, at = first * kHeadDim;
    Floats d_tokens(kTitansTokens);
    kernels.write_backward(PadTokens(x.Chunk(c), d).data(), kTitansChunk, x.momentum_guard,
                           states[c].data(), x.first_order, d_fast.data(), d_tokens.data());
    std::copy_n(&d_tokens[0], kTitansChunk * kHeadDim, &dk[at]);
    std::copy_n(&d_tokens[kTitansChunk * kHeadDim], kTitansChunk * kHeadDim, &dv[at]);
    const float* gates = &d_tokens[kTitansTheta];
    std::copy_n(gates, kTitansChunk, &g.theta[first]);
    std::copy_n(gates + kTitansChunk, kTitansChunk, &g.eta[first]);
    std::copy_n(gates + 2 * kTitansChunk, kTitansChunk, &g.alpha[first]);
    kernels.retrieve_backward(states[c].data(), &q[at], &dr[at], kHeadDim, kTitansChunk, &dq[at],
                              d_fast.data());
  }
  g.r = UnpadRows(r, d), g.q = UnpadRows(dq, d), g.k = UnpadRows(dk, d), g.v = UnpadRows(dv, d);
  g.end = UnpadFast(x.memory, fast.data());
  g.start = UnpadFast(x.memory, d_fast.data());
  return g;
}

Passage RandomPassage(int chunks, int d, int hidden, uint32_t seed) {
  const auto noise = [&](int64_t n, float scale, float offset) {
    return ToDoubles(Noise(n, scale, offset, seed++));
  };
  const int n = chunks * kTitansChunk;
  const float unit = 1.7f / std::sqrt(static_cast<float>(d));
  const auto state = [&](float w1, float w2, float s) -> Memory::State {
    return {noise(hidden * d, w1, 0), noise(hidden * d, w2, 0), noise(hidden * d, s, 0),
            noise(hidden * d, s, 0)};
  };
  Passage x{{d, hidden}, state(0.8f, 0.15f, 0.05f), state(0.3f, 0.3f, 0.3f)};
  x.q = noise(n * d, unit, 0), x.k = noise(n * d, unit, 0), x.v = noise(n * d, 1, 0);
  x.theta = noise(n, 0.4f, 0.45f), x.eta = noise(n, 0.4f, 0.45f), x.alpha = noise(n, 0.05f, 0.05f);
  x.dr = noise(n * d, 1, 0);
  return x;
}

TEST(TitansTrainGoldenTest, MemoryForwardAndBackward) {
  const auto array = [](const char* group, const char* name) {
    return Golden("titans", "memory_d8", group, name);
  };
  const auto in = [&](const char* name) { return array("in", name); };
  const auto grad = [&](const char* name) { return array("grad", name); };
  Passage x{{8, 12},
            {in("W1"), in("W2"), in("S1"), in("S2")},
            {in("bW1"), in("bW2"), in("bS1"), in("bS2")}};
  x.q = in("q"), x.k = in("k"), x.v = in("v"), x.dr = in("dr");
  x.theta = in("theta"), x.eta = in("eta"), x.alpha = in("alpha");
  const auto last = [&](const char* name) {
    const Doubles all = array("out", name);
    return Doubles(all.begin() + 96, all.end());
  };
  const Grads want = {array("out", "r"),
                      grad("q"),
                      grad("k"),
                      grad("v"),
                      grad("theta"),
                      grad("eta"),
                      grad("alpha"),
                      {last("W1"), last("W2"), {}, {}},
                      {grad("W1"), grad("W2"), grad("S1"), grad("S2")}};
  ExpectGrads(RunNaive(&x), want, 1e-10, "naive");
  for (const Isa isa : RunnableIsas()) ExpectGrads(RunKernels(isa, x), want, 1e-5, IsaName(isa));
}

TEST(TitansMemoryTrainTest, RealSizesMatchTheNaiveTwinInBothOrders) {
  for (const bool first_order : {false, true}) {
    Passage x = RandomPassage(3, kHeadDim, kHeadDim, first_order ? 1 : 2);
    x.first_order = first_order, x.momentum_guard = first_order;
    const Grads want = RunNaive(&x);
    for (const Isa isa : RunnableIsas()) ExpectGrads(RunKernels(isa, x), want, 3e-5, IsaName(isa));
  }
}

TEST(TitansMemoryTrainTest, NaiveGradientsMatchCentralDifferencesAndFirstOrderDoesNot) {
  Passage x = RandomPassage(2, 4, 5, 3);
  const Grads g = RunNaive(&x);  // leaves the guards frozen
  EXPECT_LT(x.guards[0].s1, 1) << "the guard acts";
  const auto loss = [&] {
    const Grads now = RunNaive(&x);
    return Inner(now.r, x.dr) + Inner(now.end.w1, x.d_end.w1) + Inner(now.end.w2, x.d_end.w2) +
           Inner(now.end.s1, x.d_end.s1) + Inner(now.end.s2, x.d_end.s2);
  };
  ExpectSlopes(x.q, g.q, "q", loss);
  ExpectSlopes(x.k, g.k, "k", loss);
  ExpectSlopes(x.v, g.v, "v", loss);
  ExpectSlopes(x.theta, g.theta, "theta", loss);
  ExpectSlopes(x.eta, g.eta, "eta", loss);
  ExpectSlopes(x.alpha, g.alpha, "alpha", loss);
  ExpectSlopes(x.start.w1, g.start.w1, "W1", loss);
  ExpectSlopes(x.start.w2, g.start.w2, "W2", loss);
  ExpectSlopes(x.start.s1, g.start.s1, "S1", loss);
  ExpectSlopes(x.start.s2, g.start.s2, "S2", loss);
  x.first_order = true;
  EXPECT_NE(RunNaive(&x).k, g.k);
}

TEST(TitansMemoryTrainTest, ShortChunksAndNullOutputs) {
  for (const int n : {1, 5, 15}) {
    Passage x = RandomPassage(1, kHeadDim, kHeadDim, 10 + n);
    const Memory::Tokens tokens = {
        n, x.k.data(), x.v.data(), x.theta.data(), x.eta.data(), x.alpha.data()};
    const Memory::Guard guard = x.memory.GuardOf(x.start, tokens, true);
    Memory::State adjoint = x.d_end;
    const auto want = x.memory.WriteBackward(x.start, tokens, guard, false, &adjoint);
    for (const Isa isa : RunnableIsas()) {
      Floats d_fast = PadFast(x.memory, x.d_end), d_tokens(kTitansTokens);
      const Floats fast = PadFast(x.memory, x.start);
      const TitansMemoryTrainKernels& kernels = TitansMemoryTrainFor(isa);
      kernels.write_backward(PadTokens(tokens, kHeadDim).data(), n, true, fast.data(), false,
                             d_fast.data(), d_tokens.data());
      ExpectClose(Floats(&d_tokens[0], &d_tokens[0] + n * kHeadDim), want.k, 3e-5, "dk");
      const float* gates = &d_tokens[kTitansTheta];
      ExpectClose(Floats(gates, gates + n), want.theta, 3e-5, "dtheta");
      ExpectClose(UnpadFast(x.memory, d_fast.data()).w2, adjoint.w2, 3e-5, "dW2");

      const Floats q = PadRows(x.q, kHeadDim), dr = PadRows(x.dr, kHeadDim);
      Floats dq(q.size()), dq_alone(q.size()), weights(kTitansWeights), weights_alone(weights);
      kernels.retrieve_backward(fast.data(), q.data(), dr.data(), kHeadDim, n, dq.data(),
                                weights.data());
      kernels.retrieve_backward(fast.data(), q.data(), dr.data(), kHeadDim, n, dq_alone.data(),
                                nullptr);
      kernels.retrieve_backward(fast.data(), q.data(), dr.data(), kHeadDim, n, nullptr,
                                weights_alone.data());
      ExpectSame(dq_alone, dq, "dq alone");
      ExpectSame(weights_alone, weights, "dW alone");
      EXPECT_EQ(dq[n * kHeadDim], 0.0f) << "nothing past n";
    }
  }
}

TEST(TitansMemoryTrainTest, GatesBackwardMatchesCentralDifferences) {
  const int tokens = 3, heads = 7, width = 3 * heads;
  Doubles pre = ToDoubles(Noise(tokens * width, 3, 0, 1)), bias = ToDoubles(Noise(width, 1, 0, 2));
  const Floats d = Noise(tokens * width, 1, 0, 3);
  for (const Isa isa : RunnableIsas()) {
    Floats gates(tokens * width), d_pre = d, d_bias(width);
    TitansFor(isa).gates(ToFloats(pre).data(), ToFloats(bias).data(), tokens, heads, gates.data(),
                         nullptr);
    TitansMemoryTrainFor(isa).gates_backward(gates.data(), d_pre.data(), tokens, heads,
                                             d_pre.data(), d_bias.data());
    const auto loss = [&] {
      double sum = 0;
      for (int i = 0; i < tokens * width; ++i) {
        sum += d[i] * NaiveSigmoid(pre[i] + bias[i % width]) * (i % width < 2 * heads ? 1.0 : 0.1);
      }
      return sum;
    };
    ExpectSlopes(pre, ToDoubles(d_pre), "pre", loss);
    ExpectSlopes(bias, ToDoubles(d_bias), "bias", loss);
  }
}

// Keys of one kind in tiles, with the numbers that decide what is seen.
struct KeyTiles {
  KeyTiles(int count, uint32_t seed) : n(count), tiles((count + 63) / 64) {
    k = Noise(tiles * kHeadState, 1, 0, seed), v = Noise(tiles * kHeadState, 1, 0, seed + 1);
    k_t = v_t = dk = dv = Floats(k.size());
    number.assign(tiles * kHeadDim, INT32_MAX);
    for (int i = 0; i < n; ++i) number[i] = 3 * i;
    for (int t = 0; t < tiles; ++t) {
      TitansAttendTrain().transpose(&k[t * kHeadState], &k_t[t * kHeadState]);
      TitansAttendTrain().transpose(&v[t * kHeadState], &v_t[t * kHeadState]);
    }
    keys = {k.data(), k_t.data(), v.data(), v_t.data(), dk.data(), dv.data(), number.data()};
  }
  int n, tiles;
  Floats k, v, k_t, v_t, dk, dv;
  std::vector<int32_t> number;
  TitansKeys keys;
};

// Attention of one query over what it sees, by the sums of the definition.
struct OneQuery {
  struct Seen {
    int list, at;
    double p, dp;
  };

  OneQuery(const KeyTiles* tiles, const TitansSight* sights, int i, const float* const* queries,
           const float* d_out)
      : o(kHeadDim), dq{o, o} {
    double along = 0;
    for (int list = 0; list < 2; ++list) {
      const int shift = sights[list].slide * i;
      for (int j = 0; j < tiles[list].n; ++j) {
        const int32_t number = tiles[list].number[j];
        if (number <= sights[list].low + shift || number > sights[list].high + shift) continue;
        Seen s = {list, j, 0, 0};
        for (int c = 0; c < kHeadDim; ++c) {
          s.p += double{queries[list][c]} * tiles[list].k[j * kHeadDim + c] / 8;
          s.dp += double{d_out[c]} * tiles[list].v[j * kHeadDim + c];
        }
        total += s.p = std::exp(s.p);
        seen.push_back(s);
      }
    }
    for (Seen& s : seen) {
      s.p /= total;
      along += s.p * s.dp;
    }
    for (Seen& s : seen) {
      s.dp = s.p * (s.dp - along) / 8;  // of the score, with 64^-1/2
      for (int c = 0; c < kHeadDim; ++c) {
        o[c] += s.p * tiles[s.list].v[s.at * kHeadDim + c];
        dq[s.list][c] += s.dp * tiles[s.list].k[s.at * kHeadDim + c];
      }
    }
  }

  std::vector<Seen> seen;
  double total = 0;
  Doubles o, dq[2];
};

TEST(TitansAttendTrainTest, ForwardAndBackwardMatchTheSoftmaxOverWhatEachQuerySees) {
  const int64_t stride = 2 * kHeadDim, q_stride = 3 * kHeadDim;
  const auto row = [](const Floats& x, int64_t at) {
    return Floats(x.begin() + at, x.begin() + at + kHeadDim);
  };
  for (const int n : {1, 11, 16}) {
    for (const Isa isa : RunnableIsas()) {
      KeyTiles tiles[2] = {KeyTiles(5, 1), KeyTiles(150, 3)};
      const TitansSight sights[2] = {{&tiles[0].keys, 0, 5, -1, 100, 0, false},
                                     {&tiles[1].keys, 24, 128, 70, 330, 3, true}};
      const Floats q = Noise(n * q_stride, 1, 0, 5), q_turned = Noise(n * stride, 1, 0, 6);
      const Floats d_o = Noise(n * stride, 1, 0, 7);
      const TitansQueries queries = {q.data(), q_stride, q_turned.data(), stride, n, sights, 2};
      Floats o(n * stride), lse(n), dq(n * q_stride), dq_turned(n * stride);
      TitansAttendTrainFor(isa).attend(&queries, o.data(), lse.data());
      TitansAttendTrainFor(isa).attend_backward(&queries, o.data(), lse.data(), d_o.data(),
                                                dq.data(), dq_turned.data());
      Doubles dk[2] = {Doubles(tiles[0].k.size()), Doubles(tiles[1].k.size())};
      Doubles dv[2] = {dk[0], dk[1]};
      for (int i = 0; i < n; ++i) {
        const float* both[2] = {&q[i * q_stride], &q_turned[i * stride]};
        const OneQuery want(tiles, sights, i, both, &d_o[i * stride]);
        EXPECT_EQ(want.seen.size(), 5u + 87u);
        EXPECT_NEAR(lse[i], std::log(want.total), 1e-5);
        ExpectClose(row(o, i * stride), want.o, 1e-5, "o");
        ExpectClose(row(dq, i * q_stride), want.dq[0], 1e-5, "dq");
        ExpectClose(row(dq_turned, i * stride), want.dq[1], 1e-5, "dq rotated");
        for (const OneQuery::Seen& s : want.seen) {
          for (int c = 0; c < kHeadDim; ++c) {
            dk[s.list][s.at * kHeadDim + c] += s.dp * both[s.list][c];
            dv[s.list][s.at * kHeadDim + c] += s.p * d_o[i * stride + c];
          }
        }
      }
      for (int list = 0; list < 2; ++list) {
        ExpectClose(tiles[list].dk, dk[list], 1e-5, "dk");
        ExpectClose(tiles[list].dv, dv[list], 1e-5, "dv");
      }
    }
  }
}

TEST(TitansAttendTrainTest, HeadGateBackwardMatchesCentralDifferences) {
  const int rows = 3;
  Doubles o = ToDoubles(Noise(rows * kHeadDim, 1, 0, 1)),
          r = ToDoubles(Noise(rows * kHeadDim, 2, 0, 2));
  Doubles gain = ToDoubles(Noise(kHeadDim, 1, 0, 3));
  const Floats dy = Noise(rows * kHeadDim, 1, 0, 4);
  const auto loss = [&] {
    double sum = 0;
    Doubles normed(kHeadDim);
    for (int at = 0; at < rows * kHeadDim; at += kHeadDim) {
      NaiveRmsNorm(&r[at], gain.data(), kHeadDim, normed.data());
      for (int i = 0; i < kHeadDim; ++i) {
        sum += dy[at + i] * o[at + i] * 2 * NaiveSigmoid(normed[i]);
      }
    }
    return sum;
  };
  for (const Isa isa : RunnableIsas()) {
    Floats y(dy.size()), inv(rows), d_o(dy.size()), dr(dy.size(), 1.0f), dgain(kHeadDim);
    const Floats of = ToFloats(o), rf = ToFloats(r), gf = ToFloats(gain);
    TitansFor(isa).head_gate(of.data(), rf.data(), gf.data(), rows, y.data(), inv.data());
    TitansAttendTrainFor(isa).head_gate_backward(of.data(), rf.data(), gf.data(), inv.data(),
                                                 dy.data(), rows, d_o.data(), dr.data(),
                                                 dgain.data());
    for (float& x : dr) x -= 1.0f;  // it was added to
    ExpectSlopes(o, ToDoubles(d_o), "o", loss);
    ExpectSlopes(r, ToDoubles(dr), "r", loss);
    ExpectSlopes(gain, ToDoubles(dgain), "gain", loss);
  }
}

}  // namespace
}  // namespace chimera
