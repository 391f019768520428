// Matrices in the form the backward products take: bf16 where the CPU multiplies it fast, else
// float. For the ops on the tape only.
#pragma once

#include <cstdint>

#include "layers/linear_op.h"

namespace chimera {

// A borrowed view.
struct Operand {
  const float* f32 = nullptr;
  const uint16_t* bf16 = nullptr;
};

inline Operand Sub(const Operand& x, int64_t offset) {
  return {x.f32 == nullptr ? nullptr : x.f32 + offset,
          x.bf16 == nullptr ? nullptr : x.bf16 + offset};
}

// The weights a backward product sees: mu * t of a quantised map, else the values.
inline Operand WeightOperand(const LinearParam& w) {
  if (!w.quantized) return {w.param.value, nullptr};
  return {w.back_float.empty() ? nullptr : w.back_float.data(),
          w.back_bf16.empty() ? nullptr : w.back_bf16.data()};
}

}  // namespace chimera
