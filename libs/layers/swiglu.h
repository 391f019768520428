// The elementwise half of SwiGLU: out = SiLU(gate) * up, SiLU(x) = x / (1 + e^-x)
// (math-backbone 6.1). Plain pointers of n floats, no alignment needed, any split over threads.
// Tables are *immutable*.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace chimera {

// Both give the same bits on every instruction set.
struct SwigluKernels {
  // out may be gate or up.
  void (*forward)(const float* gate, const float* up, int64_t n, float* out);
  // Writes dgate and dup; dgate may be gate or dout, dup may be up.
  void (*backward)(const float* gate, const float* up, const float* dout, int64_t n, float* dgate,
                   float* dup);
};

const SwigluKernels& SwigluFor(Isa isa);
const SwigluKernels& Swiglu();

}  // namespace chimera
