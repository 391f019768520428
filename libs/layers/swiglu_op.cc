#include "layers/mixer_ops.h"
#include "layers/swiglu.h"
#include "layers/token_blocks.h"

namespace chimera {

Var* SwigluProduct(Tape* tape, Var* gate, Var* up) {
  Var* out = tape->New(gate->rows, gate->cols);
  const int64_t cols = gate->cols;
  ForTokens(tape->exec(), gate->rows, [&](int64_t t, int64_t n) {
    Swiglu().forward(gate->value + t * cols, up->value + t * cols, n * cols, out->value + t * cols);
  });
  tape->OnBackward([tape, gate, up, out, cols] {
    bool unused = false;
    float* d_gate = tape->GradTarget(gate, &unused);
    float* d_up = tape->GradTarget(up, &unused);
    ForTokens(tape->exec(), gate->rows, [&](int64_t t, int64_t n) {
      const int64_t at = t * cols;
      Swiglu().backward(gate->value + at, up->value + at, out->grad + at, n * cols, d_gate + at,
                        d_up + at);
    });
  });
  return out;
}

}  // namespace chimera
