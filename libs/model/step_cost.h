// What one decode step has to touch: the denominator of every speed.
#pragma once

#include <cstdint>

#include "config/model_config.h"

namespace chimera {

struct StepCost {
  int64_t weights = 0;  // one for each multiply-add, the head included
  int64_t bytes = 0;    // of them in memory: codes, scales and floats
};

// One token at `loops` iterations. Matrices of a looped layer count once an iteration, for at base
// scale no cache keeps them; of the routed experts the chosen ones; the embedding once, as the
// head. The depth router, which runs once a block of tokens, is left out.
StepCost CountStep(const ModelConfig& config, int loops);

}  // namespace chimera
