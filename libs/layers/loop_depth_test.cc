#include "layers/loop_depth.h"

#include <array>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace chimera {
namespace {

// The law of 4.3 for mean 2, with the 10 % of uniform draws mixed in.
std::array<double, 7> Poisson() {
  std::array<double, 7> p{};
  double term = std::exp(-2.0), rest = 1;
  p[1] = term * 3;  // none and one
  term *= 2;
  rest -= p[1];
  for (int i = 2; i < 6; ++i) {
    term *= 2.0 / i;
    p[size_t(i)] = term;
    rest -= term;
  }
  p[6] = rest;
  return p;
}

double ChiSquare(const std::array<int64_t, 7>& counts, const std::array<double, 7>& p) {
  int64_t n = 0;
  for (const int64_t c : counts) n += c;
  double sum = 0;
  for (size_t i = 1; i < 7; ++i) {
    const double want = p[i] * static_cast<double>(n);
    sum += (static_cast<double>(counts[i]) - want) * (static_cast<double>(counts[i]) - want) / want;
  }
  return sum;
}

constexpr double kLimit = 20.5;  // chi-square of five degrees: 99.9 %

TEST(LoopDepthTest, StatedProbabilitiesAreThoseOfTheLaw) {
  const std::array<double, 7> p = Poisson();
  const double stated[7] = {0, .406, .271, .180, .090, .036, .017};
  double mean = 0;
  for (size_t i = 1; i < 7; ++i) {
    EXPECT_NEAR(p[i], stated[i], 6e-4);
    mean += p[i] * static_cast<double>(i);
  }
  EXPECT_NEAR(mean, 2.1, 0.05);
}

TEST(LoopDepthTest, DrawsFollowTheLawInEveryClass) {
  const LoopDepthOptions options;
  const std::array<double, 7> poisson = Poisson();
  std::array<double, 7> uniform{}, mixed{};
  for (size_t i = 1; i < 7; ++i) {
    uniform[i] = 1.0 / 6;
    mixed[i] = 0.9 * poisson[i] + 0.1 / 6;
  }
  std::array<int64_t, 7> all{}, common{}, even{}, blocks{};
  int64_t n_uniform = 0, n_block = 0, n_both = 0;
  const int steps = 1000, sequences = 40;
  for (int step = 0; step < steps; ++step) {
    for (uint32_t s = 0; s < sequences; ++s) {
      const LoopDepths d(options, 53, uint64_t(step), s);
      n_uniform += d.uniform();
      n_block += d.by_block();
      n_both += d.uniform() && d.by_block();
      ++all[size_t(d.Depth(0))];
      ++(d.uniform() ? even : common)[size_t(d.Depth(0))];
      if (d.by_block() && !d.uniform()) {
        for (int b = 1; b < 4; ++b) ++blocks[size_t(d.Depth(b))];
      }
    }
  }
  const double n = steps * sequences;
  EXPECT_NEAR(static_cast<double>(n_uniform) / n, 0.10, 4 * std::sqrt(0.09 / n));
  EXPECT_NEAR(static_cast<double>(n_block) / n, 0.25, 4 * std::sqrt(0.1875 / n));
  EXPECT_NEAR(static_cast<double>(n_both) / n, 0.025, 4 * std::sqrt(0.0244 / n));
  EXPECT_LT(ChiSquare(all, mixed), kLimit);
  EXPECT_LT(ChiSquare(common, poisson), kLimit);
  EXPECT_LT(ChiSquare(even, uniform), kLimit);
  EXPECT_LT(ChiSquare(blocks, poisson), kLimit);
  EXPECT_GT(ChiSquare(all, poisson), kLimit) << "the test tells the laws apart";
}

TEST(LoopDepthTest, OneDepthASequenceOrOneABlockAndTheSameAgain) {
  const LoopDepthOptions options;
  int changed = 0, whole = 0;
  for (uint32_t s = 0; s < 200; ++s) {
    const LoopDepths d(options, 1, 7, s), again(options, 1, 7, s);
    bool moves = false;
    for (int b = 0; b < 32; ++b) {
      EXPECT_EQ(d.Depth(b), again.Depth(b));
      EXPECT_GE(d.Depth(b), 1);
      EXPECT_LE(d.Depth(b), 6);
      moves |= d.Depth(b) != d.Depth(0);
    }
    EXPECT_EQ(moves, d.by_block());
    ++(moves ? changed : whole);
  }
  EXPECT_GT(changed, 0);
  EXPECT_GT(whole, 0);
}

TEST(LoopDepthTest, SeedStepAndSequenceAllMatter) {
  const LoopDepthOptions options;
  const auto draws = [&](uint64_t seed, uint64_t step, uint32_t first) {
    std::vector<int> out;
    for (uint32_t s = 0; s < 64; ++s)
      out.push_back(LoopDepths(options, seed, step, first + s).Depth(0));
    return out;
  };
  const std::vector<int> base = draws(1, 1, 0);
  EXPECT_EQ(base, draws(1, 1, 0));
  EXPECT_NE(base, draws(2, 1, 0));
  EXPECT_NE(base, draws(1, 2, 0));
  EXPECT_NE(base, draws(1, 1, 64));
}

TEST(LoopDepthTest, OptionsBoundTheDraws) {
  for (uint32_t s = 0; s < 300; ++s) {
    EXPECT_EQ(LoopDepths({.loops_min = 3, .loops_max = 3}, 1, 0, s).Depth(0), 3);
    const LoopDepths d({.mean = 4, .loops_min = 2, .loops_max = 5, .block_share = 1}, 1, 0, s);
    EXPECT_TRUE(d.by_block());
    EXPECT_GE(d.Depth(9), 2);
    EXPECT_LE(d.Depth(9), 5);
  }
  EXPECT_EQ(TapedLoops(1), 1);
  EXPECT_EQ(TapedLoops(2), 1);
  EXPECT_EQ(TapedLoops(3), 2);
  EXPECT_EQ(TapedLoops(6), 3);
}

}  // namespace
}  // namespace chimera
