// Rotary positions for heads of 64: dimension pair (i, i + 32) turns by the angle
// position * 10000^(-i / 32). Angles are reduced in double, so that positions in the millions stay
// exact (math-backbone 3.2); sine and cosine are our own polynomials: the same bits on every
// instruction set. Plain pointers, no allocation. The table is *immutable*.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "layers/head.h"

namespace chimera {

inline constexpr int kRopePairs = kHeadDim / 2;

struct RopeKernels {
  // cos, sin [32] of one position, 0 <= position < 2^27; absolute error below 1e-7.
  void (*angles)(int64_t position, float* cos, float* sin);
  // Rows of 64: y1 = x1 cos + x2 sin, y2 = x2 cos - x1 sin. y may be x.
  void (*rotate)(const float* x, int64_t rows, const float* cos, const float* sin, float* y);
  // The inverse, which is also the gradient. y may be x.
  void (*unrotate)(const float* x, int64_t rows, const float* cos, const float* sin, float* y);
};

const RopeKernels& RopeFor(Isa isa);
const RopeKernels& Rope();

}  // namespace chimera
