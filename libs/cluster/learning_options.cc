#include "cluster/learning_options.h"

#include <algorithm>

namespace chimera {

UserLearningOptions LearningOptionsOf(const Config& config, int64_t facts_max, uint64_t seed) {
  const EvolutionConfig& c = config.evolution;
  constexpr int64_t kMib = 1 << 20;
  UserLearningOptions options;
  options.user_store = c.user_store;
  options.guidelines_enabled = c.guidelines;
  options.cases_enabled = c.cases;
  options.cases.cases_max = static_cast<int>(std::min<int64_t>(c.cases_max, kCasesPerUserMax));
  options.cases.seed = seed;
  options.guidelines.guidelines_max =
      static_cast<int>(std::min<int64_t>(c.guidelines_max, kGuidelinesPerUserMax));
  options.state_file = c.state_file;
  EvolutionOptions& evolution = options.evolution;
  evolution.memory_growth = c.memory_growth;
  evolution.contrastive_validation = c.contrastive_validation;
  evolution.rollback = c.rollback;
  evolution.gate.writes_per_session = c.writes_per_session;
  evolution.contrastive.min_benefit = c.min_benefit;
  const int64_t capacity = std::min<int64_t>(config.memory.capacity, int64_t{1} << 26);
  evolution.pool.facts_max = facts_max > 0 ? std::min(facts_max, capacity) : capacity;
  evolution.pool.batch_max =
      static_cast<int>(std::min<int64_t>(evolution.pool.batch_max, evolution.pool.facts_max));
  evolution.pool.seed = seed;
  evolution.safety.freeze_threshold = c.freeze_threshold;
  evolution.safety.ceiling_bytes = {c.memory_mb * kMib, c.span_bank_mb * kMib, c.episodic_mb * kMib,
                                    c.guidelines_mb * kMib};
  return options;
}

}  // namespace chimera
