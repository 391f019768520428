// The obvious twin of short_conv.h, for tests: plain loops, T = float or double.
#pragma once

#include <cstdint>

#include "layers/swiglu_naive.h"

namespace chimera {

// Input of tap j of token t (channel c of n), or null when a reset or the start cuts it off.
// Rows t < 0 are the start state [3][n], oldest first.
template <typename T>
const T* NaiveTap(const T* x, const T* start, const uint8_t* reset, int t, int j, int c, int n) {
  const int at = t - 3 + j;
  for (int s = t; s > at && s >= 0; --s) {
    if (reset != nullptr && reset[s] != 0) return nullptr;
  }
  return at >= 0 ? x + at * n + c : start + (at + 3) * n + c;
}

// y[t][c] = SiLU(sum_j w[c][j] x[t-3+j][c]); x, y [n_tokens][n], w [n][4].
template <typename T>
void NaiveShortConv(const T* x, const T* w, const T* start, const uint8_t* reset, int n_tokens,
                    int n, T* y) {
  for (int t = 0; t < n_tokens; ++t) {
    for (int c = 0; c < n; ++c) {
      T a = 0;
      for (int j = 0; j < 4; ++j) {
        const T* in = NaiveTap(x, start, reset, t, j, c, n);
        if (in != nullptr) a += w[4 * c + j] * *in;
      }
      y[t * n + c] = NaiveSilu(a);
    }
  }
}

// Adds to dx [n_tokens][n] and dw [n][4].
template <typename T>
void NaiveShortConvBackward(const T* x, const T* w, const T* start, const uint8_t* reset,
                            const T* dy, int n_tokens, int n, T* dx, T* dw) {
  for (int t = 0; t < n_tokens; ++t) {
    for (int c = 0; c < n; ++c) {
      T a = 0;
      for (int j = 0; j < 4; ++j) {
        const T* in = NaiveTap(x, start, reset, t, j, c, n);
        if (in != nullptr) a += w[4 * c + j] * *in;
      }
      const T da = dy[t * n + c] * NaiveSiluSlope(a);
      for (int j = 0; j < 4; ++j) {
        const T* in = NaiveTap(x, start, reset, t, j, c, n);
        if (in == nullptr) continue;
        dw[4 * c + j] += da * *in;
        if (t - 3 + j >= 0) dx[(t - 3 + j) * n + c] += da * w[4 * c + j];
      }
    }
  }
}

}  // namespace chimera
