// Injection and exit: the golden vectors, the bounds that keep a loop stable.
#include "layers/loop.h"

#include <cmath>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/loop_naive.h"
#include "layers/rms_norm_naive.h"
#include "tensor/kernels.h"

namespace chimera {
namespace {

struct Gains {
  Floats a, b;
};

Gains GainsOf(Isa isa, const Floats& a_log, const Floats& dt_bias, const Floats& b) {
  Gains g{Floats(b.size()), Floats(b.size())};
  LoopFor(isa).gains(a_log.data(), dt_bias.data(), b.data(), int(b.size()), g.a.data(), g.b.data());
  return g;
}

TEST(LoopGains, MatchTheGoldenVectorsOnEveryInstructionSet) {
  for (const char* name : {"three_iterations", "clamps"}) {
    const auto in = [&](const char* x) { return ToFloats(Golden("parcae", name, "in", x)); };
    for (const Isa isa : RunnableIsas()) {
      const Gains g = GainsOf(isa, in("A_log"), in("dt_bias"), in("B"));
      ExpectClose(g.a, Golden("parcae", name, "out", "Abar"), 1e-6, "Abar");
      ExpectClose(g.b, Golden("parcae", name, "out", "Bbar"), 1e-5, "Bbar");
    }
  }
  EXPECT_NEAR(kLoopDtInit, Golden("parcae", "init_dt_bias", "", "")[0], 1e-7);
  EXPECT_NEAR(GainsOf(BestIsa(), {0}, {kLoopDtInit}, {1}).a[0], std::sqrt(0.2), 1e-6);
}

// Small x is where 1 - e^-x would cancel: relative, not absolute, error.
TEST(LoopGains, StayExactFromTheSmallestToTheLargestStep) {
  for (float bias = -12; bias < 24; bias += 0.37f) {
    double a, b;
    NaiveLoopGains<double>(-0.5, bias, 1.25, &a, &b);
    const Gains g = GainsOf(BestIsa(), {-0.5f}, {bias}, {1.25f});
    EXPECT_NEAR(g.a[0] / a, 1, 3e-6) << bias;
    EXPECT_NEAR(g.b[0] / b, 1, 2e-6) << bias;
  }
}

TEST(LoopGains, NoOptimizerReachesASpectralRadiusOfOne) {
  const int n = 3 * 64;
  Floats weights = Noise(n, 1, 0, 1), m(n), v(n);
  const AdamWStep step{.lr = 1,
                       .beta1 = 0.9f,
                       .beta2 = 0.95f,
                       .eps = 1e-8f,
                       .weight_decay = 0,
                       .correction1 = 1,
                       .correction2 = 1,
                       .grad_scale = 1};
  float largest = 0, furthest = 0;
  for (int i = 0; i < 10'000; ++i) {
    Floats grad = Noise(n, 1, 0, uint32_t(i + 2));
    // A third of the channels is pushed one way all along, to both ends.
    for (int j = 0; j < n; j += 3) grad[size_t(j)] = j % 2 == 0 ? 1 : -1;
    Kernels().adamw(step, n, weights.data(), grad.data(), m.data(), v.data());
    const Floats a_log(weights.begin(), weights.begin() + 64);
    const Floats dt(weights.begin() + 64, weights.begin() + 128);
    const Gains g = GainsOf(BestIsa(), a_log, dt, Floats(64, 1.0f));
    for (size_t c = 0; c < 64; ++c) {
      largest = std::max(largest, g.a[c]);
      furthest = std::max({furthest, std::abs(a_log[c]), std::abs(dt[c])});
      ASSERT_GT(g.a[c], 0);
      ASSERT_TRUE(std::isfinite(g.b[c]));
    }
  }
  EXPECT_GT(furthest, 5000) << "the walk must leave every sensible range";
  EXPECT_LT(largest, 1.0f);
  EXPECT_GT(largest, 0.999f) << "and come to the bound";
}

TEST(LoopInjectTest, MatchesTheGoldenIterationsAndAllowsAliases) {
  const auto in = [](const char* x) {
    return ToFloats(Golden("parcae", "three_iterations", "in", x));
  };
  const Doubles h = Golden("parcae", "three_iterations", "out", "h");
  const Doubles u = Golden("parcae", "three_iterations", "out", "u");
  const Floats e = in("e");
  for (const Isa isa : RunnableIsas()) {
    const Gains g = GainsOf(isa, in("A_log"), in("dt_bias"), in("B"));
    for (size_t pass = 0; pass < 3; ++pass) {
      const Doubles before(h.begin() + (pass == 0 ? 0 : pass - 1) * 24, h.begin() + pass * 24);
      Floats state = pass == 0 ? in("h0") : ToFloats(before);
      LoopFor(isa).inject(state.data(), e.data(), g.a.data(), g.b.data(), 4, 6, state.data());
      ExpectClose(state, Doubles(u.begin() + pass * 24, u.begin() + (pass + 1) * 24), 1e-5, "u");
    }
  }
}

TEST(LoopInjectTest, EveryInstructionSetAndCutGivesTheSameBitsAndNoStateIsZeroState) {
  for (const int d : {1, 16, 70, 256}) {
    const int tokens = 5;
    const Floats h = Noise(tokens * d, 2, 0, 1), e = Noise(tokens * d, 2, 0, 2);
    const Floats a_log = Noise(d, 2, 0, 3), dt = Noise(d, 3, 0, 4), b = Noise(d, 1, 1, 5);
    Floats u0, change0;
    for (const Isa isa : RunnableIsas()) {
      const LoopKernels& k = LoopFor(isa);
      const Gains g = GainsOf(isa, a_log, dt, b);
      Floats u(h.size()), change(tokens), one(h.size()), zero(h.size()), none(h.size());
      k.inject(h.data(), e.data(), g.a.data(), g.b.data(), tokens, d, u.data());
      for (int t = 0; t < tokens; ++t) {
        k.inject(&h[size_t(t * d)], &e[size_t(t * d)], g.a.data(), g.b.data(), 1, d,
                 &one[size_t(t * d)]);
      }
      ExpectSame(one, u, "token by token");
      const Floats blank(h.size());
      k.inject(blank.data(), e.data(), g.a.data(), g.b.data(), tokens, d, zero.data());
      k.inject(nullptr, e.data(), g.a.data(), g.b.data(), tokens, d, none.data());
      ExpectSame(none, zero, "null h");
      EXPECT_NE(none, u) << "h must act";
      k.relative_change(u.data(), h.data(), tokens, d, change.data());
      if (isa == Isa::kBaseline) u0 = u, change0 = change;
      ExpectSame(u, u0, IsaName(isa));
      ExpectSame(change, change0, IsaName(isa));
      const Doubles ud = ToDoubles(u), hd = ToDoubles(h);
      for (int t = 0; t < tokens; ++t) {
        EXPECT_NEAR(change[size_t(t)],
                    NaiveRelativeChange(&ud[size_t(t * d)], &hd[size_t(t * d)], d),
                    2e-5 * (1 + change[size_t(t)]));
      }
    }
  }
}

// 4.2: branches bounded by K keep the iterates below (|Bbar e| + K) / (1 - rho).
TEST(LoopInjectTest, IteratesStayBelowTheirBoundOverManyPasses) {
  const int d = 64;
  const Floats e = Noise(d, 2, 0, 1), w = Noise(d * d, 0.4f, 0, 2), ones(d, 1.0f);
  const Gains g = GainsOf(BestIsa(), Noise(d, 1, 0, 3), Noise(d, 2, 0, 4), ones);
  double rho = 0, input = 0, k = 0;
  for (int i = 0; i < d; ++i) {
    rho = std::max(rho, double{g.a[size_t(i)]});
    input += std::pow(double{g.b[size_t(i)]} * e[size_t(i)], 2);
    for (int j = 0; j < d; ++j) k += double{w[size_t(i * d + j)]} * w[size_t(i * d + j)];
  }
  k = std::sqrt(k * d);  // |W n| <= |W|_F |n|, |n| <= sqrt(d)
  const double bound = (std::sqrt(input) + k) / (1 - rho);
  Floats h(d), u(d), n(d);
  for (int pass = 1; pass <= 64; ++pass) {
    Loop().inject(h.data(), e.data(), g.a.data(), g.b.data(), 1, d, u.data());
    NaiveRmsNorm(u.data(), ones.data(), d, n.data());
    double size = 0;
    for (int i = 0; i < d; ++i) {
      h[size_t(i)] = u[size_t(i)];
      for (int j = 0; j < d; ++j) h[size_t(i)] += w[size_t(i * d + j)] * n[size_t(j)];
      size += double{h[size_t(i)]} * h[size_t(i)];
    }
    ASSERT_LE(std::sqrt(size), bound) << "pass " << pass;
  }
}

// On a contraction every pass changes less, and the exit fires where the change says.
TEST(LoopExitTest, ChangeFallsMonotonouslyOnAContractionAndEndsTheLoop) {
  const int d = 70, passes = 12;
  const Floats e = Noise(d, 2, 0, 1), none(d);
  const Gains g = GainsOf(BestIsa(), none, Floats(d, kLoopDtInit), Floats(d, 1.0f));
  Floats h(d), before(d), u(d), change(passes);
  for (int pass = 0; pass < passes; ++pass) {
    before = h;
    Loop().inject(h.data(), e.data(), g.a.data(), g.b.data(), 1, d, u.data());
    for (size_t i = 0; i < h.size(); ++i) h[i] = 0.6f * u[i] + 0.3f * std::tanh(u[i]);
    Loop().relative_change(h.data(), before.data(), 1, d, &change[size_t(pass)]);
    if (pass > 0) {
      EXPECT_LT(change[size_t(pass)], change[size_t(pass) - 1]);
    }
  }
  EXPECT_EQ(change[0], 1) << "from zero everything is new";
  const LoopExit rule{.loops_min = 1, .loops_max = passes, .threshold = 0.01f};
  int loops = 1;
  while (!ShouldExit(rule, loops, change[size_t(loops) - 1])) ++loops;
  EXPECT_EQ(loops, OracleDepth(change.data(), passes, 0.01f));
  EXPECT_GT(loops, 1);
  EXPECT_LT(loops, passes);
  EXPECT_GE(change[size_t(loops) - 2], 0.01f);
  EXPECT_LT(change[size_t(loops) - 1], 0.01f);
}

TEST(LoopExitTest, RuleKeepsItsBoundsAndDegenerateChangesAreDefined) {
  const LoopExit rule{.loops_min = 2, .loops_max = 4, .threshold = 0.01f};
  EXPECT_FALSE(ShouldExit(rule, 1, 0));
  EXPECT_TRUE(ShouldExit(rule, 2, 0.0099f));
  EXPECT_FALSE(ShouldExit(rule, 2, 0.01f));
  EXPECT_TRUE(ShouldExit(rule, 4, 9));
  EXPECT_FALSE(ShouldExit({.loops_min = 1, .loops_max = 4, .threshold = 0}, 3, 0));
  const float slow[6] = {1, 0.5f, 0.25f, 0.125f, 0.06f, 0.03f};
  EXPECT_EQ(OracleDepth(slow, 6, 0.01f), 6);
  EXPECT_EQ(OracleDepth(slow, 6, 0.1f), 5);
  EXPECT_EQ(OracleDepth(slow, 6, 2), 1);

  const Floats zero(20), one(20, 1.0f);
  float change = -1;
  Loop().relative_change(zero.data(), zero.data(), 1, 20, &change);
  EXPECT_EQ(change, 0);
  Loop().relative_change(zero.data(), one.data(), 1, 20, &change);
  EXPECT_TRUE(std::isinf(change));
  Loop().relative_change(one.data(), nullptr, 1, 20, &change);
  EXPECT_EQ(change, 1);
}

}  // namespace
}  // namespace chimera
