// The options of a user's evolution (memory/evolution.h) out of a model's configuration. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "config/config.h"
#include "memory/evolution.h"

namespace chimera {

// facts_max: of one user, at most semantic_memory.capacity (a larger value, and 0, mean that).
EvolutionOptions EvolutionOptionsOf(const Config& config, int64_t facts_max, uint64_t seed);

// The state file of a user inside a folder of his own.
std::string EvolutionStatePath(const Config& config, const std::string& user_folder);

}  // namespace chimera
