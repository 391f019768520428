// The injection of a loop on the tape (math-backbone 4.2), with the exact gradients of its gains.
#pragma once

#include "layers/linear_op.h"
#include "tensor/tape.h"

namespace chimera {

// All [1][d_model], without weight decay (4.1). Initially a_log = 0, dt_bias = kLoopDtInit, b = 1.
struct LoopParams {
  FloatParam a_log;
  FloatParam dt_bias;
  FloatParam b;
};

// u = Abar * h + Bbar * e for h, e [rows][d_model]; h null: zero, the state before the first pass.
// Gradients go to h, e and the parameters. To cut them at a pass (4.3), run the passes before it
// with recording off: their h is a plain value.
Var* LoopInject(Tape* tape, Var* h, Var* e, const LoopParams& params);

}  // namespace chimera
