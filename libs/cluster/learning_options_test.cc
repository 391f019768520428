#include "cluster/learning_options.h"

#include <string>

#include "base/file.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

const char kFull[] = CHIMERA_SOURCE_DIR "/configs/chimera-5.3.json";

TEST(LearningOptions, DefaultsAreThoseOfTheConfiguration) {
  const auto config = LoadConfig(kFull);
  ASSERT_TRUE(config.ok()) << config.status();
  const UserLearningOptions made = LearningOptionsOf(*config, 0, 0), defaults;
  EXPECT_EQ(made.evolution.memory_growth, defaults.evolution.memory_growth);
  EXPECT_EQ(made.evolution.contrastive_validation, defaults.evolution.contrastive_validation);
  EXPECT_EQ(made.user_store, defaults.user_store);
  EXPECT_EQ(made.guidelines_enabled, defaults.guidelines_enabled);
  EXPECT_EQ(made.cases_enabled, defaults.cases_enabled);
  EXPECT_EQ(made.evolution.rollback, defaults.evolution.rollback);
  EXPECT_EQ(made.evolution.gate.writes_per_session, defaults.evolution.gate.writes_per_session);
  EXPECT_EQ(made.evolution.contrastive.min_benefit, defaults.evolution.contrastive.min_benefit);
  EXPECT_EQ(made.evolution.pool.facts_max, defaults.evolution.pool.facts_max);
  EXPECT_EQ(made.evolution.pool.batch_max, defaults.evolution.pool.batch_max);
  EXPECT_EQ(made.cases.cases_max, defaults.cases.cases_max);
  EXPECT_EQ(made.guidelines.guidelines_max, defaults.guidelines.guidelines_max);
  EXPECT_EQ(made.evolution.safety.freeze_threshold, defaults.evolution.safety.freeze_threshold);
  EXPECT_EQ(made.evolution.safety.ceiling_bytes, defaults.evolution.safety.ceiling_bytes);
  EXPECT_EQ(made.state_file, defaults.state_file);
}

TEST(LearningOptions, EveryKeyReachesItsOption) {
  const auto text = ReadFile(kFull, kConfigBytesMax);
  ASSERT_TRUE(text.ok());
  const auto config = ParseConfig(*text, {R"({
    "semantic_memory": {"capacity": 1000},
    "diagnostics": {"thresholds": {"min_contrastive_benefit": 0.25}},
    "self_evolution": {
      "tier1": {"memory_growth": {"enabled": false, "contrastive_validation": false,
                                  "user_explicit_store": false, "max_per_session": 7}},
      "tier2": {"meta_guidelines": {"enabled": false, "max": 8},
                "episodic_cases": {"enabled": false, "max_cases": 9}},
      "safety": {"rollback_on_degradation": false, "freeze_threshold": 0.125,
                 "state_file": "learned.state",
                 "max_growth_mb": {"memory": 3, "span_bank": 4, "episodic": 5, "guidelines": 6}}}
  })"});
  ASSERT_TRUE(config.ok()) << config.status();
  const UserLearningOptions made = LearningOptionsOf(*config, 5000, 42);
  EXPECT_FALSE(made.evolution.memory_growth || made.evolution.contrastive_validation ||
               made.user_store);
  EXPECT_FALSE(made.guidelines_enabled || made.cases_enabled || made.evolution.rollback);
  EXPECT_EQ(made.evolution.gate.writes_per_session, 7);
  EXPECT_EQ(made.evolution.contrastive.min_benefit, 0.25);
  EXPECT_EQ(made.evolution.pool.facts_max, 1000);
  EXPECT_EQ(LearningOptionsOf(*config, 20, 42).evolution.pool.facts_max, 20);
  EXPECT_EQ(LearningOptionsOf(*config, 2, 42).evolution.pool.batch_max, 2);
  EXPECT_EQ(made.evolution.pool.seed, 42u);
  EXPECT_EQ(made.cases.seed, 42u);
  EXPECT_EQ(made.cases.cases_max, 9);
  EXPECT_EQ(made.guidelines.guidelines_max, 8);
  EXPECT_EQ(made.evolution.safety.freeze_threshold, 0.125);
  constexpr int64_t kMib = 1 << 20;
  EXPECT_EQ(made.evolution.safety.ceiling_bytes,
            (std::array<int64_t, 4>{3 * kMib, 4 * kMib, 5 * kMib, 6 * kMib}));
  EXPECT_EQ(made.state_file, "learned.state");
}

}  // namespace
}  // namespace chimera
