// The experts on the tape against the naive twin and against serving.
#include "layers/moe_op.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/mixer_ops.h"
#include "layers/moe.h"
#include "layers/moe_naive.h"
#include "layers/rms_norm.h"
#include "layers/swiglu.h"
#include "tensor/matmul.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

// Parameters of one layer with their gradients.
struct Layer {
  Layer(int experts, int d_model, int d_expert, bool quantized, uint32_t seed = 1)
      : n(experts), d(d_model), h(d_expert) {
    const auto draw = [&](int64_t size, float scale, float offset) {
      values.push_back(Noise(size, scale, offset, seed++));
      grads.push_back(Floats(size_t(size)));
      return values.size() - 1;
    };
    draw(int64_t{n} * d, 0.3f, 0);
    draw(int64_t{n} * 2 * h * d, 0.2f, 0);
    draw(int64_t{n} * h, 0.3f, 1);
    draw(int64_t{n} * d * h, 0.2f, 0);
    bias = Noise(n, 0.1f, 0, seed++);
    w_in = {.param = Param(1, n * 2 * h, d), .quantized = quantized};
    w_out = {.param = Param(3, n * d, h), .quantized = quantized};
    ExecContext exec(1);
    PrepareLinear(&exec, &w_in);
    PrepareLinear(&exec, &w_out);
  }
  FloatParam Param(size_t i, int rows, int cols) {
    return {values[i].data(), grads[i].data(), rows, cols};
  }
  MoeParams Params() { return {Param(0, n, d), bias.data(), &w_in, Param(2, n, h), &w_out, 1.0f}; }
  // What the twin multiplies with: the weights, or mu * t.
  Doubles Weights(const LinearParam& w) const {
    if (!w.quantized)
      return Doubles(w.param.value, w.param.value + int64_t{w.param.rows} * w.param.cols);
    Floats back(size_t(w.param.rows) * size_t(w.param.cols));
    DequantizeWeights({w.codes.data(), w.scales.data(), w.param.rows, w.param.cols}, 0,
                      RowTiles(w.param.rows), back.data());
    return ToDoubles(back);
  }

  int n, d, h;
  std::vector<Floats> values, grads;  // router, w_in, gain, w_out
  Floats bias;
  LinearParam w_in, w_out;
};

Doubles RoundActivations(const Doubles& x) {
  const Floats f = ToFloats(x);
  const int cols = static_cast<int>(x.size());
  std::vector<int8_t> q(x.size());
  Floats s(x.size() / kActBlock), back(x.size());
  std::vector<int32_t> sums(s.size());
  QuantizeActivations(f.data(), 1, cols, q.data(), s.data(), sums.data());
  DequantizeActivations(q.data(), s.data(), 1, cols, back.data());
  return ToDoubles(back);
}

NaiveMoe<double> Twin(const Layer& layer) {
  NaiveMoe<double> twin{.n_experts = layer.n, .d_model = layer.d, .d_expert = layer.h};
  twin.router = ToDoubles(layer.values[0]);
  twin.bias = ToDoubles(layer.bias);
  twin.w_in = layer.Weights(layer.w_in);
  twin.gain = ToDoubles(layer.values[2]);
  twin.w_out = layer.Weights(layer.w_out);
  if (layer.w_in.quantized) twin.round = RoundActivations;
  return twin;
}

struct Result {
  Floats y, dx, d_shared;
  std::vector<Floats> grads;
  std::vector<int64_t> picks;
};

