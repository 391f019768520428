// Float matrix times a few vectors, in the one order of lanes: gates, and every map when
// quantization is off. Same bits on every instruction set. Free of Abseil.
#pragma once

#include <cstdint>

namespace chimera {

// y[t * ldy + r] = sum_c w[r][c] * x[t][c] for r < rows and t < n_tokens.
void DenseRows(const float* w, int rows, int cols, const float* x, int n_tokens, float* y,
               int64_t ldy);

}  // namespace chimera
