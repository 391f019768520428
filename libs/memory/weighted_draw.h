// Weighted draws without replacement by exponential keys (Efraimidis and Spirakis 2006): give every
// item the key -ln(u) / rate and take the k smallest. The first has a chance proportional to its
// rate, the next one to its rate among those left, and so on. Pure.
#pragma once

#include <cstdint>

#include "base/exact_math.h"
#include "base/philox.h"

namespace chimera {

// Uniform in (0, 1) with 53 bits, from two words of block `index`.
inline double OpenUniform(const PhiloxStream& random, uint64_t index) {
  const PhiloxBlock block = random.Block(index);
  const uint64_t bits = (uint64_t{block[0]} << 21) ^ (block[1] >> 11);
  return (static_cast<double>(bits) + 0.5) * 0x1p-53;
}

// u in (0, 1), mean_wait = 1 / rate > 0.
inline double ExponentialKey(double u, double mean_wait) { return -ExactLog(u) * mean_wait; }

// Never above ExponentialKey, and cheap: -ln(u) >= 1 - u.
inline double ExponentialKeyFloor(double u, double mean_wait) { return (1.0 - u) * mean_wait; }

}  // namespace chimera
