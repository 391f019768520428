// What the chunk forms of training are made of: products of matrices with up to 64 rows and 64
// columns (row stride 64), their block-triangular variants, unit triangular solves, decay matrices
// and the walk over chunks. Rows come in whole blocks of 16, padded with zeros. For kernel bodies
// only (internal linkage); compiled with contraction to fma, so results are equal for any thread
// count but not across instruction sets.
#pragma once

#include <cstdint>
#include <cstring>

#include "layers/head.h"
#include "layers/native_vec.h"
#include "tensor/vec.h"

namespace chimera {
namespace {

constexpr int kDim = kHeadDim;
constexpr int kBlock = 16;
constexpr int kMatrix = kChunkTokens * kDim;

enum class Into { kSet, kAdd, kSub };

// kRows x (kCols * kWidth) outputs in registers: c (=, +=, -=) sum_{k0 <= k < k1} a(r, k) b[k],
// a(r, k) = a[r][k], or a[k][r] when transposed.
template <int kRows, int kCols, bool kTransposed, Into kInto>
inline void Tile(const float* __restrict a, const float* __restrict b, float* __restrict c, int k0,
                 int k1) {
  FV acc[kRows][kCols];
  for (int r = 0; r < kRows; ++r) {
    for (int j = 0; j < kCols; ++j) acc[r][j] = FV{};
  }
  for (int k = k0; k < k1; ++k) {
    FV row[kCols];
    for (int j = 0; j < kCols; ++j) row[j] = LoadV(b + k * kDim + j * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const FV x = SplatV(kTransposed ? a[k * kDim + r] : a[r * kDim + k]);
#pragma GCC unroll 4
      for (int j = 0; j < kCols; ++j) acc[r][j] = Fma(x, row[j], acc[r][j]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int j = 0; j < kCols; ++j) {
      float* out = c + r * kDim + j * kWidth;
      if (kInto == Into::kSet) StoreV(out, acc[r][j]);
      if (kInto == Into::kAdd) StoreV(out, LoadV(out) + acc[r][j]);
      if (kInto == Into::kSub) StoreV(out, LoadV(out) - acc[r][j]);
    }
  }
}

template <int kRows, int kCols, bool kTransposed, Into kInto>
void Tiles(const float* a, const float* b, float* c, int rows, int cols, int k0, int k1) {
  for (int j = 0; j < cols; j += kCols * kWidth) {
    for (int r = 0; r < rows; r += kRows) {
      const float* ar = kTransposed ? a + r : a + r * kDim;
      Tile<kRows, kCols, kTransposed, kInto>(ar, b + j, c + r * kDim + j, k0, k1);
    }
  }
}

// c[rows][cols] (=, +=, -=) A b over k0 <= k < k1; rows, cols in multiples of 16.
template <bool kTransposed, Into kInto>
void Product(const float* a, const float* b, float* c, int rows, int cols, int k0, int k1) {
#if CHIMERA_WIDTH == 16
  if (cols == 64) return Tiles<4, 4, kTransposed, kInto>(a, b, c, rows, cols, k0, k1);
  if (cols == 48) return Tiles<8, 3, kTransposed, kInto>(a, b, c, rows, cols, k0, k1);
  if (cols == 32) return Tiles<8, 2, kTransposed, kInto>(a, b, c, rows, cols, k0, k1);
  Tiles<16, 1, kTransposed, kInto>(a, b, c, rows, cols, k0, k1);
#else
  Tiles<4, 2, kTransposed, kInto>(a, b, c, rows, cols, k0, k1);
#endif
}

// c = a b, a [rows][64], b [64][64].
[[maybe_unused]] void Times(const float* a, const float* b, float* c, int rows) {
  Product<false, Into::kSet>(a, b, c, rows, kDim, 0, kDim);
}

// c += a^T b, a and b [rows][64], c [64][64].
[[maybe_unused]] void AddTransposedTimes(const float* a, const float* b, float* c, int rows) {
  Product<true, Into::kAdd>(a, b, c, kDim, kDim, 0, rows);
}

[[maybe_unused]] void SubTransposedTimes(const float* a, const float* b, float* c, int rows) {
  Product<true, Into::kSub>(a, b, c, kDim, kDim, 0, rows);
}

// The blocks on and below the diagonal of c = a bt (a [rows][64], bt [64][rows]); others untouched.
[[maybe_unused]] void LowerOfTimes(const float* a, const float* bt, float* c, int rows) {
  for (int i = 0; i < rows; i += kBlock) {
    Product<false, Into::kSet>(a + i * kDim, bt, c + i * kDim, kBlock, i + kBlock, 0, kDim);
  }
}

// c (=, +=) l b with l [rows][rows] lower triangular (zero above the diagonal within its blocks).
template <Into kInto>
void LowerTimes(const float* l, const float* b, float* c, int rows) {
  for (int i = 0; i < rows; i += kBlock) {
    Product<false, kInto>(l + i * kDim, b, c + i * kDim, kBlock, kDim, 0, i + kBlock);
  }
}

// c (=, +=) l^T b.
template <Into kInto>
void LowerTransposedTimes(const float* l, const float* b, float* c, int rows) {
  for (int j = 0; j < rows; j += kBlock) {
    Product<true, kInto>(l + j, b, c + j * kDim, kBlock, kDim, j, rows);
  }
}

// x <- (I + l)^-1 x, l strictly lower; x [rows][64]. Substitution, never an inverse.
[[maybe_unused]] void SolveLower(const float* l, float* x, int rows) {
  for (int i0 = 0; i0 < rows; i0 += kBlock) {
    float* xi = x + i0 * kDim;
    const float* li = l + i0 * kDim + i0;
    if (i0 > 0) Product<false, Into::kSub>(l + i0 * kDim, x, xi, kBlock, kDim, 0, i0);
    for (int c = 0; c < kDim; c += kWidth) {
      FV row[kBlock];
#pragma GCC unroll 16
      for (int i = 0; i < kBlock; ++i) row[i] = LoadV(xi + i * kDim + c);
#pragma GCC unroll 16
      for (int j = 0; j < kBlock; ++j) {
#pragma GCC unroll 16
        for (int i = 0; i < kBlock; ++i) {
          if (i > j) row[i] -= SplatV(li[i * kDim + j]) * row[j];
        }
      }
#pragma GCC unroll 16
      for (int i = 0; i < kBlock; ++i) StoreV(xi + i * kDim + c, row[i]);
    }
  }
}

// x <- (I + l)^-T x.
[[maybe_unused]] void SolveLowerTransposed(const float* l, float* x, int rows) {
  for (int i0 = rows - kBlock; i0 >= 0; i0 -= kBlock) {
    float* xi = x + i0 * kDim;
    const float* li = l + i0 * kDim + i0;
    const int below = i0 + kBlock;
    if (below < rows) Product<true, Into::kSub>(l + i0, x, xi, kBlock, kDim, below, rows);
    for (int c = 0; c < kDim; c += kWidth) {
      FV row[kBlock];
#pragma GCC unroll 16
      for (int i = 0; i < kBlock; ++i) row[i] = LoadV(xi + i * kDim + c);
#pragma GCC unroll 16
      for (int back = 0; back < kBlock; ++back) {
        const int j = kBlock - 1 - back;
#pragma GCC unroll 16
        for (int i = 0; i < kBlock; ++i) {
          if (i < j) row[i] -= SplatV(li[j * kDim + i]) * row[j];
        }
      }
#pragma GCC unroll 16
      for (int i = 0; i < kBlock; ++i) StoreV(xi + i * kDim + c, row[i]);
    }
  }
}

#if CHIMERA_WIDTH == 16
#define CHIMERA_ZIP_LOW(a, b) \
  __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define CHIMERA_ZIP_HIGH(a, b) \
  __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif CHIMERA_WIDTH == 8
#define CHIMERA_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define CHIMERA_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define CHIMERA_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define CHIMERA_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

// t[c][r] = a[r][c] for r < rows. A square of kWidth rows transposes by log2(kWidth) perfect
// shuffles of row r with row r + kWidth / 2.
[[maybe_unused]] void Transpose(const float* a, float* t, int rows) {
  for (int r0 = 0; r0 < rows; r0 += kWidth) {
    for (int c0 = 0; c0 < kDim; c0 += kWidth) {
      FV x[kWidth];
#pragma GCC unroll 16
      for (int r = 0; r < kWidth; ++r) x[r] = LoadV(a + (r0 + r) * kDim + c0);
#pragma GCC unroll 4
      for (int stage = 1; stage < kWidth; stage *= 2) {
        FV y[kWidth];
#pragma GCC unroll 8
        for (int r = 0; r < kWidth / 2; ++r) {
          y[2 * r] = CHIMERA_ZIP_LOW(x[r], x[r + kWidth / 2]);
          y[2 * r + 1] = CHIMERA_ZIP_HIGH(x[r], x[r + kWidth / 2]);
        }
#pragma GCC unroll 16
        for (int r = 0; r < kWidth; ++r) x[r] = y[r];
      }
#pragma GCC unroll 16
      for (int r = 0; r < kWidth; ++r) StoreV(t + (c0 + r) * kDim + r0, x[r]);
    }
  }
}

// Rows of 64 at `stride`, copied to and from the padded buffers.
[[maybe_unused]] void LoadRows(const float* from, int64_t stride, int n, int rows, float* to) {
  for (int i = 0; i < n; ++i) std::memcpy(to + i * kDim, from + i * stride, sizeof(float) * kDim);
  std::memset(to + n * kDim, 0, sizeof(float) * kDim * static_cast<unsigned>(rows - n));
}
[[maybe_unused]] void StoreRows(const float* from, int n, int64_t stride, float* to) {
  for (int i = 0; i < n; ++i) std::memcpy(to + i * stride, from + i * kDim, sizeof(float) * kDim);
}

// y[i] = scale[i] x[i], row by row; y may be x.
[[maybe_unused]] void ScaleRows(const float* x, const float* scale, int rows, float* y) {
  for (int i = 0; i < rows; ++i) {
    const FV s = SplatV(scale[i]);
    for (int c = 0; c < kDim; c += kWidth) {
      StoreV(y + i * kDim + c, LoadV(x + i * kDim + c) * s);
    }
  }
}

[[maybe_unused]] void ScaleAll(float* x, float scale, int floats) {
  for (int i = 0; i < floats; i += kWidth) StoreV(x + i, LoadV(x + i) * scale);
}

[[maybe_unused]] float RowDot(const float* a, const float* b) {
  const F16 low = Fma(Load(a + 16), Load(b + 16), Load(a) * Load(b));
  const F16 high = Fma(Load(a + 48), Load(b + 48), Load(a + 32) * Load(b + 32));
  return FoldAdd(low + high);
}

// <a, b> over 64 rows.
[[maybe_unused]] double MatrixDot(const float* a, const float* b) {
  double sum = 0;
  for (int i = 0; i < kDim; ++i) sum += RowDot(a + i * kDim, b + i * kDim);
  return sum;
}

// A logarithm that stays exact under differences: hi is a multiple of 1/256, |hi| < 2^15, so
// hi - hi' has no rounding error; lo is small.
struct SplitLogs {
  alignas(64) float hi[kChunkTokens];
  alignas(64) float lo[kChunkTokens];
  void Set(int at, double value) {
    const double whole = static_cast<double>(static_cast<int64_t>(value * 256.0)) / 256.0;
    hi[at] = static_cast<float>(whole);
    lo[at] = static_cast<float>(value - whole);
  }
};

// d[i][j] = exp(row_i + col_j) for j <= i, 0 for the rest of the diagonal blocks.
[[maybe_unused]] void DecayMatrix(const SplitLogs& row, const SplitLogs& col, int rows, float* d) {
  const I16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j <= i; j += kBlock) {
      const F16 e = (Load(col.hi + j) + row.hi[i]) + (Load(col.lo + j) + row.lo[i]);
      Store(d + i * kDim + j, Select(lane + j <= i, Exp(e), F16{}));
    }
  }
}

[[maybe_unused]] int PaddedRows(int n) { return (n + kBlock - 1) / kBlock * kBlock; }

// The chunk starting at token `start`: up to 64 tokens, never across a reset.
[[maybe_unused]] int ChunkLength(const uint8_t* reset, int start, int n_tokens) {
  const int limit = n_tokens - start < kChunkTokens ? n_tokens - start : kChunkTokens;
  int n = 1;
  while (n < limit && (reset == nullptr || reset[start + n] == 0)) ++n;
  return n;
}

[[maybe_unused]] bool IsReset(const uint8_t* reset, int t) {
  return reset != nullptr && reset[t] != 0;
}

// Walks the same chunks from the last to the first.
class ChunksBackward {
 public:
  ChunksBackward(const uint8_t* reset, int n_tokens) : reset_(reset), start_(n_tokens) {
    origin_ = n_tokens;
  }
  // False when no chunk is left; else [start, start + n) is the next one.
  bool Next(int* start, int* n) {
    if (start_ == 0) return false;
    const int end = start_;
    if (end == origin_) {  // a new piece: find where it begins
      origin_ = end - 1;
      while (origin_ > 0 && !IsReset(reset_, origin_)) --origin_;
    }
    start_ = origin_ + (end - 1 - origin_) / kChunkTokens * kChunkTokens;
    *start = start_;
    *n = end - start_;
    return true;
  }

 private:
  const uint8_t* reset_;
  int start_;
  int origin_;
};

}  // namespace
}  // namespace chimera
