// The routed experts on the tape (math-backbone 6.1, 6.2). Forward computes what serving computes:
// the routing kernels of moe.h on the normed floats, ternary products on their int8 form, experts
// added in the order of their index. Equal for any number of threads.
#pragma once

#include <cstdint>

#include "layers/linear_op.h"
#include "tensor/tape.h"

namespace chimera {

// One layer. d_model and d_expert are multiples of 64.
struct MoeParams {
  FloatParam router;            // [n_routed][d_model]
  const float* bias = nullptr;  // [n_routed], moved by MoeBalancer, no gradient
  LinearParam* w_in = nullptr;  // [n_routed * 2 * d_expert][d_model]: an expert's gate, then its up
  FloatParam gain;              // [n_routed][d_expert], the SubLN of each expert
  LinearParam* w_out = nullptr;  // [n_routed * d_model][d_expert]
  float scale = 1.0f;            // R, the sum of the two weights

  int n_routed() const { return router.rows; }
  int d_expert() const { return gain.cols; }
};

// y = shared + sum of the two picked experts, weighted. shared [rows][d_model] is the output of the
// shared expert, computed before; null: zero. input: NormQuantize of all rows, quantised as w_in
// and w_out are. picks [n_routed] or null: how often each expert was picked is added to it, while
// validating too. The bias is read now and may change before Backward; a token's experts stay the
// ones chosen here.
Var* MoeExperts(Tape* tape, const LinearInput& input, Var* shared, const MoeParams& params,
                int64_t* picks);

}  // namespace chimera
