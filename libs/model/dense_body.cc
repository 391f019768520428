#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

void DenseRows(const float* w, int rows, int cols, const float* x, int n_tokens, float* y) {
  for (int t = 0; t < n_tokens; ++t) {
    for (int r = 0; r < rows; ++r) {
      y[static_cast<long>(t) * rows + r] =
          Dot(w + static_cast<long>(r) * cols, x + static_cast<long>(t) * cols, cols);
    }
  }
}

}  // namespace

using DenseRowsFn = void (*)(const float*, int, int, const float*, int, float*);
extern const DenseRowsFn kDenseRows;
const DenseRowsFn kDenseRows = DenseRows;

}  // namespace CHIMERA_ISA
}  // namespace chimera
