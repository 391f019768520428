// The obvious twin of swiglu.h, for tests: plain loops, T = float or double.
#pragma once

#include <cmath>

namespace chimera {

template <typename T>
T NaiveSigmoid(T x) {
  return 1 / (1 + std::exp(-x));
}
template <typename T>
T NaiveSilu(T x) {
  return x * NaiveSigmoid(x);
}
template <typename T>
T NaiveSiluSlope(T x) {
  const T s = NaiveSigmoid(x);
  return s + x * s * (1 - s);
}

template <typename T>
void NaiveSwiglu(const T* gate, const T* up, int n, T* out) {
  for (int i = 0; i < n; ++i) out[i] = NaiveSilu(gate[i]) * up[i];
}

// Writes dgate and dup.
template <typename T>
void NaiveSwigluBackward(const T* gate, const T* up, const T* dout, int n, T* dgate, T* dup) {
  for (int i = 0; i < n; ++i) {
    dup[i] = dout[i] * NaiveSilu(gate[i]);
    dgate[i] = dout[i] * up[i] * NaiveSiluSlope(gate[i]);
  }
}

}  // namespace chimera
