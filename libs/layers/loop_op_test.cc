// The injection on the tape: exact gradients, full and truncated.
#include "layers/loop_op.h"

#include <algorithm>
#include <cmath>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/loop_depth.h"
#include "layers/loop_naive.h"

namespace chimera {
namespace {

Doubles GoldenIn(const char* name) { return Golden("parcae", "three_iterations", "in", name); }

// The toy layers of the golden file: u + tanh(u M^T) / 2.
Var* ToyLayers(Tape* tape, Var* u, const Floats& m) {
  const int64_t rows = u->rows, d = u->cols;
  Var* h = tape->New(rows, d);
  Var* bent = tape->New(rows, d);
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t o = 0; o < d; ++o) {
      float sum = 0;
      for (int64_t i = 0; i < d; ++i) sum += u->value[t * d + i] * m[size_t(o * d + i)];
      bent->value[t * d + o] = std::tanh(sum);
      h->value[t * d + o] = u->value[t * d + o] + bent->value[t * d + o] / 2;
    }
  }
  tape->OnBackward([tape, u, h, bent, &m, rows, d] {
    bool accumulate = false;
    float* du = tape->GradTarget(u, &accumulate);
    EXPECT_FALSE(accumulate);
    for (int64_t t = 0; t < rows; ++t) {
      for (int64_t i = 0; i < d; ++i) {
        float sum = h->grad[t * d + i];
        for (int64_t o = 0; o < d; ++o) {
          const float b = bent->value[t * d + o];
          sum += h->grad[t * d + o] * (1 - b * b) / 2 * m[size_t(o * d + i)];
        }
        du[t * d + i] = sum;
      }
    }
  });
  return h;
}

struct Parameter {
  explicit Parameter(Floats v) : value(std::move(v)), grad(value.size()) {}
  FloatParam param() { return {value.data(), grad.data(), 1, int(value.size())}; }
  Floats value, grad;
};

struct Grads {
  Floats h, a_log, dt_bias, b, e, h0;
};

// Three passes, the last `taped` of them with gradients.
Grads ThreePasses(int taped) {
  ExecContext exec(2);
  Tape tape(&exec);
  Parameter a_log(ToFloats(GoldenIn("A_log"))), dt(ToFloats(GoldenIn("dt_bias")));
  Parameter b(ToFloats(GoldenIn("B")));
  const Floats e_in = ToFloats(GoldenIn("e")), h_in = ToFloats(GoldenIn("h0"));
  const Floats m = ToFloats(GoldenIn("M")), dh = ToFloats(GoldenIn("dh"));
  Var *e = tape.New(4, 6), *h0 = tape.New(4, 6);
  std::copy(e_in.begin(), e_in.end(), e->value);
  std::copy(h_in.begin(), h_in.end(), h0->value);
  Var* h = h0;
  for (int pass = 0; pass < 3; ++pass) {
    tape.set_recording(pass >= 3 - taped);
    h = ToyLayers(&tape, LoopInject(&tape, h, e, {a_log.param(), dt.param(), b.param()}), m);
  }
  bool accumulate = false;
  std::copy(dh.begin(), dh.end(), tape.GradTarget(h, &accumulate));
  tape.Backward();
  Grads g{Floats(h->value, h->value + 24), a_log.grad, dt.grad, b.grad,
          Floats(e->grad, e->grad + 24),   {}};
  if (h0->has_grad) g.h0 = Floats(h0->grad, h0->grad + 24);
  return g;
}

TEST(LoopOpTest, MatchesTheGoldenGradientsFullAndHalfTruncated) {
  const Doubles h = Golden("parcae", "three_iterations", "out", "h");
  EXPECT_EQ(TapedLoops(3), 2);
  for (const int taped : {3, TapedLoops(3)}) {
    const Grads g = ThreePasses(taped);
    const char* group = taped == 3 ? "grad" : "grad_half_truncated";
    const auto want = [&](const char* name) {
      return Golden("parcae", "three_iterations", group, name);
    };
    ExpectClose(g.h, Doubles(h.begin() + 48, h.end()), 1e-5, "h");
    ExpectClose(g.a_log, want("A_log"), 1e-5, "A_log");
    ExpectClose(g.dt_bias, want("dt_bias"), 1e-5, "dt_bias");
    ExpectClose(g.b, want("B"), 1e-5, "B");
    ExpectClose(g.e, want("e"), 1e-5, "e");
    if (taped == 3) {
      ExpectClose(g.h0, want("h0"), 1e-5, "h0");
    } else {
      EXPECT_TRUE(g.h0.empty()) << "nothing passes the cut";
    }
  }
}

// One injection of the twin: loss <u, du>.
struct Twin {
  int rows, d;
  Doubles a_log = {}, dt_bias = {}, b = {}, h = {}, e = {}, du = {};

  Doubles Gain(bool input) const {
    Doubles out(b.size());
    for (size_t i = 0; i < b.size(); ++i) {
      double a_bar, b_bar;
      NaiveLoopGains(a_log[i], dt_bias[i], b[i], &a_bar, &b_bar);
      out[i] = input ? b_bar : a_bar;
    }
    return out;
  }
  double Loss() const {
    const Doubles a_bar = Gain(false), b_bar = Gain(true);
    double sum = 0;
    for (size_t i = 0; i < e.size(); ++i) {
      sum += du[i] * (a_bar[i % d] * h[i] + b_bar[i % d] * e[i]);
    }
    return sum;
  }
  // Gradients of a_log, dt_bias, b.
  std::vector<Doubles> Backward() const {
    Doubles d_a(d), d_b(d);
    for (size_t i = 0; i < e.size(); ++i) {
      d_a[i % d] += du[i] * h[i];
      d_b[i % d] += du[i] * e[i];
    }
    std::vector<Doubles> g(3, Doubles(d));
    for (int i = 0; i < d; ++i) {
      NaiveLoopGainsBackward(a_log[i], dt_bias[i], b[i], d_a[i], d_b[i], &g[0][i], &g[1][i],
                             &g[2][i]);
    }
    return g;
  }
};

