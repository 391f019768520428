// The sums behind every distribution: sum of exp(x - max) and of exp(x - max) * (x - max). 16 lanes
// in double, folded pairwise in one order: the same bits on every instruction set (DESIGN D2).
// Pure.
#pragma once

#include <span>

namespace chimera {

struct ExpSums {
  double mass = 0;
  double weighted = 0;
};

// values - max <= 0. Runs the body of the best instruction set.
ExpSums SumExp(std::span<const float> values, double max);

namespace baseline {
ExpSums SumExpBody(const float* values, int n, double max);
}
namespace avx2 {
ExpSums SumExpBody(const float* values, int n, double max);
}
namespace avx512 {
ExpSums SumExpBody(const float* values, int n, double max);
}

}  // namespace chimera