// Normed rows -> experts -> loss <y, dy>.
Result RunLayer(Layer* layer, const Floats& x, const Floats& shared, const Floats& dy, int threads,
                const Floats& before = {}) {
  ExecContext exec(threads);
  Tape tape(&exec);
  const int64_t rows = static_cast<int64_t>(x.size()) / layer->d, blocks = layer->d / kActBlock;
  const auto input = [&](const Floats& values) {
    Var* var = tape.New(rows, layer->d);
    std::copy(values.begin(), values.end(), var->value);
    return var;
  };
  LinearInput in{.normed = input(x)};
  std::vector<int8_t> q(x.size());
  Floats s(size_t(rows * blocks));
  std::vector<int32_t> sums(s.size());
  if (layer->w_in.quantized) {
    QuantizeActivations(x.data(), int(rows), layer->d, q.data(), s.data(), sums.data());
    in.q = q.data(), in.s = s.data(), in.sums = sums.data();
  }
  Var* base = shared.empty() ? nullptr : input(shared);
  for (Floats& grad : layer->grads) std::fill(grad.begin(), grad.end(), 0.0f);
  Result r;
  r.picks.resize(size_t(layer->n));
  Var* y = MoeExperts(&tape, in, base, layer->Params(), r.picks.data());
  r.y = Floats(y->value, y->value + y->size());
  bool accumulate = false;
  std::copy(dy.begin(), dy.end(), tape.GradTarget(y, &accumulate));
  if (!before.empty()) {  // another consumer of the input came first
    std::copy(before.begin(), before.end(), tape.GradTarget(in.normed, &accumulate));
  }
  tape.Backward();
  r.dx = Floats(in.normed->grad, in.normed->grad + y->size());
  if (base != nullptr) r.d_shared = Floats(base->grad, base->grad + y->size());
  r.grads = layer->grads;
  return r;
}

// |got - want|_2 / |want|_2
double RelativeError(const Floats& got, const Doubles& want) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return std::sqrt(error / norm);
}

TEST(MoeNaiveTest, GradientsMatchCentralDifferencesWithTheSelectionHeld) {
  const int n = 4, d = 5, h = 3, tokens = 3;
  NaiveMoe<double> twin{.n_experts = n, .d_model = d, .d_expert = h, .scale = 1.5};
  twin.router = ToDoubles(Noise(n * d, 1, 0, 1));
  twin.bias = Doubles(n);
  twin.w_in = ToDoubles(Noise(n * 2 * h * d, 1, 0, 2));
  twin.gain = ToDoubles(Noise(n * h, 0.5f, 1, 3));
  twin.w_out = ToDoubles(Noise(n * d * h, 1, 0, 4));
  twin.picked = {0, 2, 3, 1, 2, 1};
  Doubles x = ToDoubles(Noise(tokens * d, 1, 0, 5));
  const Doubles dy = ToDoubles(Noise(tokens * d, 1, 0, 6));
  const auto g = twin.Backward(x, dy);
  const auto loss = [&] { return Inner(twin.Forward(x), dy); };
  ExpectSlopes(x, g.x, "x", loss);
  ExpectSlopes(twin.router, g.router, "router", loss);
  ExpectSlopes(twin.w_in, g.w_in, "w_in", loss);
  ExpectSlopes(twin.gain, g.gain, "gain", loss);
  ExpectSlopes(twin.w_out, g.w_out, "w_out", loss);
}

TEST(MoeNaiveTest, LogitGradientMatchesTheGoldenVectors) {
  const Doubles logits = Golden("moe", "routing", "in", "logits");
  const Doubles dw = Golden("moe", "routing", "in", "dw_step1");
  const Doubles selected = Golden("moe", "routing", "steps", "1/selected");
  const int n = 16, tokens = 24;
  // With the identity as router the logits are the input.
  NaiveMoe<double> twin{.n_experts = n, .d_model = n, .d_expert = 0};
  twin.router = Doubles(n * n);
  for (int i = 0; i < n; ++i) twin.router[size_t(17 * i)] = 1;
  twin.bias = Doubles(n);
  Doubles got;
  for (int t = 0; t < tokens; ++t) {
    const double* x = &logits[size_t((tokens + t) * n)];
    const Doubles s = twin.Scores(x);
    Doubles row(n);
    const int pick[2] = {int(selected[size_t(2 * t)]), int(selected[size_t(2 * t + 1)])};
    twin.LogitGrads(s, pick, &dw[size_t(2 * t)], row.data());
    got.insert(got.end(), row.begin(), row.end());
  }
  ExpectClose(got, Golden("moe", "routing", "grad", "logits_step1"), 1e-12, "logits");
}

