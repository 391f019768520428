#include "hdc/search_policy.h"

#include <cmath>

#include "gtest/gtest.h"

namespace chimera {
namespace {

TEST(SearchPolicy, RecallIsTheFormulaOfC3) {
  for (const double d : {0.05, 0.1, 0.2, 0.3, 0.4, 0.5}) {
    const double same = std::pow(1 - d, 14), flipped = same + 14 * d * std::pow(1 - d, 13);
    EXPECT_NEAR(ExpectedRecall(kExactProbing, d), 1 - std::pow(1 - same, 64), 1e-12);
    EXPECT_NEAR(ExpectedRecall(kFlipsOnAll, d), 1 - std::pow(1 - flipped, 64), 1e-12);
    EXPECT_NEAR(ExpectedRecall(kFlipsOn16, d),
                1 - std::pow(1 - same, 48) * std::pow(1 - flipped, 16), 1e-12);
    // At least two of 20: neither none nor exactly one.
    const SearchPolicy votes{.tables = 20, .min_votes = 2};
    EXPECT_NEAR(ExpectedRecall(votes, d),
                1 - std::pow(1 - same, 20) - 20 * same * std::pow(1 - same, 19), 1e-12);
    EXPECT_EQ(ExpectedRecall(kScan, d), 1);
  }
}

TEST(SearchPolicy, TheCheapestFindsWhatWasAskedFor) {
  for (const size_t n : {size_t{1000}, size_t{20000}, size_t{200000}}) {
    for (const double d : {0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5}) {
      for (const double recall : {0.5, 0.9, 0.99, 1.0}) {
        const SearchPolicy policy = CheapestPolicy(n, d, recall);
        EXPECT_GE(ExpectedRecall(policy, d), recall) << n << " " << d;
        EXPECT_LE(ExpectedCost(policy, n), ExpectedCost(kScan, n));
        EXPECT_EQ(policy, CheapestPolicy(n, d, recall));
      }
    }
  }
}

TEST(SearchPolicy, ScansWhereThatIsCheaper) {
  EXPECT_EQ(CheapestPolicy(3, 0.1, 0.9), kScan);
  EXPECT_EQ(CheapestPolicy(200000, 0.5, 0.9), kScan);
  EXPECT_EQ(CheapestPolicy(200000, 0.1, 1.0), kScan);
  EXPECT_FALSE(CheapestPolicy(200000, 0.1, 0.99).scan());
  // The nearer what is looked for, the less is looked at.
  EXPECT_LT(ExpectedCost(CheapestPolicy(200000, 0.1, 0.95), 200000),
            ExpectedCost(CheapestPolicy(200000, 0.2, 0.95), 200000));
}

}  // namespace
}  // namespace chimera
