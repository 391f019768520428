// The low-rank correction on the tape (math-backbone 8.3, HGF): gradients to both matrices, to the
// gate and to the input, all in float. The serving form is layers/low_rank.h.
#pragma once

#include <vector>

#include "layers/float_param.h"
#include "tensor/tape.h"

namespace chimera {

// One correction: A [16][cols], B [rows][16], gate [1][1]. Empty when a.value is null.
struct LowRankParam {
  FloatParam a;
  FloatParam b;
  FloatParam gate;
  float ramp = 1.0f;        // of the warm-up: the gate that acts is ramp * gate
  bool gate_learns = true;  // false: the gate gets no gradient
};

// Adds ramp * gate * B (A x) to outputs that the map of x [tokens][cols] has just made; together
// they are its rows in order. Their producer may read the gradients they get before or after.
void AddLowRank(Tape* tape, Var* x, const LowRankParam& param, const std::vector<Var*>& outputs);

}  // namespace chimera