TEST(MoeOpTest, FloatFormMatchesTheDenseLoop) {
  for (const int h : {64, 192}) {
    Layer layer(6, 64, h, false);
    const int tokens = 45;
    const Floats x = Noise(tokens * 64, 1, 0, 20), shared = Noise(tokens * 64, 1, 0, 21);
    const Floats dy = Noise(tokens * 64, 1, 0, 22);
    const Result got = RunLayer(&layer, x, shared, dy, 2);
    const NaiveMoe<double> twin = Twin(layer);
    Doubles want = twin.Forward(ToDoubles(x));
    for (size_t i = 0; i < want.size(); ++i) want[i] += shared[i];
    const auto g = twin.Backward(ToDoubles(x), ToDoubles(dy));
    ExpectClose(got.y, want, 1e-5, "y");
    ExpectClose(got.dx, g.x, 2e-5, "dx");
    ExpectClose(got.grads[0], g.router, 2e-5, "router");
    ExpectClose(got.grads[1], g.w_in, 2e-5, "w_in");
    ExpectClose(got.grads[2], g.gain, 2e-5, "gain");
    ExpectClose(got.grads[3], g.w_out, 2e-5, "w_out");
    ExpectSame(got.d_shared, dy, "shared");
  }
}

TEST(MoeOpTest, GradientOfTheInputJoinsWhatIsThere) {
  Layer layer(6, 64, 64, false);
  const int tokens = 45;
  const Floats x = Noise(tokens * 64, 1, 0, 20), dy = Noise(tokens * 64, 1, 0, 22);
  const Floats before = Noise(tokens * 64, 1, 0, 24);
  Doubles want = Twin(layer).Backward(ToDoubles(x), ToDoubles(dy)).x;
  for (size_t i = 0; i < want.size(); ++i) want[i] += before[i];
  ExpectClose(RunLayer(&layer, x, {}, dy, 2, before).dx, want, 2e-5, "dx");
}

