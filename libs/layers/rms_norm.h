// RMSNorm of rows: y = gamma * x / sqrt(mean(x^2) + 1e-6) (math-backbone 8.1).
// Plain pointers, no allocation; rows are contiguous (n floats each). The tables are *immutable*.
#pragma once

#include "base/cpu.h"

namespace chimera {

inline constexpr float kNormEps = 1e-6f;

// Both give the same bits on every instruction set. A caller splits rows over threads at will;
// dgamma sums rows in ascending order, so for results that do not depend on the thread count
// give one zeroed partial buffer to each fixed block of rows and add the buffers in order.
struct RmsNormKernels {
  // x, y [rows][n], gamma [n]. inv_rms [rows] receives 1/sqrt(mean + eps); may be null. y may be x.
  void (*forward)(const float* x, const float* gamma, int rows, int n, float* y, float* inv_rms);
  // dx [rows][n] is written and may be dy; dgamma [n] is added to and may be null.
  //   xn = x * inv_rms;  dx = (gamma dy - xn mean(xn gamma dy)) inv_rms;  dgamma += xn dy
  void (*backward)(const float* x, const float* gamma, const float* inv_rms, const float* dy,
                   int rows, int n, float* dx, float* dgamma);
};

const RmsNormKernels& RmsNormFor(Isa isa);
const RmsNormKernels& RmsNorm();  // the best for this CPU

}  // namespace chimera