// Every regime: ordinary, x below 1e-4, x above 20, tiny x inside, a_log beyond its bounds.
Twin AllRegimes(int rows) {
  Twin t{.rows = rows, .d = 8};
  t.a_log = {0, 0.7, -12, 4, 0, -6, 25, -23};
  t.dt_bias = {0.2, -1.5, -4, 2, 30, -2, 1, 0.5};
  t.b = {1, 0.5, 1.25, -1, 2, 1, 1, 1};
  t.h = ToDoubles(Noise(rows * 8, 1, 0, 1));
  t.e = ToDoubles(Noise(rows * 8, 1, 0, 2));
  t.du = ToDoubles(Noise(rows * 8, 1, 0, 3));
  return t;
}

TEST(LoopNaiveTest, GradientsMatchCentralDifferencesInEveryRegime) {
  Twin t = AllRegimes(5);
  // Scaled so that the tiny-lam channels, whose gain is large, stay within the differences' reach.
  for (const size_t channel : {size_t{2}, size_t{7}}) t.b[channel] = 1e-4;
  const std::vector<Doubles> g = t.Backward();
  const auto loss = [&] { return t.Loss(); };
  ExpectSlopes(t.a_log, g[0], "a_log", loss);
  ExpectSlopes(t.dt_bias, g[1], "dt_bias", loss);
  ExpectSlopes(t.b, g[2], "b", loss);
}

TEST(LoopOpTest, MatchesTheTwinInEveryRegimeForAnyNumberOfThreads) {
  const int rows = 600;  // three blocks
  const Twin t = AllRegimes(rows);
  const std::vector<Doubles> want = t.Backward();
  const Doubles a_bar = t.Gain(false), b_bar = t.Gain(true);
  std::vector<Floats> first;
  for (const int threads : {1, 3}) {
    ExecContext exec(threads);
    Tape tape(&exec);
    Parameter a_log(ToFloats(t.a_log)), dt(ToFloats(t.dt_bias)), b(ToFloats(t.b));
    Var *h = tape.New(rows, 8), *e = tape.New(rows, 8);
    for (int i = 0; i < rows * 8; ++i) {
      h->value[i] = float(t.h[size_t(i)]);
      e->value[i] = float(t.e[size_t(i)]);
    }
    Var* u = LoopInject(&tape, h, e, {a_log.param(), dt.param(), b.param()});
    Doubles u_want(size_t(rows * 8)), dh_want(u_want), de_want(u_want);
    for (size_t i = 0; i < u_want.size(); ++i) {
      u_want[i] = a_bar[i % 8] * t.h[i] + b_bar[i % 8] * t.e[i];
      dh_want[i] = a_bar[i % 8] * t.du[i];
      de_want[i] = b_bar[i % 8] * t.du[i] + 1;
    }
    ExpectClose(Floats(u->value, u->value + u->size()), u_want, 1e-5, "u");
    bool accumulate = false;
    std::fill_n(tape.GradTarget(e, &accumulate), e->size(), 1.0f);  // another consumer came first
    float* du = tape.GradTarget(u, &accumulate);
    for (int i = 0; i < rows * 8; ++i) du[i] = float(t.du[size_t(i)]);
    tape.Backward();
    ExpectClose(Floats(h->grad, h->grad + h->size()), dh_want, 1e-5, "dh");
    ExpectClose(Floats(e->grad, e->grad + e->size()), de_want, 1e-5, "de");
    ExpectClose(a_log.grad, want[0], 5e-5, "a_log");
    ExpectClose(dt.grad, want[1], 5e-5, "dt_bias");
    ExpectClose(b.grad, want[2], 5e-5, "b");
    if (threads == 1) first = {a_log.grad, dt.grad, b.grad};
    ExpectSame(a_log.grad, first[0], "threads");
    ExpectSame(dt.grad, first[1], "threads");
    ExpectSame(b.grad, first[2], "threads");
  }
}

TEST(LoopOpTest, TheFirstPassFromNothingHasNoStateGradient) {
  ExecContext exec(1);
  Tape tape(&exec);
  Parameter a_log(Floats(64)), dt(Floats(64, kLoopDtInit)), b(Floats(64, 1.0f));
  Var* e = tape.New(3, 64);
  const Floats values = Noise(3 * 64, 1, 0, 1);
  std::copy(values.begin(), values.end(), e->value);
  const LoopParams params{a_log.param(), dt.param(), b.param()};
  Var* u = LoopInject(&tape, nullptr, e, params);
  Var* zero = tape.New(3, 64);
  std::fill_n(zero->value, zero->size(), 0.0f);
  Var* same = LoopInject(&tape, zero, e, params);
  ExpectSame(Floats(u->value, u->value + 192), Floats(same->value, same->value + 192), "h = 0");
  bool accumulate = false;
  std::fill_n(tape.GradTarget(u, &accumulate), u->size(), 1.0f);
  tape.Backward();
  EXPECT_TRUE(e->has_grad);
  EXPECT_FALSE(zero->has_grad) << "the second injection got no gradient";
}

}  // namespace
}  // namespace chimera