// The whole feed-forward of a block as a network builds it: norm, shared expert, routed experts,
// residual. Gradients are shared between buffers there; central differences of the twins see it.
TEST(MoeOpTest, InsideABlockTheGradientIsThatOfTheWholeBlock) {
  const int d = 64, tokens = 3;
  Layer routed(6, d, 64, false), shared(1, d, 64, false, 50);
  Floats gamma = Noise(d, 0.3f, 1, 60), gamma_grad(d);
  const Floats x_in = Noise(tokens * d, 1, 0, 61), dy = Noise(tokens * d, 1, 0, 62);

  ExecContext exec(2);
  Tape tape(&exec);
  Var* x = tape.New(tokens, d);
  std::copy(x_in.begin(), x_in.end(), x->value);
  const LinearInput in = NormQuantize(&tape, x, {gamma.data(), gamma_grad.data(), 1, d}, false);
  const auto gate_up = Linear(&tape, in, &shared.w_in, {64, 64});
  const LinearInput hidden = NormQuantize(&tape, SwigluProduct(&tape, gate_up[0], gate_up[1]),
                                          shared.Params().gain, false);
  Var* base = Linear(&tape, hidden, &shared.w_out, {d})[0];
  Var* out = Residual(&tape, x, MoeExperts(&tape, in, base, routed.Params(), nullptr));
  bool accumulate = false;
  std::copy(dy.begin(), dy.end(), tape.GradTarget(out, &accumulate));
  tape.Backward();

  NaiveMoe<double> experts = Twin(routed);
  const NaiveMoe<double> dense = Twin(shared);
  Doubles gains = ToDoubles(gamma), rows = ToDoubles(x_in);
  const auto forward = [&] {
    Doubles y = rows, normed(rows.size());
    for (int t = 0; t < tokens; ++t) {
      NaiveRmsNorm(&rows[size_t(t * d)], gains.data(), d, &normed[size_t(t * d)]);
      const Doubles own = dense.Run(0, &normed[size_t(t * d)]).out;
      for (int c = 0; c < d; ++c) y[size_t(t * d + c)] += own[size_t(c)];
    }
    const Doubles picked = experts.Forward(normed);
    for (size_t i = 0; i < y.size(); ++i) y[i] += picked[i];
    return y;
  };
  ExpectClose(Floats(out->value, out->value + out->size()), forward(), 1e-5, "y");
  const auto slope = [&](double* at) {
    const double kept = *at, h = 1e-5;
    *at = kept + h;
    const double above = Inner(forward(), ToDoubles(dy));
    *at = kept - h;
    const double below = Inner(forward(), ToDoubles(dy));
    *at = kept;
    return (above - below) / (2 * h);
  };
  Doubles dx, d_gamma, d_router;
  for (double& value : rows) dx.push_back(slope(&value));
  for (double& value : gains) d_gamma.push_back(slope(&value));
  for (double& value : experts.router) d_router.push_back(slope(&value));
  ExpectClose(Floats(x->grad, x->grad + x->size()), dx, 2e-5, "dx");
  ExpectClose(gamma_grad, d_gamma, 2e-5, "gamma");
  ExpectClose(routed.grads[0], d_router, 2e-5, "router");
}

TEST(MoeOpTest, QuantisedFormIsTheTwinOfRoundedWeightsAndActivations) {
  Layer layer(5, 128, 192, true);  // 192: the last weight group is 64 wide
  const int tokens = 70;
  const Floats x = Noise(tokens * 128, 1, 0, 20), dy = Noise(tokens * 128, 1, 0, 22);
  const Result got = RunLayer(&layer, x, {}, dy, 2);
  const NaiveMoe<double> twin = Twin(layer);
  // A value of the hidden layer on a rounding edge may fall to the other side: norms, not elements.
  EXPECT_LT(RelativeError(got.y, twin.Forward(ToDoubles(x))), 1e-3);
  const auto g = twin.Backward(ToDoubles(x), ToDoubles(dy));
  const double tol = HasFastBf16() ? 1e-2 : 1e-3;
  EXPECT_LT(RelativeError(got.dx, g.x), tol);
  EXPECT_LT(RelativeError(got.grads[0], g.router), tol);
  EXPECT_LT(RelativeError(got.grads[1], g.w_in), tol);
  EXPECT_LT(RelativeError(got.grads[2], g.gain), tol);
  EXPECT_LT(RelativeError(got.grads[3], g.w_out), tol);
}

TEST(MoeOpTest, ThreadsChangeNothingAndLoadIsCounted) {
  for (const bool quantized : {false, true}) {
    Layer layer(16, 64, 64, quantized);
    layer.bias[3] = 2;  // more than one block of 256 tokens for one expert
    const int tokens = 700;
    const Floats x = Noise(tokens * 64, 1, 0, 20), dy = Noise(tokens * 64, 1, 0, 22);
    const Result one = RunLayer(&layer, x, {}, dy, 1), three = RunLayer(&layer, x, {}, dy, 3);
    ExpectSame(three.y, one.y, "y");
    ExpectSame(three.dx, one.dx, "dx");
    for (size_t i = 0; i < one.grads.size(); ++i) ExpectSame(three.grads[i], one.grads[i], "grads");
    EXPECT_EQ(one.picks, three.picks);
    EXPECT_EQ(one.picks[3], tokens);
    int64_t sum = 0;
    for (const int64_t c : one.picks) sum += c;
    EXPECT_EQ(sum, 2 * tokens);
  }
}

