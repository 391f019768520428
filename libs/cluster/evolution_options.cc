#include "cluster/evolution_options.h"

#include <algorithm>

namespace chimera {

EvolutionOptions EvolutionOptionsOf(const Config& config, int64_t facts_max, uint64_t seed) {
  const EvolutionConfig& c = config.evolution;
  constexpr int64_t kMib = 1 << 20;
  EvolutionOptions options;
  options.memory_growth = c.memory_growth;
  options.contrastive_validation = c.contrastive_validation;
  options.user_store = c.user_store;
  options.guidelines_enabled = c.guidelines;
  options.cases_enabled = c.cases;
  options.rollback = c.rollback;
  options.gate.writes_per_session = c.writes_per_session;
  options.contrastive.min_benefit = c.min_benefit;
  const int64_t capacity = std::min<int64_t>(config.memory.capacity, int64_t{1} << 26);
  options.pool.facts_max = facts_max > 0 ? std::min(facts_max, capacity) : capacity;
  options.pool.batch_max =
      static_cast<int>(std::min<int64_t>(options.pool.batch_max, options.pool.facts_max));
  options.pool.seed = seed;
  options.cases.cases_max = c.cases_max;
  options.cases.seed = seed;
  options.guidelines.guidelines_max = c.guidelines_max;
  options.safety.freeze_threshold = c.freeze_threshold;
  options.safety.ceiling_bytes = {c.memory_mb * kMib, c.span_bank_mb * kMib, c.episodic_mb * kMib,
                                  c.guidelines_mb * kMib};
  return options;
}

std::string EvolutionStatePath(const Config& config, const std::string& user_folder) {
  return user_folder + "/" + config.evolution.state_file;
}

}  // namespace chimera
