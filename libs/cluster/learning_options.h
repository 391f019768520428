// How a user's learning (memory/user_learning.h) is set up by a model's configuration. Pure.
#pragma once

#include <cstdint>

#include "config/config.h"
#include "memory/user_learning.h"

namespace chimera {

// facts_max: of one user, at most semantic_memory.capacity (a larger value, and 0, mean that).
UserLearningOptions LearningOptionsOf(const Config& config, int64_t facts_max, uint64_t seed);

}  // namespace chimera
