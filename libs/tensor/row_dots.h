// Dot products of every row of one float matrix with every row of another, each in the order of Dot
// (tensor/vec.h) and several at a time, so that none waits for another. For kernel bodies only.
#pragma once

#include "tensor/vec.h"

namespace chimera {
namespace {

// y[t * ldy + r] = Dot(w + r * cols, x + t * cols, cols) for R rows and T tokens.
template <int R, int T>
CHIMERA_VEC void FewRowDots(const float* w, const float* x, int cols, float* y, int64_t ldy) {
  F16 sum[R][T] = {};
  const auto add = [&](const auto& load, int i) {
    F16 right[T];
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) right[t] = load(x + int64_t{t} * cols + i);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const F16 left = load(w + int64_t{r} * cols + i);
#pragma GCC unroll 4
      for (int t = 0; t < T; ++t) sum[r][t] = Fma(left, right[t], sum[r][t]);
    }
  };
  int i = 0;
  for (; i + 16 <= cols; i += 16) add([](const float* p) { return Load(p); }, i);
  if (i < cols) add([left = cols - i](const float* p) { return LoadN(p, left); }, i);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) y[t * ldy + r] = FoldAdd(sum[r][t]);
  }
}

template <int T>
CHIMERA_VEC void RowDotsOfTokens(const float* w, int rows, const float* x, int cols, float* y,
                                 int64_t ldy) {
  int r = 0;
  for (; r + 4 <= rows; r += 4) {
    FewRowDots<4, T>(w + int64_t{r} * cols, x, cols, y + r, ldy);
  }
  for (; r < rows; ++r) FewRowDots<1, T>(w + int64_t{r} * cols, x, cols, y + r, ldy);
}

// The same for w [rows][cols] and x [n_tokens][cols].
CHIMERA_VEC void RowDots(const float* w, int rows, const float* x, int n_tokens, int cols, float* y,
                         int64_t ldy) {
#if defined(CHIMERA_ISA_avx512)
  constexpr int kAtOnce = 4;  // sums of as many tokens and four rows fit the registers
#else
  constexpr int kAtOnce = 1;
#endif
  int t = 0;
  for (; t + kAtOnce <= n_tokens; t += kAtOnce) {
    RowDotsOfTokens<kAtOnce>(w, rows, x + int64_t{t} * cols, cols, y + t * ldy, ldy);
  }
  for (; t < n_tokens; ++t)
    RowDotsOfTokens<1>(w, rows, x + int64_t{t} * cols, cols, y + t * ldy, ldy);
}

}  // namespace
}  // namespace chimera
