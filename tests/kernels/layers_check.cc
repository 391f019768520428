// Norms, gates and the other small layers.
#include <cmath>
#include <numeric>

#include "kernels/check.h"
#include "layers/efla.h"
#include "layers/efla_naive.h"
#include "layers/loop.h"
#include "layers/loop_naive.h"
#include "layers/low_rank.h"
#include "layers/low_rank_naive.h"
#include "layers/moe.h"
#include "layers/moe_naive.h"
#include "layers/rms_norm.h"
#include "layers/rms_norm_naive.h"
#include "layers/rope.h"
#include "layers/short_conv.h"
#include "layers/short_conv_naive.h"
#include "layers/swiglu.h"
#include "layers/swiglu_naive.h"

namespace chimera {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

void CheckNorm(Check* check) {
  const RmsNormKernels& kernels = RmsNormFor(check->isa());
  for (const int n : {7, 64, 171, 320}) {
    const int rows = 3;
    const auto size = static_cast<size_t>(rows * n);
    const Floats x = Noise(size, 2.0f, 0.3f, 1), dy = Noise(size, 1.0f, 0.0f, 2);
    const Floats gamma = Noise(static_cast<size_t>(n), 0.5f, 1.0f, 3);
    const Doubles wx = Wide(x), wdy = Wide(dy), wgamma = Wide(gamma);
    Floats y(size), inv(rows), dx(size), dgamma(gamma.size());
    Doubles want(size), want_dx(size), want_dgamma(gamma.size());
    kernels.forward(x.data(), gamma.data(), rows, n, y.data(), inv.data());
    kernels.backward(x.data(), gamma.data(), inv.data(), dy.data(), rows, n, dx.data(),
                     dgamma.data());
    for (int r = 0; r < rows; ++r) {
      NaiveRmsNorm(&wx[r * n], wgamma.data(), n, &want[r * n]);
      NaiveRmsNormBackward(&wx[r * n], wgamma.data(), &wdy[r * n], n, &want_dx[r * n],
                           want_dgamma.data());
    }
    check->Close("norm", y, want);
    check->Close("norm backward", dx, want_dx);
    check->Close("norm gain gradient", dgamma, want_dgamma);
  }
}

void CheckSwiglu(Check* check) {
  const SwigluKernels& kernels = SwigluFor(check->isa());
  const int n = 333;
  const Floats gate = Noise(n, 20.0f, 0.0f, 4), up = Noise(n, 2.0f, 0.0f, 5);
  const Floats dout = Noise(n, 1.0f, 0.0f, 6);
  Floats out(n), dgate(n), dup(n);
  Doubles want(n), want_dgate(n), want_dup(n);
  kernels.forward(gate.data(), up.data(), n, out.data());
  kernels.backward(gate.data(), up.data(), dout.data(), n, dgate.data(), dup.data());
  NaiveSwiglu(Wide(gate).data(), Wide(up).data(), n, want.data());
  NaiveSwigluBackward(Wide(gate).data(), Wide(up).data(), Wide(dout).data(), n, want_dgate.data(),
                      want_dup.data());
  check->Close("SwiGLU", out, want);
  check->Close("SwiGLU gate gradient", dgate, want_dgate);
  check->Close("SwiGLU up gradient", dup, want_dup);
}

void CheckConvolution(Check* check) {
  const ShortConvKernels& kernels = ShortConvFor(check->isa());
  const int n = 83, tokens = 9;
  const Floats x = Noise(n * tokens, 2.0f, 0.0f, 7), w = Noise(4 * n, 1.0f, 0.0f, 8);
  const Floats start = Noise(3 * n, 2.0f, 0.0f, 9), dy = Noise(n * tokens, 1.0f, 0.0f, 10);
  const uint8_t reset[tokens] = {0, 0, 0, 0, 0, 1, 0, 0, 0};
  Doubles want(n * tokens), plain(n * tokens), want_dx(n * tokens), want_dw(4 * n);
  const Doubles wx = Wide(x), ww = Wide(w), wstart = Wide(start);
  NaiveShortConv(wx.data(), ww.data(), wstart.data(), nullptr, tokens, n, plain.data());
  NaiveShortConv(wx.data(), ww.data(), wstart.data(), reset, tokens, n, want.data());
  NaiveShortConvBackward(wx.data(), ww.data(), wstart.data(), reset, Wide(dy).data(), tokens, n,
                         want_dx.data(), want_dw.data());
  Floats steps(n * tokens), state = start, all(n * tokens), end(3 * n), tree(n * tokens);
  for (int t = 0; t < tokens; ++t) {
    kernels.steps(&x[t * n], n, 1, w.data(), state.data(), n, n, &steps[t * n]);
  }
  check->Close("convolution steps", steps, plain);
  Floats together(n * tokens), after = start;
  kernels.steps(x.data(), n, tokens, w.data(), after.data(), n, n, together.data());
  check->Same("convolution steps together", together, steps);
  check->Same("convolution state together", after, state);
  kernels.forward(x.data(), w.data(), start.data(), nullptr, tokens, n, n, all.data(), end.data());
  check->Same("convolution of all tokens", all, steps);
  check->Same("convolution state", end, state);
  int8_t parents[tokens];
  std::iota(parents, parents + tokens, int8_t{-1});  // a path
  kernels.tree(x.data(), n, w.data(), start.data(), n, parents, tokens, n, tree.data(), n);
  check->Same("convolution of a tree", tree, steps);
  kernels.forward(x.data(), w.data(), start.data(), reset, tokens, n, n, all.data(), nullptr);
  check->Close("convolution with a reset", all, want);
  Floats dx(n * tokens), dw(4 * n);
  kernels.backward(x.data(), w.data(), start.data(), reset, dy.data(), tokens, n, n, dx.data(),
                   dw.data());
  check->Close("convolution gradient", dx, want_dx);
  check->Close("convolution weight gradient", dw, want_dw);
}

void CheckExactDelta(Check* check) {
  const EflaKernels& kernels = EflaFor(check->isa());
  const int tokens = 5, heads = 3;
  const int n = tokens * heads, stride = heads * kHeadDim;
  const Floats a = Noise(n, 2.0f, 0.0f, 11), b = Noise(n, 3.0f, 0.0f, 12);
  const Floats k = Noise(tokens * stride, 0.5f, 0.0f, 13);
  const Floats a_log = Noise(heads, 1.0f, 0.0f, 14), dt_bias = Noise(heads, 1.0f, 0.0f, 15);
  const EflaGates in = {a.data(),     b.data(),       k.data(), stride,
                        a_log.data(), dt_bias.data(), tokens,   heads};
  Floats g(n), beta(n), lambda(n);
  kernels.gates(in, g.data(), beta.data(), lambda.data());
  Doubles want_g(n), want_beta(n), want_lambda(n);
  for (int i = 0; i < n; ++i) {
    const int h = i % heads;
    const Floats row(k.begin() + i * kHeadDim, k.begin() + (i + 1) * kHeadDim);
    const Doubles wide = Wide(row);
    double unused;
    NaiveGate<double>(a[i], b[i], a_log[h], dt_bias[h], &want_g[i], &unused);
    want_beta[i] = NaiveEflaGate<double>(b[i], wide.data(), kHeadDim);
    want_lambda[i] = NaiveSquares(wide.data(), kHeadDim);
  }
  check->Close("exact delta decay", g, want_g);
  check->Close("exact delta gain", beta, want_beta);
  check->Close("squared keys", lambda, want_lambda);
}

void CheckExperts(Check* check) {
  const MoeKernels& kernels = MoeFor(check->isa());
  const int tokens = 7, experts = 11, d_model = 77;
  const Floats x = Noise(tokens * d_model, 1.0f, 0.0f, 16);
  const Floats router = Noise(experts * d_model, 0.3f, 0.0f, 17);
  const Floats bias = Noise(experts, 0.05f, 0.0f, 18);
  NaiveMoe<double> twin{.n_experts = experts, .d_model = d_model, .d_expert = 0, .scale = 2.5};
  twin.router = Wide(router);
  twin.bias = Wide(bias);
  Floats scores(tokens * experts), weights(2 * tokens), spread(tokens * experts);
  std::vector<int32_t> picked(2 * tokens);
  kernels.scores(x.data(), router.data(), tokens, experts, d_model, scores.data());
  kernels.select(scores.data(), bias.data(), tokens, experts, 2.5f, picked.data(), weights.data());
  Doubles want, want_spread;
  for (int t = 0; t < tokens; ++t) {
    const Doubles s = twin.Scores(Wide(x).data() + t * d_model), w = twin.Weights(s, t);
    want.insert(want.end(), s.begin(), s.end());
    want_spread.insert(want_spread.end(), w.begin(), w.end());
    for (int i = 0; i < 2; ++i) {
      spread[static_cast<size_t>(t * experts + picked[2 * t + i])] = weights[2 * t + i];
    }
  }
  check->Close("router scores", scores, want);
  check->Close("expert weights", spread, want_spread);
  Floats y = Noise(d_model, 1.0f, 0.0f, 19), sum(y.size());
  for (int i = 0; i < d_model; ++i) sum[i] = y[i] + 0.37f * x[i];
  kernels.add_scaled(x.data(), 0.37f, d_model, y.data());
  check->Same("expert added", y, sum);
}

void CheckLoop(Check* check) {
  const LoopKernels& kernels = LoopFor(check->isa());
  const int d = 75, tokens = 3;
  const Floats a_log = Noise(d, 2.0f, 0.0f, 20), dt_bias = Noise(d, 2.0f, 0.0f, 21);
  const Floats b = Noise(d, 1.0f, 0.5f, 22), h = Noise(d * tokens, 2.0f, 0.0f, 23);
  const Floats e = Noise(d * tokens, 2.0f, 0.0f, 24);
  Floats a_bar(d), b_bar(d), u(d * tokens), change(tokens), exact(d * tokens);
  Doubles want_a(d), want_b(d), want_change(tokens);
  kernels.gains(a_log.data(), dt_bias.data(), b.data(), d, a_bar.data(), b_bar.data());
  kernels.inject(h.data(), e.data(), a_bar.data(), b_bar.data(), tokens, d, u.data());
  kernels.relative_change(h.data(), e.data(), tokens, d, change.data());
  for (int i = 0; i < d; ++i) {
    NaiveLoopGains<double>(a_log[i], dt_bias[i], b[i], &want_a[i], &want_b[i]);
  }
  for (int i = 0; i < d * tokens; ++i) {
    exact[i] = std::fmaf(a_bar[i % d], h[i], b_bar[i % d] * e[i]);
  }
  for (int t = 0; t < tokens; ++t) {
    want_change[t] = NaiveRelativeChange(Wide(h).data() + t * d, Wide(e).data() + t * d, d);
  }
  check->Close("loop decay", a_bar, want_a);
  check->Close("loop gain", b_bar, want_b);
  check->Same("loop input", u, exact);
  check->Close("relative change", change, want_change);
}

void CheckLowRank(Check* check) {
  const LowRankKernels& kernels = LowRankFor(check->isa());
  NaiveLowRank<double> twin{.rows = 37, .cols = 83, .n_tokens = 3};
  const Floats a = Noise(16 * 83, 0.5f, 0.0f, 25), b = Noise(37 * 16, 0.5f, 0.0f, 26);
  const Floats x = Noise(3 * 83, 1.0f, 0.0f, 27);
  twin.a = Wide(a), twin.b = Wide(b), twin.x = Wide(x), twin.scale = 0.1f;
  Floats lanes(LowRankLaneFloats(37)), h(3 * kLowRank), y(3 * 37);
  LowRankLanes(b.data(), 37, lanes.data());
  kernels.down(a.data(), 0.1f, 83, x.data(), 3, h.data());
  kernels.up(lanes.data(), 37, 0, RowTiles(37), h.data(), 3, y.data(), 37);
  check->Close("low rank", y, twin.Forward());
}

void CheckRotation(Check* check) {
  const RopeKernels& kernels = RopeFor(check->isa());
  for (const int64_t position : {0, 1, 4097, 1000003}) {
    Floats cos(kRopePairs), sin(kRopePairs), y(2 * kHeadDim), back(2 * kHeadDim);
    kernels.angles(position, cos.data(), sin.data());
    const Floats x = Noise(2 * kHeadDim, 1.0f, 0.0f, 28);
    kernels.rotate(x.data(), 2, cos.data(), sin.data(), y.data());
    kernels.unrotate(y.data(), 2, cos.data(), sin.data(), back.data());
    Doubles want_cos(kRopePairs), want_sin(kRopePairs), want(2 * kHeadDim);
    for (int i = 0; i < kRopePairs; ++i) {
      const double angle = static_cast<double>(position) * std::pow(10000.0, -i / 32.0);
      want_cos[i] = std::cos(angle), want_sin[i] = std::sin(angle);
      for (int at = i; at < 2 * kHeadDim; at += kHeadDim) {
        want[at] = x[at] * want_cos[i] + x[at + 32] * want_sin[i];
        want[at + 32] = x[at + 32] * want_cos[i] - x[at] * want_sin[i];
      }
    }
    check->Close("cosines", cos, want_cos, 1e-7);
    check->Close("sines", sin, want_sin, 1e-7);
    check->Close("rotated", y, want, 1e-6);
    check->Close("rotated back", back, Wide(x), 1e-6);
  }
}

}  // namespace

void CheckSmallLayers(Check* check) {
  CheckNorm(check);
  CheckSwiglu(check);
  CheckConvolution(check);
  CheckExactDelta(check);
  CheckExperts(check);
  CheckLoop(check);
  CheckLowRank(check);
  CheckRotation(check);
}

}  // namespace chimera
