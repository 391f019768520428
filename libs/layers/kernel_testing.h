// What the tests of the kernels share: golden arrays, tolerances, inputs, numeric gradients.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/cpu.h"

namespace chimera {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

// An array or number of tests/golden/<file>.json, flattened: cases.<case>.<group>.<name>; '/' in
// name descends, into lists by index; an empty group is skipped.
Doubles Golden(const std::string& file, const std::string& golden_case, const std::string& group,
               const std::string& name);

Floats ToFloats(const Doubles& x);
Doubles ToDoubles(const Floats& x);

// |got - want| <= tol (1 + |want|) for every element; sizes must match.
void ExpectClose(const Floats& got, const Doubles& want, double tol, const std::string& what);
void ExpectClose(const Doubles& got, const Doubles& want, double tol, const std::string& what);
// The same bits.
void ExpectSame(const Floats& got, const Floats& want, const std::string& what);
void ExpectFinite(const Floats& x, const std::string& what);

// Uniform in [offset - scale, offset + scale), short binary fractions, one stream per seed.
Floats Noise(int64_t n, float scale, float offset, uint32_t seed);

// Element `part` of `parts` along the middle axis of [outer][parts][inner].
template <typename T>
std::vector<T> Slice(const std::vector<T>& x, int64_t parts, int64_t part, int64_t inner) {
  std::vector<T> out;
  for (size_t at = part * inner; at < x.size(); at += parts * inner) {
    out.insert(out.end(), x.begin() + at, x.begin() + at + inner);
  }
  return out;
}

// Every level this machine runs, baseline first.
std::vector<Isa> RunnableIsas();

// Compares `slope` with central differences of loss over the elements of x: |d| <= 1e-6 (1 + |.|).
template <typename Loss>
void ExpectSlopes(Doubles& x, const Doubles& slope, const std::string& what, const Loss& loss) {
  Doubles numeric(x.size());
  const double h = 1e-5;
  for (size_t i = 0; i < x.size(); ++i) {
    const double kept = x[i];
    x[i] = kept + h;
    const double above = loss();
    x[i] = kept - h;
    const double below = loss();
    x[i] = kept;
    numeric[i] = (above - below) / (2 * h);
  }
  ExpectClose(slope, numeric, 1e-6, what);
}

double Inner(const Doubles& a, const Doubles& b);

}  // namespace chimera
