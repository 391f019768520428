#include "model/dense.h"

#include "base/cpu.h"

namespace chimera {

using DenseRowsFn = void (*)(const float*, int, int, const float*, int, float*, int64_t);

namespace baseline {
extern const DenseRowsFn kDenseRows;
}
#if defined(__x86_64__)
namespace avx2 {
extern const DenseRowsFn kDenseRows;
}
namespace avx512 {
extern const DenseRowsFn kDenseRows;
}
#endif

void DenseRows(const float* w, int rows, int cols, const float* x, int n_tokens, float* y,
               int64_t ldy) {
  static const DenseRowsFn best = [] {
#if defined(__x86_64__)
    if (BestIsa() == Isa::kAvx512) return avx512::kDenseRows;
    if (BestIsa() == Isa::kAvx2 || BestIsa() == Isa::kAvxVnni) return avx2::kDenseRows;
#endif
    return baseline::kDenseRows;
  }();
  best(w, rows, cols, x, n_tokens, y, ldy);
}

}  // namespace chimera
