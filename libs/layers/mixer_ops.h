// The two recurrent mixers on the tape, between their input and output projections:
// short convolution, gates, recurrence in chunks, head norm and output gate.
#pragma once

#include "layers/efla.h"
#include "layers/linear_op.h"
#include "layers/train_batch.h"
#include "tensor/tape.h"

namespace chimera {

// math-backbone 1.1, and 7 for the other rules. Shapes as in model/layout.cc.
struct GatedDeltaParams {
  FloatParam conv;       // [3 * width][4]
  FloatParam a_log;      // [1][n_heads]
  FloatParam dt_bias;    // [1][n_heads]
  FloatParam head_norm;  // [1][64]
  // kEfla uses neither a nor a_log and dt_bias: their gradients are zero.
  DeltaRule rule = DeltaRule::kBeta;
};

// qkv [rows][3 * width], gate [rows][width], a and b [rows][n_heads] -> y [rows][width].
// State of a sequence: conv inputs [3][3 * width], then n_heads matrices 64 x 64.
Var* GatedDeltaMixer(Tape* tape, const TrainBatch& batch, const GatedDeltaParams& params, Var* qkv,
                     Var* gate, Var* a, Var* b);

// math-backbone 2.1.
struct MlstmParams {
  FloatParam gate_bias;  // [1][2 * n_heads]: input, forget
  FloatParam head_norm;  // [1][width]
};

// q, k, v and gate [rows][width], i and f [rows][n_heads] before bias and cap -> y [rows][width].
// State of a sequence: n_heads matrices 64 x 64, n_heads vectors n, n_heads scalars m.
Var* MlstmMixer(Tape* tape, const TrainBatch& batch, const MlstmParams& params, Var* qkv, Var* gate,
                Var* i, Var* f);

// SiLU(gate) * up for gate, up [rows][d_ff].
Var* SwigluProduct(Tape* tape, Var* gate, Var* up);

}  // namespace chimera