TEST(MoeOpTest, EmptyExpertsGetNoGradient) {
  Layer layer(8, 64, 64, true);
  layer.bias[2] = layer.bias[7] = -10;
  const int tokens = 40;
  const Floats x = Noise(tokens * 64, 1, 0, 20), dy = Noise(tokens * 64, 1, 0, 22);
  const Result got = RunLayer(&layer, x, {}, dy, 2);
  for (const int e : {2, 7}) {
    EXPECT_EQ(got.picks[size_t(e)], 0);
    for (const auto& [grad, width] : {std::pair(&got.grads[0], 64),
                                      {&got.grads[1], 2 * 64 * 64},
                                      {&got.grads[2], 64},
                                      {&got.grads[3], 64 * 64}}) {
      for (int i = 0; i < width; ++i) ASSERT_EQ((*grad)[size_t(e * width + i)], 0);
    }
  }
  ExpectFinite(got.dx, "dx");
  // Two experts only: everybody else is empty.
  for (int e = 0; e < 8; ++e) layer.bias[size_t(e)] = e < 2 ? 10 : 0;
  const Result two = RunLayer(&layer, x, {}, dy, 2);
  EXPECT_EQ(two.picks[0], tokens);
  EXPECT_EQ(two.picks[1], tokens);
  ExpectFinite(two.y, "y");
}

// Renaming the experts renames the work only: the two outputs of a token are added in another
// order at most, and a sum of two floats does not depend on it. With a shared expert it would.
TEST(MoeOpTest, PermutingTheExpertsPermutesNothingInTheOutput) {
  for (const bool quantized : {false, true}) {
    Layer layer(6, 64, 64, quantized), renamed(6, 64, 64, quantized);
    const int order[6] = {4, 2, 0, 5, 1, 3};
    const int64_t width[4] = {64, 2 * 64 * 64, 64, 64 * 64};
    for (int e = 0; e < 6; ++e) {
      renamed.bias[size_t(e)] = layer.bias[size_t(order[e])];
      for (size_t i = 0; i < 4; ++i) {
        std::copy_n(layer.values[i].begin() + order[e] * width[i], width[i],
                    renamed.values[i].begin() + e * width[i]);
      }
    }
    ExecContext exec(1);
    PrepareLinear(&exec, &renamed.w_in);
    PrepareLinear(&exec, &renamed.w_out);
    const int tokens = 33;
    const Floats x = Noise(tokens * 64, 1, 0, 20), dy = Noise(tokens * 64, 1, 0, 22);
    const Result a = RunLayer(&layer, x, {}, dy, 1), b = RunLayer(&renamed, x, {}, dy, 1);
    ExpectSame(a.y, b.y, "y");
    for (int e = 0; e < 6; ++e) EXPECT_EQ(b.picks[size_t(e)], a.picks[size_t(order[e])]);
  }
}

// Tokens are independent: what follows a token cannot reach it, and an expert matters.
TEST(MoeOpTest, IsCausalAndTheExpertsActOnTheResult) {
  Layer layer(6, 64, 64, true);
  const int tokens = 80, t = 41;
  Floats x = Noise(tokens * 64, 1, 0, 20);
  const Floats dy = Noise(tokens * 64, 1, 0, 22), shared = Noise(tokens * 64, 1, 0, 23);
  const Floats before = RunLayer(&layer, x, shared, dy, 2).y;
  for (int i = t * 64; i < tokens * 64; ++i) x[size_t(i)] = -x[size_t(i)];
  const Floats after = RunLayer(&layer, x, shared, dy, 2).y;
  EXPECT_TRUE(std::equal(before.begin(), before.begin() + t * 64, after.begin()));
  EXPECT_NE(before, after);
  EXPECT_NE(before, shared) << "without experts y is the shared expert";
  std::reverse(layer.bias.begin(), layer.bias.end());
  for (float& b : layer.bias) b *= 20;
  EXPECT_NE(RunLayer(&layer, x, shared, dy, 2).y, after) << "other experts, other result";
}

