#include "cluster/evolution_options.h"

#include <string>

#include "base/file.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

const char kFull[] = CHIMERA_SOURCE_DIR "/configs/chimera-5.3.json";

TEST(EvolutionOptions, DefaultsAreThoseOfTheConfiguration) {
  const auto config = LoadConfig(kFull);
  ASSERT_TRUE(config.ok()) << config.status();
  const EvolutionOptions made = EvolutionOptionsOf(*config, 0, 0), defaults;
  EXPECT_EQ(made.memory_growth, defaults.memory_growth);
  EXPECT_EQ(made.contrastive_validation, defaults.contrastive_validation);
  EXPECT_EQ(made.user_store, defaults.user_store);
  EXPECT_EQ(made.guidelines_enabled, defaults.guidelines_enabled);
  EXPECT_EQ(made.cases_enabled, defaults.cases_enabled);
  EXPECT_EQ(made.rollback, defaults.rollback);
  EXPECT_EQ(made.gate.writes_per_session, defaults.gate.writes_per_session);
  EXPECT_EQ(made.contrastive.min_benefit, defaults.contrastive.min_benefit);
  EXPECT_EQ(made.pool.facts_max, defaults.pool.facts_max);
  EXPECT_EQ(made.pool.batch_max, defaults.pool.batch_max);
  EXPECT_EQ(made.cases.cases_max, defaults.cases.cases_max);
  EXPECT_EQ(made.guidelines.guidelines_max, defaults.guidelines.guidelines_max);
  EXPECT_EQ(made.safety.freeze_threshold, defaults.safety.freeze_threshold);
  EXPECT_EQ(made.safety.ceiling_bytes, defaults.safety.ceiling_bytes);
  EXPECT_EQ(EvolutionStatePath(*config, "data/ada"), "data/ada/chimera51_evolution.state");
}

TEST(EvolutionOptions, EveryKeyReachesItsOption) {
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
  const EvolutionOptions made = EvolutionOptionsOf(*config, 5000, 42);
  EXPECT_FALSE(made.memory_growth || made.contrastive_validation || made.user_store);
  EXPECT_FALSE(made.guidelines_enabled || made.cases_enabled || made.rollback);
  EXPECT_EQ(made.gate.writes_per_session, 7);
  EXPECT_EQ(made.contrastive.min_benefit, 0.25);
  EXPECT_EQ(made.pool.facts_max, 1000);
  EXPECT_EQ(EvolutionOptionsOf(*config, 20, 42).pool.facts_max, 20);
  EXPECT_EQ(EvolutionOptionsOf(*config, 2, 42).pool.batch_max, 2);
  EXPECT_EQ(made.pool.seed, 42u);
  EXPECT_EQ(made.cases.seed, 42u);
  EXPECT_EQ(made.cases.cases_max, 9);
  EXPECT_EQ(made.guidelines.guidelines_max, 8);
  EXPECT_EQ(made.safety.freeze_threshold, 0.125);
  constexpr int64_t kMib = 1 << 20;
  EXPECT_EQ(made.safety.ceiling_bytes,
            (std::array<int64_t, 4>{3 * kMib, 4 * kMib, 5 * kMib, 6 * kMib}));
  EXPECT_EQ(EvolutionStatePath(*config, "d"), "d/learned.state");
}

}  // namespace
}  // namespace chimera
