// Rows of 6 or 4 bits with a scale for every 64 columns: the output head and the embedding in fewer
// bytes than int8 rows, at a cost in bits per byte (docs/formats/ternary.md; DESIGN D16).
//
// A code stands for an integer level between -63 and 63; a weight is mu * level. Sums inside a
// block of 64 columns are exact int32, and floats follow one order, the same in every function, on
// every instruction set and for every cut into tiles and tokens:
//   y = mu_0 * (s_0 * I_0), then y = fma(mu_b, s_b * I_b, y)
// (b ascends, every product and sum rounded). So results are equal bit for bit.
//
// Sizes and pointers as ternary.h: rows >= 1, cols a multiple of 64 up to kTernaryMaxCols, tiles
// inside the matrix, borrowed, no overlap; bits is 4 or 6. Every code is valid, so kernels need not
// fear a file. Nothing allocates. Thread-safe for disjoint outputs. Free of Abseil.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ternary/ternary.h"

namespace chimera {

// Level of a code: of 4 bits the quantiles of a normal distribution (NF4, arXiv 2305.14314) in
// 1/63; of 6 bits code - 32.
inline constexpr int kLevelMax4 = 63;
inline constexpr int kLevelMax6 = 31;
inline constexpr int8_t kLevels4[16] = {-63, -44, -33, -25, -18, -12, -6, 0,
                                        5,   10,  16,  21,  28,  35,  46, 63};

// Bytes of the codes and number of fp16 scales, rows padded to 16.
static constexpr size_t GroupedCodeBytes(int bits, int rows, int cols) {
  return static_cast<size_t>(RowTiles(rows)) * static_cast<size_t>(cols) * 2 *
         static_cast<size_t>(bits);
}
static constexpr size_t GroupedScaleCount(int rows, int cols) {
  return static_cast<size_t>(RowTiles(rows)) * static_cast<size_t>(cols / kActBlock) * kRowTile;
}

// A borrowed view; immutable. Blocks of 16 rows x 64 columns, row tile by row tile, columns inside.
// Byte 4r + c of line i (of 64 bytes, 0 <= i < 8) holds the lower four bits of row r's codes of
// columns 8i + c (bits 0-3) and 8i + 4 + c (bits 4-7). Six bits: four lines more; byte 4r + c of
// line 8 + i holds the upper two bits of columns 16i + c, + 4, + 8, + 12 at bits 0, 2, 4, 6.
// scales[((row / 16) * (cols / 64) + block) * 16 + row % 16] is mu, fp16. Padded rows are level 0.
struct GroupedRowsView {
  const uint8_t* codes = nullptr;
  const uint16_t* scales = nullptr;
  int rows = 0;
  int cols = 0;
  int bits = 4;
};

// Quantizes the rows of tiles [tile_begin, tile_end) of w[rows][cols] into whole-matrix buffers;
// tile_end = -1 means all. Of 16 scales, max|w| / kLevelMax times 1, 39/40, .. 25/40 rounded to
// fp16 (at most 65504), a group takes the one with the least squared error, the first of equals; a
// code is the nearest level, of two the lower one for 4 bits, the even one for 6. NaN counts as 0.
void QuantizeGroupedRows(const float* w, int rows, int cols, int bits, uint8_t* codes,
                         uint16_t* scales, int tile_begin = 0, int tile_end = -1);

// out[cols] = mu * level of one row, 0 <= row < rows: the embedding lookup.
void DequantizeGroupedRow(const GroupedRowsView& w, int row, float* out);

// y[token * ldy + row] for the rows of tiles [tile_begin, tile_end); y is indexed by the absolute
// row and only real rows are written. q, s and sums as QuantizeActivations gives them.
void GroupedGemm(const GroupedRowsView& w, int tile_begin, int tile_end, int n_tokens,
                 const int8_t* q, const float* s, const int32_t* sums, float* y, int64_t ldy);

// One token, only the listed tiles, in any order: tile tiles[i] fills y[16 * i .. 16 * i + 15].
void GroupedGemvTiles(const GroupedRowsView& w, const int32_t* tiles, int n_tiles, const int8_t* q,
                      const float* s, const int32_t* sums, float* y);

}  // namespace chimera
