// Compiled once per instruction set; plain loops that the compiler turns into vectors. No operation
// here rounds differently in a wider register, so the bits agree (decode/sum_exp.h).
#include "base/exact_math.h"
#include "decode/sum_exp.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kLanes = 16;

double Fold(double* lanes) {
  for (int width = kLanes / 2; width >= 1; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

}  // namespace

ExpSums SumExpBody(const float* values, int n, double max) {
  double mass[kLanes] = {};
  double weighted[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const double x = static_cast<double>(values[i + lane]) - max;
      const double e = ExactExp(x);
      mass[lane] += e;
      weighted[lane] += e * x;
    }
  }
  for (int lane = 0; i < n; ++i, ++lane) {
    const double x = static_cast<double>(values[i]) - max;
    const double e = ExactExp(x);
    mass[lane] += e;
    weighted[lane] += e * x;
  }
  return {Fold(mass), Fold(weighted)};
}

}  // namespace CHIMERA_ISA
}  // namespace chimera
