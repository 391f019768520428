// Ternary linear maps and int8 rows: the packed formats (docs/formats/ternary.md), their quantizers
// and their products with int8 activations (math-backbone 8.1, 8.4; DESIGN D2, D16).
//
// Sums inside a block of 64 columns are exact int32. Floats follow one order, the same in every
// function, on every instruction set and for every cut into tiles and tokens:
//   ternary: t_g = s_b0 * I_b0, then t_g = fma(s_b1, I_b1, t_g);  y = mu_0 * t_0, then
//            y = fma(mu_g, t_g, y)
//   int8:    t = s_0 * I_0, then t = fma(s_b, I_b, t);            y = scale * t
// (b ascends, g ascends). So results are equal bit for bit.
//
// Sizes are validated by the caller: rows >= 1, cols a multiple of 64 up to kTernaryMaxCols, tiles
// inside the matrix. Pointers are borrowed, need no alignment and do not overlap. A tile is 16
// rows; callers split work by tiles and, by offsetting pointers, by tokens. Nothing allocates.
// Everything here is thread-safe for disjoint outputs. Free of Abseil.
#pragma once

#include <cstddef>
#include <cstdint>

namespace chimera {

inline constexpr int kRowTile = 16;       // rows of one tile, the lanes of a kernel
inline constexpr int kActBlock = 64;      // columns that share an activation scale
inline constexpr int kWeightGroup = 128;  // columns that share a weight scale; the last may be 64
inline constexpr int kTernaryMaxCols = 65536;

static constexpr int RowTiles(int rows) { return rows / kRowTile + (rows % kRowTile != 0); }
static constexpr int WeightGroups(int cols) {
  return cols / kWeightGroup + (cols % kWeightGroup != 0);
}

// Bytes of codes and number of fp16 scales of a matrix, rows padded to 16.
static constexpr size_t TernaryCodeBytes(int rows, int cols) {
  return static_cast<size_t>(RowTiles(rows)) * static_cast<size_t>(cols) * 4;
}
static constexpr size_t TernaryScaleCount(int rows, int cols) {
  return static_cast<size_t>(RowTiles(rows)) * static_cast<size_t>(WeightGroups(cols)) * kRowTile;
}
// Bytes of an int8 matrix and number of its float scales, rows padded to 16.
static constexpr size_t Int8RowBytes(int rows, int cols) {
  return static_cast<size_t>(RowTiles(rows)) * static_cast<size_t>(cols) * kRowTile;
}
static constexpr size_t Int8RowScaleCount(int rows) {
  return static_cast<size_t>(RowTiles(rows)) * kRowTile;
}

// How trits are packed. Both keep the rows of a tile in lanes, and both give the same bits.
enum class TritPacking : uint8_t {
  kTwoBit,  // the quickest to compute with
  kBase3,   // five trits a byte: fewer bytes to read, more instructions
};

// Bytes of one row tile of packed trits.
static constexpr size_t TileCodeBytes(TritPacking packing, int cols) {
  const auto quads = static_cast<size_t>(cols) / 4;
  return packing == TritPacking::kTwoBit ? quads * 16 : (quads + 4) / 5 * 64;
}

// Trits in rows-in-lanes order (8.4). Byte 4r + j of the 64-byte tile at
// ((row / 16) * (cols / 16) + col / 16) * 64 holds the codes t + 1 of row r of the tile and columns
// j, j+4, j+8, j+12 at bits 0, 2, 4, 6. scales[((row / 16) * groups + group) * 16 + r] is mu, fp16.
// Padded rows hold t = 0 and mu = 0. Base-3 codes are those of packing.h. A borrowed view;
// immutable.
struct TernaryView {
  const uint8_t* codes = nullptr;
  const uint16_t* scales = nullptr;
  int rows = 0;
  int cols = 0;
  TritPacking packing = TritPacking::kTwoBit;
};

// Int8 rows with one scale each, four columns of 16 rows in 64 bytes: row r, column c is byte
// ((row / 16) * (cols / 4) + c / 4) * 64 + 4 * (r % 16) + c % 4. Padded rows are zero.
// A borrowed view; immutable.
struct Int8RowsView {
  const int8_t* q = nullptr;
  const float* scale = nullptr;
  int rows = 0;
  int cols = 0;
};

// Quantizes the rows of tiles [tile_begin, tile_end) of w[rows][cols] into whole-matrix buffers;
// tile_end = -1 means all. mu = fp16(mean|w| + 1e-8), at most 65504; t = clamp(rne(w / mu), -1, 1),
// 0 where mu is 0 or w is NaN.
void QuantizeWeights(const float* w, int rows, int cols, uint8_t* codes, uint16_t* scales,
                     int tile_begin = 0, int tile_end = -1);

// The same with exactly one zero in every block of four columns (8.3, Sherry): the weight of
// smallest magnitude, the first of equals; the others keep their sign, that of 0 is +, and NaN
// counts as 0. mu = fp16(sum of kept |w| / (0.75 * columns of the group)), at most 65504. Padded
// rows hold t = 0.
void QuantizeSherry(const float* w, int rows, int cols, uint8_t* codes, uint16_t* scales,
                    int tile_begin = 0, int tile_end = -1);

// out[rows][cols] = mu * t for the rows of tiles [tile_begin, tile_end); only real rows are
// written. The bf16 form rounds mu to nearest even. Two-bit codes only.
void DequantizeWeights(const TernaryView& w, int tile_begin, int tile_end, float* out);
void DequantizeWeightsBf16(const TernaryView& w, int tile_begin, int tile_end, uint16_t* out);

// Per token and block of 64: s = max(max|x| / 127, 1e-8), q = clamp(rne(x / s), -127, 127),
// sums = sum of q. x, q [n_tokens][cols]; s, sums [n_tokens][cols / 64].
// A NaN does not count for s and gives q = -127.
void QuantizeActivations(const float* x, int n_tokens, int cols, int8_t* q, float* s,
                         int32_t* sums);

// out[n_tokens][cols] = s * q, what a product saw; bf16 rounds it to nearest even.
void DequantizeActivations(const int8_t* q, const float* s, int n_tokens, int cols, float* out);
void DequantizeActivationsBf16(const int8_t* q, const float* s, int n_tokens, int cols,
                               uint16_t* out);

// y[row] of one token for the rows of tiles [tile_begin, tile_end); y is indexed by the absolute
// row and only real rows are written. q and sums as QuantizeActivations gives them.
void TernaryGemv(const TernaryView& w, int tile_begin, int tile_end, const int8_t* q,
                 const float* s, const int32_t* sums, float* y);

// Row tiles that a product of n_tokens tokens takes together: threads best cut rows at multiples.
int TilesTogether(int n_tokens);

// y[token * ldy + row] of n_tokens tokens; AMX for some of them and more where the CPU has it.
void TernaryGemm(const TernaryView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
                 const float* s, const int32_t* sums, float* y, int64_t ldy);

// Quantizes rows: scale = max(max|row| / 127, 1e-12), q = clamp(rne(w / scale), -127, 127).
void QuantizeInt8Rows(const float* w, int rows, int cols, int8_t* q, float* scale,
                      int tile_begin = 0, int tile_end = -1);

// out[cols] = scale * q of one row, 0 <= row < rows: the embedding lookup.
void DequantizeInt8Row(const Int8RowsView& w, int row, float* out);

// The products of the output head. y is indexed as above.
void Int8Gemv(const Int8RowsView& w, int tile_begin, int tile_end, const int8_t* q, const float* s,
              float* y);
void Int8Gemm(const Int8RowsView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
              const float* s, float* y, int64_t ldy);

// Only the listed tiles, for masks: tile tiles[i] fills y[16 * i .. 16 * i + 15], also the padded
// rows of the last tile (zero). Tiles may be in any order.
void Int8GemvTiles(const Int8RowsView& w, const int32_t* tiles, int n_tiles, const int8_t* q,
                   const float* s, float* y);

}  // namespace chimera
