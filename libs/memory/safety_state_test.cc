#include "memory/safety_state.h"

#include <string>

#include "gtest/gtest.h"
#include "memory/policy_testing.h"

namespace chimera {
namespace {

// Tokens until a failure share freezes, at most 4,096; every `every`-th token fails.
int TokensToFreeze(SafetyState* safety, int every) {
  for (int n = 1; n <= 4096; ++n) {
    if (safety->OnToken(n % every == 0)) return n;
  }
  return 0;
}

TEST(SafetyState, FailuresAboveFivePercentFreeze) {
  SafetyState always, tenth, fiftieth;
  EXPECT_EQ(TokensToFreeze(&always, 1), 14);
  EXPECT_EQ(always.state(), EvolutionState::kFrozen);
  EXPECT_EQ(always.reason(), FreezeReason::kFailures);
  EXPECT_GT(always.failure_rate(), 0.05);  // kept to be looked at
  const int n = TokensToFreeze(&tenth, 10);
  EXPECT_GT(n, 100);
  EXPECT_LE(n, 256);
  EXPECT_EQ(TokensToFreeze(&fiftieth, 50), 0);
  EXPECT_EQ(fiftieth.state(), EvolutionState::kNormal);
  EXPECT_NEAR(fiftieth.failure_rate(), 0.02, 0.003);
}

TEST(SafetyState, ANegativeMeanOf64EvaluationsFreezes) {
  SafetyState safety;
  for (int i = 0; i < 63; ++i) EXPECT_FALSE(safety.OnEvaluation(-0.5));
  EXPECT_TRUE(safety.OnEvaluation(-0.5));
  EXPECT_EQ(safety.state(), EvolutionState::kFrozen);
  EXPECT_EQ(safety.reason(), FreezeReason::kContrast);
  // The window slides: what was good long ago does not hide what is bad now.
  SafetyState sliding;
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(sliding.OnEvaluation(0.2));
  int bad = 0;
  while (!sliding.OnEvaluation(-0.2)) ++bad;
  EXPECT_EQ(bad, 32);  // the 33rd makes the mean negative
  SafetyState neutral;
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(neutral.OnEvaluation(0));
}

TEST(SafetyState, WalksThroughItsStates) {
  SafetyState safety;
  EXPECT_TRUE(safety.AdmitWrite());
  EXPECT_FALSE(safety.Restored().ok());
  ASSERT_GT(TokensToFreeze(&safety, 1), 0);
  EXPECT_FALSE(safety.AdmitWrite());
  EXPECT_FALSE(safety.OnToken(true));  // nothing to watch
  ASSERT_TRUE(safety.Restored().ok());
  EXPECT_EQ(safety.state(), EvolutionState::kProbation);
  EXPECT_EQ(safety.failure_rate(), 0);
  int admitted = 0;
  for (int i = 0; i < 800; ++i) admitted += safety.AdmitWrite();
  EXPECT_EQ(admitted, 100);
  for (int i = 0; i < 4095; ++i) EXPECT_FALSE(safety.OnToken(false));
  EXPECT_EQ(safety.state(), EvolutionState::kProbation);
  EXPECT_FALSE(safety.OnToken(false));
  EXPECT_EQ(safety.state(), EvolutionState::kNormal);
  // Later it may freeze again; a failure in probation turns it off.
  ASSERT_GT(TokensToFreeze(&safety, 1), 0);
  ASSERT_TRUE(safety.Restored().ok());
  for (int i = 0; i < 64; ++i) safety.OnEvaluation(-1);
  EXPECT_EQ(safety.state(), EvolutionState::kOff);
  EXPECT_EQ(safety.Restored().message(), "evolution is off; only frozen leads to probation");
  for (int i = 0; i < 10000; ++i) safety.OnToken(false);
  EXPECT_FALSE(safety.AdmitWrite());
  EXPECT_EQ(safety.freezes(), 3);
  safety.Reset();
  EXPECT_EQ(safety.state(), EvolutionState::kNormal);
  EXPECT_EQ(safety.Encode(), SafetyState().Encode());
}

TEST(SafetyState, CeilingsAreCheckedBeforeTheWrite) {
  const SafetyState safety;
  constexpr int64_t kMib = 1 << 20;
  struct Case {
    GrowthClass growth;
    int64_t ceiling;
  };
  for (const Case& c : {Case{GrowthClass::kMemory, 512 * kMib},
                        {GrowthClass::kSpanBank, 128 * kMib},
                        {GrowthClass::kEpisodic, 8 * kMib},
                        {GrowthClass::kGuidelines, 2 * kMib}}) {
    EXPECT_TRUE(safety.CheckGrowth(c.growth, c.ceiling - 100, 100).ok());
    EXPECT_FALSE(safety.CheckGrowth(c.growth, c.ceiling - 100, 101).ok());
    EXPECT_FALSE(safety.CheckGrowth(c.growth, INT64_MAX, 1).ok());
    EXPECT_FALSE(safety.CheckGrowth(c.growth, 0, INT64_MAX).ok());
  }
  EXPECT_EQ(safety.CheckGrowth(GrowthClass::kGuidelines, 2 * kMib, 10).message(),
            "guidelines of 2097152 bytes would grow by 10 above its ceiling of 2097152 bytes");
}

TEST(SafetyState, DecodeSurvivesHostileBytes) {
  SafetyState safety;
  for (int i = 0; i < 70; ++i) safety.OnEvaluation(0.01 * i);
  safety.OnToken(true);
  const auto reencode = [](std::string_view bytes) -> absl::StatusOr<std::string> {
    auto decoded = SafetyState::Decode({}, bytes);
    if (!decoded.ok()) return decoded.status();
    return decoded->Encode();
  };
  ExpectHardenedDecode(safety.Encode(), reencode, 2000);
  EXPECT_EQ(safety.Encode().size(), 320u);
  ASSERT_GT(TokensToFreeze(&safety, 1), 0);
  EXPECT_EQ(SafetyState::Decode({}, safety.Encode())->state(), EvolutionState::kFrozen);
}

}  // namespace
}  // namespace chimera
