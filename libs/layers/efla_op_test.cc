// The gated delta mixer on the tape under each rule: against a composition of the naive twins,
// whose own gradients are checked against central differences, and against the serving kernels.
#include <algorithm>
#include <string>

#include "gtest/gtest.h"
#include "layers/efla_naive.h"
#include "layers/gated_delta.h"
#include "layers/kernel_testing.h"
#include "layers/mixer_ops.h"
#include "layers/short_conv.h"
#include "layers/short_conv_naive.h"

namespace chimera {
namespace {

constexpr DeltaRule kRules[] = {DeltaRule::kBeta, DeltaRule::kEfla, DeltaRule::kGatedEfla};

std::string Name(DeltaRule rule) {
  return rule == DeltaRule::kBeta ? "beta" : rule == DeltaRule::kEfla ? "efla" : "gated efla";
}

// Parameters and one sequence of a mixer, all in double.
struct Layer {
  int tokens, heads, d;
  DeltaRule rule;
  std::vector<uint8_t> reset;
  Doubles conv, a_log, dt_bias, gamma;  // parameters
  Doubles qkv, gate, a, b;              // inputs
  Doubles taps, states;                 // start
  int width() const { return heads * d; }
};

Layer RandomLayer(int tokens, int heads, int d, DeltaRule rule, uint32_t seed) {
  const auto noise = [&](int64_t n, float scale, float offset) {
    return ToDoubles(Noise(n, scale, offset, seed++));
  };
  Layer x = {tokens, heads, d, rule, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}};
  const int w = heads * d;
  x.reset.assign(tokens, 0);
  x.conv = noise(3 * w * 4, 0.8f, 0.2f), x.a_log = noise(heads, 1, 0);
  x.dt_bias = noise(heads, 1, -2), x.gamma = noise(d, 0.5f, 1);
  x.qkv = noise(tokens * 3 * w, 2, 0), x.gate = noise(tokens * w, 2, 0);
  x.a = noise(tokens * heads, 1, 0), x.b = noise(tokens * heads, 2, -1);
  x.taps = noise(3 * 3 * w, 1, 0), x.states = noise(heads * d * d, 0.5f, 0);
  return x;
}

struct Grads {
  Doubles y, qkv, gate, a, b, conv, a_log, dt_bias, gamma;
};

// One head after the convolution, rows contiguous.
struct HeadRows {
  Doubles q, k, v, unit_q, unit_k, g, beta, o;
};

HeadRows NaiveHead(const Layer& x, const Doubles& mixed, int h) {
  const int d = x.d;
  HeadRows r;
  r.q = Slice(mixed, 3 * x.heads, h, d), r.k = Slice(mixed, 3 * x.heads, x.heads + h, d);
  r.v = Slice(mixed, 3 * x.heads, 2 * x.heads + h, d);
  r.unit_q = r.q, r.unit_k = r.k;
  r.g = r.beta = Doubles(x.tokens);
  for (int t = 0; t < x.tokens; ++t) {
    const int gate = t * x.heads + h;
    NaiveL2Norm(&r.q[t * d], d, &r.unit_q[t * d]);
    NaiveGate(x.a[gate], x.b[gate], x.a_log[h], x.dt_bias[h], &r.g[t], &r.beta[t]);
    if (x.rule == DeltaRule::kBeta) {
      NaiveL2Norm(&r.k[t * d], d, &r.unit_k[t * d]);
      continue;
    }
    r.beta[t] = NaiveEflaGate(x.b[gate], &r.k[t * d], d);
    if (x.rule == DeltaRule::kEfla) r.g[t] = 0;
  }
  return r;
}

// Adds the gradient of head h to r; d_mixed is that of the convolution's output.
void NaiveHeadBackward(const Layer& x, const HeadRows& rows, const Doubles& d_o, int h, Grads* r,
                       Doubles* d_mixed) {
  const int d = x.d;
  const NaiveGatedDelta<double> naive = {x.tokens,           d,
                                         rows.unit_q.data(), rows.unit_k.data(),
                                         rows.v.data(),      rows.g.data(),
                                         rows.beta.data(),   x.reset.data()};
  Doubles dq(d_o.size()), dk(dq), dv(dq), dg(x.tokens), dbeta(x.tokens), d_state(d * d);
  naive.Backward(&x.states[h * d * d], d_o.data(), d_state.data(), dq.data(), dk.data(), dv.data(),
                 dg.data(), dbeta.data());
  for (int t = 0; t < x.tokens; ++t) {
    const int gate = t * x.heads + h, at = t * d;
    double* into = &(*d_mixed)[t * 3 * x.width() + h * d];
    double unused;
    NaiveL2NormBackward(&rows.q[at], &dq[at], d, into);
    if (x.rule == DeltaRule::kBeta) {
      NaiveL2NormBackward(&rows.k[at], &dk[at], d, into + x.width());
      NaiveGateBackward(x.a[gate], x.b[gate], x.a_log[h], x.dt_bias[h], dg[t], dbeta[t],
                        &r->a[gate], &r->b[gate], &r->a_log[h], &r->dt_bias[h]);
    } else {
      if (x.rule == DeltaRule::kGatedEfla) {
        NaiveGateBackward(x.a[gate], x.b[gate], x.a_log[h], x.dt_bias[h], dg[t], 0.0, &r->a[gate],
                          &unused, &r->a_log[h], &r->dt_bias[h]);
      }
      NaiveEflaGateBackward(x.b[gate], &rows.k[at], d, dbeta[t], &r->b[gate], &dk[at]);
      std::copy(&dk[at], &dk[at] + d, into + x.width());
    }
    std::copy(&dv[at], &dv[at] + d, into + 2 * x.width());
  }
}

Grads RunNaive(const Layer& x, const Doubles& dy) {
  const int n = x.tokens, d = x.d, w = x.width();
  Grads r;
  r.y = r.gate = Doubles(n * w), r.qkv = Doubles(n * 3 * w), r.a = r.b = Doubles(n * x.heads);
  r.conv = Doubles(x.conv.size()), r.a_log = r.dt_bias = Doubles(x.heads), r.gamma = Doubles(d);
  Doubles mixed(n * 3 * w), d_mixed(n * 3 * w);
  NaiveShortConv(x.qkv.data(), x.conv.data(), x.taps.data(), x.reset.data(), n, 3 * w,
                 mixed.data());
  for (int h = 0; h < x.heads; ++h) {
    const HeadRows rows = NaiveHead(x, mixed, h);
    const NaiveGatedDelta<double> naive = {n,
                                           d,
                                           rows.unit_q.data(),
                                           rows.unit_k.data(),
                                           rows.v.data(),
                                           rows.g.data(),
                                           rows.beta.data(),
                                           x.reset.data()};
    Doubles state(&x.states[h * d * d], &x.states[h * d * d] + d * d), o(n * d), d_o(n * d);
    naive.Forward(state.data(), o.data());
    for (int t = 0; t < n; ++t) {
      const int at = t * w + h * d;
      NaiveGatedNorm(&o[t * d], &x.gate[at], x.gamma.data(), d, &r.y[at]);
      NaiveGatedNormBackward(&o[t * d], &x.gate[at], x.gamma.data(), &dy[at], d, &d_o[t * d],
                             &r.gate[at], r.gamma.data());
    }
    NaiveHeadBackward(x, rows, d_o, h, &r, &d_mixed);
  }
  NaiveShortConvBackward(x.qkv.data(), x.conv.data(), x.taps.data(), x.reset.data(), d_mixed.data(),
                         n, 3 * w, r.qkv.data(), r.conv.data());
  return r;
}

TEST(EflaOpTest, NaiveGradientsMatchCentralDifferences) {
  for (const DeltaRule rule : kRules) {
    Layer x = RandomLayer(6, 2, 3, rule, 1);
    x.reset[3] = 1;
    const Doubles dy = ToDoubles(Noise(6 * 6, 1, 0, 50));
    const Grads r = RunNaive(x, dy);
    const auto loss = [&] { return Inner(RunNaive(x, dy).y, dy); };
    const std::string what = Name(rule);
    ExpectSlopes(x.qkv, r.qkv, what + " qkv", loss);
    ExpectSlopes(x.gate, r.gate, what + " gate", loss);
    ExpectSlopes(x.a, r.a, what + " a", loss);
    ExpectSlopes(x.b, r.b, what + " b", loss);
    ExpectSlopes(x.conv, r.conv, what + " conv", loss);
    ExpectSlopes(x.a_log, r.a_log, what + " a_log", loss);
    ExpectSlopes(x.dt_bias, r.dt_bias, what + " dt_bias", loss);
    ExpectSlopes(x.gamma, r.gamma, what + " gamma", loss);
  }
}

struct Owned {
  Owned(const Doubles& x, int rows)
      : value(ToFloats(x)),
        grad(value.size()),
        param{value.data(), grad.data(), rows, static_cast<int>(x.size()) / rows} {}
  Owned(const Owned&) = delete;
  Floats value, grad;
  FloatParam param;
};

Var* Input(Tape* tape, const Doubles& x, int64_t rows) {
  Var* var = tape->New(rows, static_cast<int64_t>(x.size()) / rows);
  std::copy(x.begin(), x.end(), var->value);
  return var;
}

Floats Taken(const float* p, const Var* var) { return Floats(p, p + var->size()); }

// The op on one sequence; gradients in float.
struct OpResult {
  Floats y, end, qkv, gate, a, b, conv, a_log, dt_bias, gamma;
};
OpResult RunOp(const Layer& x, const Doubles& dy, int threads) {
  Floats start = ToFloats(x.taps), states = ToFloats(x.states);
  start.insert(start.end(), states.begin(), states.end());
  Floats end(start.size());
  TrainBatch batch;
  batch.n_seqs = 1, batch.seq_len = x.tokens, batch.reset = x.reset.data();
  batch.start = start.data(), batch.end = end.data();
  batch.state_stride = static_cast<int64_t>(start.size());
  Owned conv(x.conv, 3 * x.width()), a_log(x.a_log, 1), dt_bias(x.dt_bias, 1), gamma(x.gamma, 1);
  ExecContext exec(threads);
  Tape tape(&exec);
  Var *qkv = Input(&tape, x.qkv, x.tokens), *gate = Input(&tape, x.gate, x.tokens);
  Var *a = Input(&tape, x.a, x.tokens), *b = Input(&tape, x.b, x.tokens);
  Var* y = GatedDeltaMixer(
      &tape, batch, {conv.param, a_log.param, dt_bias.param, gamma.param, x.rule}, qkv, gate, a, b);
  bool accumulate = false;
  std::copy(dy.begin(), dy.end(), tape.GradTarget(y, &accumulate));
  tape.Backward();
  return {Taken(y->value, y),
          end,
          Taken(qkv->grad, qkv),
          Taken(gate->grad, gate),
          Taken(a->grad, a),
          Taken(b->grad, b),
          conv.grad,
          a_log.grad,
          dt_bias.grad,
          gamma.grad};
}

TEST(EflaOpTest, TheOpMatchesTheNaiveTwinsUnderEveryRule) {
  const int tokens = 150, heads = 2;
  for (const DeltaRule rule : kRules) {
    Layer x = RandomLayer(tokens, heads, kHeadDim, rule, 7);
    x.reset[70] = x.reset[71] = 1;
    const Doubles dy = ToDoubles(Noise(tokens * x.width(), 1, 0, 60));
    const Grads want = RunNaive(x, dy);
    const OpResult got = RunOp(x, dy, 2);
    const std::string what = Name(rule);
    ExpectClose(got.y, want.y, 2e-5, what + " y");
    ExpectClose(got.qkv, want.qkv, 1e-4, what + " qkv");
    ExpectClose(got.gate, want.gate, 1e-4, what + " gate");
    ExpectClose(got.a, want.a, 1e-4, what + " a");
    ExpectClose(got.b, want.b, 1e-4, what + " b");
    ExpectClose(got.conv, want.conv, 1e-4, what + " conv");
    ExpectClose(got.a_log, want.a_log, 1e-4, what + " a_log");
    ExpectClose(got.dt_bias, want.dt_bias, 1e-4, what + " dt_bias");
    ExpectClose(got.gamma, want.gamma, 1e-4, what + " gamma");
    const OpResult alone = RunOp(x, dy, 1);
    ExpectSame(got.y, alone.y, "threads");
    ExpectSame(got.qkv, alone.qkv, "threads");
    if (rule == DeltaRule::kEfla) {
      ExpectSame(got.a, Floats(got.a.size()), "no decay, no gradient");
      ExpectSame(got.a_log, Floats(heads), "no decay, no gradient");
    }
  }
}

// As libs/model would serve it: one token at a time, in place.
Floats Serve(const Layer& x, Floats* state) {
  const int heads = x.heads, w = x.width();
  const Floats conv = ToFloats(x.conv), a_log = ToFloats(x.a_log), dt_bias = ToFloats(x.dt_bias);
  const Floats gamma = ToFloats(x.gamma), gate = ToFloats(x.gate);
  Floats qkv = ToFloats(x.qkv), a = ToFloats(x.a), b = ToFloats(x.b), y(x.tokens * w);
  float* matrices = state->data() + kConvState * 3 * w;
  for (int t = 0; t < x.tokens; ++t) {
    if (x.reset[t] != 0) std::fill(state->begin(), state->end(), 0.0f);
    float *row = &qkv[t * 3 * w], *at = &a[t * heads], *bt = &b[t * heads];
    ShortConv().steps(row, 0, 1, conv.data(), state->data(), 3 * w, 3 * w, row);
    if (x.rule == DeltaRule::kBeta) {
      GatedDelta().l2norm(row, 2 * heads, row, nullptr);
      GatedDelta().gates(at, bt, a_log.data(), dt_bias.data(), 1, heads, at, bt);
    } else {
      GatedDelta().l2norm(row, heads, row, nullptr);
      Efla().gates({x.rule == DeltaRule::kGatedEfla ? at : nullptr, bt, row + w, 3 * w,
                    a_log.data(), dt_bias.data(), 1, heads},
                   at, bt, nullptr);
    }
    for (int h = 0; h < heads; ++h) {
      const float* head = row + h * kHeadDim;
      GatedDelta().step(matrices + h * kHeadState, head, head + w, head + 2 * w, at[h], bt[h],
                        &y[t * w + h * kHeadDim]);
    }
    GatedDelta().head_norm(&y[t * w], &gate[t * w], gamma.data(), heads, &y[t * w], nullptr);
  }
  return y;
}

TEST(EflaOpTest, ServingEqualsTrainingAndTheSwitchActs) {
  const int tokens = 150, heads = 2;
  Floats outputs[3];
  for (const DeltaRule rule : kRules) {
    Layer x = RandomLayer(tokens, heads, kHeadDim, rule, 9);
    x.reset[40] = 1;
    const OpResult trained = RunOp(x, Doubles(tokens * x.width()), 1);
    Floats state = ToFloats(x.taps), matrices = ToFloats(x.states);
    state.insert(state.end(), matrices.begin(), matrices.end());
    const Floats served = Serve(x, &state);
    ExpectClose(trained.y, ToDoubles(served), 2e-5, Name(rule) + " y");
    ExpectClose(trained.end, ToDoubles(state), 2e-5, Name(rule) + " state");
    outputs[static_cast<int>(rule)] = served;
  }
  const auto apart = [&](int i, int j) {
    double worst = 0;
    for (size_t at = 0; at < outputs[i].size(); ++at) {
      worst = std::max(worst, std::abs(double{outputs[i][at]} - outputs[j][at]));
    }
    return worst;
  };
  EXPECT_GT(apart(0, 1), 0.1);
  EXPECT_GT(apart(0, 2), 0.1);
  EXPECT_GT(apart(1, 2), 0.1);
}

TEST(EflaOpTest, IsCausal) {
  const int tokens = 90, t = 41;
  for (const DeltaRule rule : kRules) {
    Layer x = RandomLayer(tokens, 1, kHeadDim, rule, 11);
    const Doubles dy(tokens * x.width());
    const Floats before = RunOp(x, dy, 1).y;
    for (int i = 0; i < 3 * kHeadDim; ++i) x.qkv[t * 3 * kHeadDim + i] = 0.25 + 0.01 * i;
    x.a[t] += 1, x.b[t] += 1;
    const Floats after = RunOp(x, dy, 1).y;
    EXPECT_TRUE(std::equal(before.begin(), before.begin() + t * kHeadDim, after.begin()));
    EXPECT_NE(before[t * kHeadDim], after[t * kHeadDim]) << Name(rule);
    EXPECT_NE(before[89 * kHeadDim], after[89 * kHeadDim]) << Name(rule);
  }
}

}  // namespace
}  // namespace chimera
