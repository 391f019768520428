// Vector loops of the span knot (span_knot.h, docs/layers/span_knot.md), compiled once per
// instruction set with equal bits. `bits` is a multiple of 64; bit j of a sketch is bit j % 64 of
// word j / 64, and a set bit stands for +1. Plain pointers, no aliasing, no allocation.
// The tables are *immutable*.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace chimera {

// The local field of a bit is candidate * c_j plus, for each sketch, half its weight with the sign
// of the sketch's bit. An absent sketch has coefficient 0 and any words.
struct SpanKnotTerms {
  float candidate = 0.0f;
  float half[4] = {};              // memory, binding, grammar, debt
  const uint64_t* sketch[4] = {};  // the second is the previous sketch, before binding
};

struct SpanKnotFieldSums {
  float gain_sum = 0.0f;  // sum of the gains: bits * (energy of the start - constant part)
  float gain_max = 0.0f;  // largest gain, at least 0
};

struct SpanKnotKernels {
  // z[r] = sum of w[r][c] x[c]: rows of Dot (tensor/vec.h), w [rows][cols].
  void (*project)(const float* w, int rows, int cols, const float* x, float* z);
  // pre [3][bits] of state, candidate, role. Writes start (the sign of the state's) and gains
  // [bits]: gain_j = -start_j field_j, positive where a flip lowers the energy.
  SpanKnotFieldSums (*fields)(const float* pre, int bits, const SpanKnotTerms& terms,
                              uint64_t* start, float* gains);
  // How many of x[bits] are >= least.
  int (*count)(const float* x, int bits, float least);
  // Those, as (bits of the float) << 32 | (2^32 - 1 - index): larger means larger gain, then lower
  // index. least > 0. out holds count(...) entries. Returns how many.
  int (*collect)(const float* x, int bits, float least, uint64_t* out);
  // Bit j of plane set where |x[j]| < limit.
  void (*below)(const float* x, int bits, float limit, uint64_t* plane);
  // r[i] = scale * sum over bits of planes[i] times sketch (+-1): planes [rank][bits / 64].
  void (*readout)(const uint64_t* planes, int rank, int bits, const uint64_t* sketch, float scale,
                  float* r);
  // y[i] = gate[i] * Dot(back[i], r), back [width][rank].
  void (*feed_back)(const float* back, const float* gate, const float* r, int width, int rank,
                    float* y);
};

const SpanKnotKernels& SpanKnotKernelsFor(Isa isa);

}  // namespace chimera
