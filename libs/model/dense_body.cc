#include "tensor/row_dots.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

void DenseRows(const float* w, int rows, int cols, const float* x, int n_tokens, float* y,
               int64_t ldy) {
  RowDots(w, rows, x, n_tokens, cols, y, ldy);
}

}  // namespace

using DenseRowsFn = void (*)(const float*, int, int, const float*, int, float*, int64_t);
extern const DenseRowsFn kDenseRows;
const DenseRowsFn kDenseRows = DenseRows;

}  // namespace CHIMERA_ISA
}  // namespace chimera