// How a model serves the layer: y [n][d] holds the shared expert's output on entry.
void Serve(Layer* layer, const Floats& x, int n, Floats* y) {
  const int d = layer->d, h = layer->h;
  const auto stacked = [](const LinearParam& w) {
    return TernaryView{w.codes.data(), w.scales.data(), w.param.rows, w.param.cols};
  };
  std::vector<int8_t> q(size_t(n * d)), eq(size_t(n * std::max(d, h)));
  Floats s(size_t(n * d / kActBlock)), es(size_t(n * std::max(d, h) / kActBlock));
  std::vector<int32_t> sums(s.size()), esums(es.size());
  Floats gate_up(size_t(n * 2 * h)), hidden(size_t(n * h)), out(size_t(n * d));
  auto route = std::make_unique<MoeRoute>();

  QuantizeActivations(x.data(), n, d, q.data(), s.data(), sums.data());
  const MoeRouter router{layer->values[0].data(), layer->bias.data(), layer->n, d};
  PickExperts(router, x.data(), 0, n, route.get());
  GroupPicks(router, n, route.get());
  for (int e = 0; e < layer->n; ++e) {
    const int count = route->count[e];
    if (count == 0) continue;
    const int32_t* rows = route->rows + route->begin[e];
    const size_t scale_bytes = size_t(d / kActBlock) * sizeof(float);
    MoeGather(q.data(), size_t(d), rows, count, eq.data());
    MoeGather(s.data(), scale_bytes, rows, count, es.data());
    MoeGather(sums.data(), scale_bytes, rows, count, esums.data());
    TernaryGemm(ExpertRows(stacked(layer->w_in), e, 2 * h), 0, RowTiles(2 * h), count, eq.data(),
                es.data(), esums.data(), gate_up.data(), 2 * h);
    for (int i = 0; i < count; ++i) {
      const float* gate = &gate_up[size_t(i * 2 * h)];
      Swiglu().forward(gate, gate + h, h, &hidden[size_t(i * h)]);
    }
    RmsNorm().forward(hidden.data(), &layer->values[2][size_t(e * h)], count, h, hidden.data(),
                      nullptr);
    QuantizeActivations(hidden.data(), count, h, eq.data(), es.data(), esums.data());
    TernaryGemm(ExpertRows(stacked(layer->w_out), e, d), 0, RowTiles(d), count, eq.data(),
                es.data(), esums.data(), out.data(), d);
    for (int i = 0; i < count; ++i) {
      Moe().add_scaled(&out[size_t(i * d)], route->weights[route->begin[e] + i], d,
                       &(*y)[size_t(rows[i] * d)]);
    }
  }
}

TEST(MoeServingTest, ManyTokensEachTokenAndTrainingGiveTheSameBits) {
  Layer layer(16, 128, 192, true);
  const int d = layer.d;
  for (const int n : {1, 2, 17, 64}) {
    const Floats x = Noise(n * d, 1, 0, uint32_t(30 + n));
    const Floats shared = Noise(n * d, 1, 0, uint32_t(40 + n));
    const Floats dy(x.size(), 1.0f);
    Floats all = shared;
    Serve(&layer, x, n, &all);
    ExpectSame(all, RunLayer(&layer, x, shared, dy, 2).y, "training forward");
    for (int t = 0; t < n; ++t) {
      Floats one(shared.begin() + t * d, shared.begin() + (t + 1) * d);
      Serve(&layer, Floats(x.begin() + t * d, x.begin() + (t + 1) * d), 1, &one);
      ExpectSame(one, Floats(all.begin() + t * d, all.begin() + (t + 1) * d), "token by token");
    }
  }
}

}  // namespace
}  // namespace chimera
