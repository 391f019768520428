// The obvious twin of rms_norm.h, for tests: plain loops, T = float or double.
#pragma once

#include <cmath>

namespace chimera {

// y[i] = gamma[i] x[i] / sqrt(mean x^2 + eps), one row of n.
template <typename T>
void NaiveRmsNorm(const T* x, const T* gamma, int n, T* y) {
  T sum = 0;
  for (int i = 0; i < n; ++i) sum += x[i] * x[i];
  const T rms = std::sqrt(sum / n + T(1e-6));
  for (int i = 0; i < n; ++i) y[i] = gamma[i] * x[i] / rms;
}

// Adds to dx and dgamma.
template <typename T>
void NaiveRmsNormBackward(const T* x, const T* gamma, const T* dy, int n, T* dx, T* dgamma) {
  T sum = 0, along = 0;
  for (int i = 0; i < n; ++i) sum += x[i] * x[i];
  const T rms = std::sqrt(sum / n + T(1e-6));
  for (int i = 0; i < n; ++i) along += gamma[i] * dy[i] * x[i] / rms;
  for (int i = 0; i < n; ++i) {
    dgamma[i] += dy[i] * x[i] / rms;
    dx[i] += (gamma[i] * dy[i] - x[i] / rms * along / n) / rms;
  }
}

}  // namespace chimera
