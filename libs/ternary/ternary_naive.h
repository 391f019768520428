// The obvious twins of ternary.h: unpacked trits, plain loops, any float type. Float gives the bits
// of every kernel; double gives what the golden files hold. Tests only.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "ternary/grouped_rows.h"
#include "ternary/ternary.h"

namespace chimera::naive {

// The value of a finite half.
template <typename Float>
Float HalfValue(uint16_t half) {
  const int exponent = (half >> 10) & 31, mantissa = half & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return static_cast<Float>((half & 0x8000) != 0 ? -magnitude : magnitude);
}

// Trit of (row, col), and the scale of its group.
inline int Trit(const TernaryView& w, int row, int col) {
  const int64_t tile = int64_t{row / 16} * (w.cols / 16) + col / 16;
  const int byte = w.codes[tile * 64 + 4 * (row % 16) + col % 4];
  return ((byte >> (2 * (col % 16 / 4))) & 3) - 1;
}
template <typename Float>
Float Mu(const TernaryView& w, int row, int group) {
  const int64_t at = (int64_t{row / 16} * WeightGroups(w.cols) + group) * 16 + row % 16;
  return HalfValue<Float>(w.scales[at]);
}
inline int Int8Of(const Int8RowsView& w, int row, int col) {
  return w.q[(int64_t{row / 16} * (w.cols / 4) + col / 4) * 64 + 4 * (row % 16) + col % 4];
}

// Level of (row, col) of grouped rows, and the scale of its block.
inline int LevelOf(const GroupedRowsView& w, int row, int col) {
  const uint8_t* block = w.codes + (int64_t{row / 16} * (w.cols / 64) + col / 64) * 128 * w.bits;
  const int c = col % 64, at = 4 * (row % 16) + c % 4;
  const int low = (block[c / 8 * 64 + at] >> (c / 4 % 2 * 4)) & 15;
  if (w.bits == 4) return kLevels4[low];
  const int high = (block[(8 + c / 16) * 64 + at] >> (c / 4 % 4 * 2)) & 3;
  return 16 * high + low - 32;
}
template <typename Float>
Float GroupedMu(const GroupedRowsView& w, int row, int block) {
  const int64_t at = (int64_t{row / 16} * (w.cols / 64) + block) * 16 + row % 16;
  return HalfValue<Float>(w.scales[at]);
}

// One block sum: exact.
inline int32_t BlockSum(const TernaryView& w, int row, int block, const int8_t* q) {
  int32_t sum = 0;
  for (int c = block * kActBlock; c < (block + 1) * kActBlock; ++c) sum += Trit(w, row, c) * q[c];
  return sum;
}
inline int32_t BlockSum(const Int8RowsView& w, int row, int block, const int8_t* q) {
  int32_t sum = 0;
  for (int c = block * kActBlock; c < (block + 1) * kActBlock; ++c) sum += Int8Of(w, row, c) * q[c];
  return sum;
}

inline int32_t BlockSum(const GroupedRowsView& w, int row, int block, const int8_t* q) {
  int32_t sum = 0;
  for (int c = block * kActBlock; c < (block + 1) * kActBlock; ++c)
    sum += LevelOf(w, row, c) * q[c];
  return sum;
}

// y of one row and token, in the order of ternary.h.
template <typename Float>
Float TernaryDot(const TernaryView& w, int row, const int8_t* q, const Float* s) {
  Float y = -Float{0};
  for (int g = 0; g < WeightGroups(w.cols); ++g) {
    Float t = s[2 * g] * static_cast<Float>(BlockSum(w, row, 2 * g, q));
    if ((2 * g + 1) * kActBlock < w.cols) {
      t = std::fma(s[2 * g + 1], static_cast<Float>(BlockSum(w, row, 2 * g + 1, q)), t);
    }
    y = std::fma(Mu<Float>(w, row, g), t, y);
  }
  return y;
}

template <typename Float>
Float Int8Dot(const Int8RowsView& w, int row, const int8_t* q, const Float* s) {
  Float t = -Float{0};
  for (int b = 0; b < w.cols / kActBlock; ++b) {
    t = std::fma(s[b], static_cast<Float>(BlockSum(w, row, b, q)), t);
  }
  return static_cast<Float>(w.scale[row]) * t;
}

template <typename Float>
Float GroupedDot(const GroupedRowsView& w, int row, const int8_t* q, const Float* s) {
  Float y = -Float{0};
  for (int b = 0; b < w.cols / kActBlock; ++b) {
    const Float part = s[b] * static_cast<Float>(BlockSum(w, row, b, q));
    y = std::fma(GroupedMu<Float>(w, row, b), part, y);
  }
  return y;
}

// The nearest level to x and its place among the levels; of two the lower one, of six bits the even
// one.
inline int NearestLevel(int bits, float x, int* level) {
  if (bits == 6) {
    *level = static_cast<int>(std::nearbyint(std::fmin(std::fmax(x, -31.0f), 31.0f)));
    return *level + 32;
  }
  int code = 0;
  for (int i = 1; i < 16; ++i) {
    if (x - kLevels4[i - 1] > kLevels4[i] - x) code = i;
  }
  *level = kLevels4[code];
  return code;
}

// s, q of one block: x[64].
template <typename Float>
Float QuantizeBlock(const Float* x, int8_t* q) {
  Float peak = 0;
  for (int i = 0; i < kActBlock; ++i) peak = std::fmax(peak, std::fabs(x[i]));
  const Float s = std::fmax(peak / 127, static_cast<Float>(1e-8));
  for (int i = 0; i < kActBlock; ++i) {
    const Float rounded = std::nearbyint(x[i] / s);
    q[i] = static_cast<int8_t>(std::fmin(std::fmax(rounded, Float{-127}), Float{127}));
  }
  return s;
}

// The trits of one group and its scale before rounding (8.3, Sherry); w holds no NaN.
template <typename Float>
Float SherryGroup(const Float* w, int width, int* trits) {
  Float kept = 0;
  for (int b = 0; b < width; b += 4) {
    int zero = b;
    for (int i = b + 1; i < b + 4; ++i) {
      if (std::fabs(w[i]) < std::fabs(w[zero])) zero = i;
    }
    for (int i = b; i < b + 4; ++i) {
      trits[i] = i == zero ? 0 : w[i] < 0 ? -1 : 1;
      if (i != zero) kept += std::fabs(w[i]);
    }
  }
  return kept / (static_cast<Float>(0.75) * static_cast<Float>(width));
}

// Straight-through gradients (8.2): dX = dY (mu t), [tokens][cols].
template <typename Float>
std::vector<Float> BackwardX(const TernaryView& w, int n_tokens, const Float* dy) {
  std::vector<Float> dx(static_cast<size_t>(n_tokens) * static_cast<size_t>(w.cols));
  for (int t = 0; t < n_tokens; ++t) {
    for (int c = 0; c < w.cols; ++c) {
      Float sum = 0;
      for (int r = 0; r < w.rows; ++r) {
        sum += dy[t * w.rows + r] * Mu<Float>(w, r, c / kWeightGroup) * Trit(w, r, c);
      }
      dx[static_cast<size_t>(t * w.cols + c)] = sum;
    }
  }
  return dx;
}

// dW = dY^T (s q), [rows][cols].
template <typename Float>
std::vector<Float> BackwardW(int rows, int cols, int n_tokens, const Float* dy, const int8_t* q,
                             const Float* s) {
  std::vector<Float> dw(static_cast<size_t>(rows) * static_cast<size_t>(cols));
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < cols; ++c) {
      Float sum = 0;
      for (int t = 0; t < n_tokens; ++t) {
        const Float seen = s[t * (cols / kActBlock) + c / kActBlock] * q[t * cols + c];
        sum += dy[t * rows + r] * seen;
      }
      dw[static_cast<size_t>(r * cols + c)] = sum;
    }
  }
  return dw;
}

}  // namespace chimera::naive
