// The obvious twin of efla.h, for tests: T = float or double, any head size d.
#pragma once

#include <cmath>

#include "layers/gated_delta_naive.h"

namespace chimera {

// a = (1 - e^(-beta lambda)) / lambda, beta at lambda = 0.
template <typename T>
T NaiveEflaGain(T beta, T lambda) {
  return lambda == 0 ? beta : -std::expm1(-beta * lambda) / lambda;
}

// da/dlambda; the series where the closed form cancels.
template <typename T>
T NaiveEflaSlope(T beta, T lambda) {
  const T x = beta * lambda;
  if (x < T(1e-3)) return beta * beta * (-T(1) / 2 + x / 3 - x * x / 8 + x * x * x / 30);
  return (x * std::exp(-x) + std::expm1(-x)) / (lambda * lambda);
}

template <typename T>
T NaiveSquares(const T* k, int d) {
  T sum = 0;
  for (int i = 0; i < d; ++i) sum += k[i] * k[i];
  return sum;
}

// The effective gate of one token of one head, time softplus(b).
template <typename T>
T NaiveEflaGate(T b, const T* k, int d) {
  return NaiveEflaGain(NaiveSoftplus(b), NaiveSquares(k, d));
}

// Writes db, adds to dk [d].
template <typename T>
void NaiveEflaGateBackward(T b, const T* k, int d, T d_gain, T* db, T* dk) {
  const T time = NaiveSoftplus(b), lambda = NaiveSquares(k, d);
  *db = d_gain * std::exp(-time * lambda) * NaiveSigmoid(b);
  for (int i = 0; i < d; ++i) dk[i] += 2 * k[i] * d_gain * NaiveEflaSlope(time, lambda);
}

}  // namespace chimera
