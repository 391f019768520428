#include "layers/row_ops.h"

#include <cstring>

#include "base/check.h"
#include "layers/token_blocks.h"
#include "tensor/kernels.h"

namespace chimera {
namespace {

size_t RowBytes(const Var* x) { return static_cast<size_t>(x->cols) * sizeof(float); }

// A gradient that may be added to row by row.
float* ZeroedGrad(Tape* tape, Var* x) {
  bool accumulate = false;
  float* grad = tape->GradTarget(x, &accumulate);
  if (!accumulate) std::memset(grad, 0, static_cast<size_t>(x->size()) * sizeof(float));
  return grad;
}

}  // namespace

Var* GatherRows(Tape* tape, Var* x, const int32_t* index, int64_t n, const uint8_t* keep_grad) {
  Var* y = tape->New(n, x->cols);
  ForTokens(tape->exec(), n, [&](int64_t begin, int64_t count) {
    for (int64_t i = begin; i < begin + count; ++i) {
      std::memcpy(y->value + i * x->cols, x->value + index[i] * x->cols, RowBytes(x));
    }
  });
  tape->OnBackward([tape, x, y, index, n, keep_grad] {
    if (!y->has_grad) return;
    float* grad = ZeroedGrad(tape, x);
    ForTokens(tape->exec(), n, [&](int64_t begin, int64_t count) {
      for (int64_t i = begin; i < begin + count; ++i) {
        if (keep_grad != nullptr && keep_grad[i] == 0) continue;
        float* row = grad + index[i] * x->cols;
        Kernels().add(row, y->grad + i * x->cols, x->cols, row);
      }
    });
  });
  return y;
}

Var* AssembleRows(Tape* tape, const std::vector<RowPiece>& pieces, int64_t n) {
  CHIMERA_CHECK(!pieces.empty());
  Var* y = tape->New(n, pieces[0].x->cols);
  for (const RowPiece& piece : pieces) {
    for (size_t i = 0; i < piece.to.size(); ++i) {
      std::memcpy(y->value + piece.to[i] * y->cols, piece.x->value + piece.from[i] * y->cols,
                  RowBytes(y));
    }
  }
  tape->OnBackward([tape, pieces, y] {
    for (const RowPiece& piece : pieces) {
      float* grad = ZeroedGrad(tape, piece.x);
      for (size_t i = 0; i < piece.to.size(); ++i) {
        float* row = grad + piece.from[i] * y->cols;
        Kernels().add(row, y->grad + piece.to[i] * y->cols, y->cols, row);
      }
    }
  });
  return y;
}

}  // namespace chimera
