// AMX int8 tiles for 16 tokens and more (Intel SDM, TDPBSSD). One tile holds 16 tokens x 64 columns
// of q, or 64 columns x 16 rows of weights: exactly one activation block, so every tile product is
// a finished block sum, which the float part below scales in the one order of ternary.h. Compiled
// for AVX-512 with AMX; reached only when HasAmxInt8().
#include <immintrin.h>

#include "tensor/vec.h"
#include "ternary/half.h"
#include "ternary/lanes.h"
#include "ternary/ternary_kernels.h"

namespace chimera {
namespace amx {
namespace {

constexpr int kTileTokens = 16;
constexpr int kChunkBlocks =
    16;  // columns / 64 handled before the next tokens: two row tiles fit L1
constexpr int kTokenBlock = 256;          // tokens whose activations stay in the second-level cache
constexpr int kTileInts = 256;            // one accumulator tile
constexpr int kBlockBytes = 1024;         // weights of one tile and block
constexpr int kTotalRows = 2 * kRowTile;  // stride of the running totals

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Everything about one product; the pointers are those of the whole call.
struct Job {
  int cols, rows;
  const int8_t* q;
  const float* s;
  float* y;
  int64_t ldy;
};

// Work in flight: expanded weights of two row tiles, block sums of two steps, and running totals of
// 32 tokens x 32 rows. A step is two blocks, one weight group.
struct alignas(64) Scratch {
  int8_t weights[2][kChunkBlocks * kBlockBytes];
  int32_t sums[2][2][4][kTileInts];  // step parity, block of the step, tile, [token][row]
  float total[2 * kTileTokens * kTotalRows];
  float edge[2 * kTileTokens * kTotalRows];  // stands for y where the last row tile is not full
  float mu[kChunkBlocks / 2][2][kRowTile];
};

typedef uint16_t Codes __attribute__((vector_size(64)));

// Sixteen columns of sixteen rows become four tile rows of four columns each.
CHIMERA_VEC void Expand(const uint8_t* codes, int n_blocks, int8_t* out) {
  const __m512i mask = _mm512_set1_epi8(3), one = _mm512_set1_epi8(1);
  for (int tile = 0; tile < 4 * n_blocks; ++tile, codes += 64, out += 256) {
    const __m512i v = _mm512_loadu_si512(codes);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i code = (__m512i)((Codes)v >> (2 * j)) & mask;
      _mm512_store_si512(out + j * 64, _mm512_sub_epi8(code, one));
    }
  }
}

// Block sums of R x M tiles: sums[2 * m + r].
template <int R, int M>
CHIMERA_VEC void TileDots(const int8_t* q, int64_t cols, const int8_t* w0, const int8_t* w1,
                          int32_t (*sums)[kTileInts]) {
  _tile_loadd(4, q, cols);
  _tile_loadd(6, w0, 64);
  _tile_zero(0);
  _tile_dpbssd(0, 4, 6);
  _tile_stored(0, sums[0], 64);
  if constexpr (R == 2) {
    _tile_loadd(7, w1, 64);
    _tile_zero(1);
    _tile_dpbssd(1, 4, 7);
    _tile_stored(1, sums[1], 64);
  }
  if constexpr (M == 2) {
    _tile_loadd(5, q + kTileTokens * cols, cols);
    _tile_zero(2);
    _tile_dpbssd(2, 5, 6);
    _tile_stored(2, sums[2], 64);
  }
  if constexpr (R == 2 && M == 2) {
    _tile_zero(3);
    _tile_dpbssd(3, 5, 7);
    _tile_stored(3, sums[3], 64);
  }
}

CHIMERA_VEC F16 Floats(const int32_t* ints) {
  I16 v;
  std::memcpy(&v, ints, sizeof(v));
  return __builtin_convertvector(v, F16);
}

// Totals of 32 tokens x 32 rows: in y, or in scratch.
struct Totals {
  float* at;
  int64_t stride;
};

// to = from + one step of R x M tiles; `two` says whether the step has a second block. `factor` is
// mu of the step, or null; int8 rows end with `to` times row_scale where that is not null.
template <int R, int M>
CHIMERA_VEC void Scale(const int32_t (*sums)[4][kTileInts], const float* s, int64_t blocks,
                       const float (*mu)[kRowTile], const float* row_scale, bool two, Totals from,
                       Totals to) {
  F16 factor[R];
  for (int r = 0; r < R; ++r) {
    factor[r] = mu != nullptr          ? Load(mu[r])
                : row_scale != nullptr ? Load(row_scale + r * kRowTile)
                                       : F16{};
  }
  for (int m = 0; m < M; ++m) {
    for (int i = 0; i < kTileTokens; ++i) {
      const int64_t token = m * kTileTokens + i;
      const float s0 = s[token * blocks], s1 = two ? s[token * blocks + 1] : 0.0f;
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        const F16 part = s0 * Floats(sums[0][2 * m + r] + 16 * i);
        F16 sum = Load(from.at + token * from.stride + r * kRowTile);
        if (mu != nullptr) {
          sum = sum + factor[r] * (two ? part + s1 * Floats(sums[1][2 * m + r] + 16 * i) : part);
        } else {
          sum = sum + part;
          if (two) sum = sum + s1 * Floats(sums[1][2 * m + r] + 16 * i);
          if (row_scale != nullptr) sum = factor[r] * sum;
        }
        Store(to.at + token * to.stride + r * kRowTile, sum);
      }
    }
  }
}

// Copies the rows that exist between y and the edge buffer.
template <bool kToEdge, int R, int M>
CHIMERA_VEC void CopyEdge(float* y, int64_t ldy, float* edge, int n_rows) {
  for (int i = 0; i < M * kTileTokens; ++i) {
    for (int r = 0; r < R; ++r) {
      const int n = Smaller(kRowTile, n_rows - r * kRowTile);
      float* there = edge + i * kTotalRows + r * kRowTile;
      float* here = y + i * ldy + r * kRowTile;
      if (kToEdge) {
        Store(there, LoadN(here, n));
      } else {
        StoreN(here, Load(there), n);
      }
    }
  }
}

// Columns [64 * block, 64 * (block + n_blocks)) of R row tiles and 16 * M tokens.
template <bool kInt8, int R, int M>
void ChunkProduct(const Job& job, const int8_t* const* weights, const float* row_scale, int row,
                  int64_t token, int block, int n_blocks, Scratch* scratch) {
  static constexpr float kStart[kTotalRows] = {
      -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f,
      -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f,
      -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f};
  const int64_t blocks = job.cols / kActBlock;
  const int8_t* q = job.q + token * job.cols + int64_t{block} * kActBlock;
  const float* s = job.s + token * blocks + block;
  float* y = job.y + token * job.ldy + row;
  const bool edge = row + R * kRowTile > job.rows;
  if (edge && block > 0) CopyEdge<true, R, M>(y, job.ldy, scratch->edge, job.rows - row);
  const Totals outside = edge ? Totals{scratch->edge, kTotalRows} : Totals{y, job.ldy};
  const Totals inside = {scratch->total, kTotalRows};
  // -0 + x is x, bit for bit.
  const Totals begin = block == 0 ? Totals{const_cast<float*>(kStart), 0} : outside;
  const int steps = (n_blocks + 1) / 2;
  // The tiles of a step run while the sums of the step before are scaled.
  for (int step = 0; step <= steps; ++step) {
    for (int b = 2 * step; b < Smaller(2 * step + 2, n_blocks); ++b) {
      TileDots<R, M>(q + b * kActBlock, job.cols, weights[0] + b * kBlockBytes,
                     weights[1] + b * kBlockBytes, scratch->sums[step % 2][b % 2]);
    }
    if (step == 0) continue;
    const int done = step - 1;
    const auto* sums = scratch->sums[done % 2];
    const auto* mu = kInt8 ? nullptr : scratch->mu[done];
    const Totals from = done == 0 ? begin : inside, to = step == steps ? outside : inside;
    const bool last = block + 2 * done + 2 >= blocks;
    const float* scale = kInt8 && last ? row_scale : nullptr;
    if (2 * done + 1 == n_blocks) {
      Scale<R, M>(sums, s + 2 * done, blocks, mu, scale, false, from, to);
    } else if (kInt8 && last) {
      Scale<R, M>(sums, s + 2 * done, blocks, mu, row_scale, true, from, to);
    } else {
      Scale<R, M>(sums, s + 2 * done, blocks, mu, nullptr, true, from, to);
    }
  }
  if (edge) CopyEdge<false, R, M>(y, job.ldy, scratch->edge, job.rows - row);
}

// One column chunk of R row tiles, for all tokens.
template <bool kInt8, int R>
CHIMERA_VEC void AllTokens(const Job& job, int n_tokens, const int8_t* const* weights,
                           const float* row_scale, int row, int block, int n_blocks,
                           Scratch* scratch) {
  int token = 0;
  for (; token + 2 * kTileTokens <= n_tokens; token += 2 * kTileTokens) {
    ChunkProduct<kInt8, R, 2>(job, weights, row_scale, row, token, block, n_blocks, scratch);
  }
  if (token < n_tokens) {
    ChunkProduct<kInt8, R, 1>(job, weights, row_scale, row, token, block, n_blocks, scratch);
  }
}

void TernaryTokens(const TernaryView& w, int tile_begin, int tile_end, int n_tokens, const Job& job,
                   Scratch* scratch) {
  const int8_t* const weights[2] = {scratch->weights[0], scratch->weights[1]};
  const int blocks = w.cols / kActBlock, groups = WeightGroups(w.cols);
  for (int tile = tile_begin; tile < tile_end; tile += 2) {
    const int n_tiles = Smaller(2, tile_end - tile), row = tile * kRowTile;
    for (int block = 0; block < blocks; block += kChunkBlocks) {
      const int n_blocks = Smaller(kChunkBlocks, blocks - block);
      for (int r = 0; r < n_tiles; ++r) {
        const int64_t t = tile + r;
        Expand(w.codes + t * w.cols * 4 + block * 256, n_blocks, scratch->weights[r]);
        for (int g = 0; g < (n_blocks + 1) / 2; ++g) {
          Store(scratch->mu[g][r], LoadHalf(w.scales + (t * groups + block / 2 + g) * kRowTile));
        }
      }
      __asm__ volatile("" ::: "memory");  // tile loads do not tell the compiler what they read
      if (n_tiles == 2) {
        AllTokens<false, 2>(job, n_tokens, weights, nullptr, row, block, n_blocks, scratch);
      } else {
        AllTokens<false, 1>(job, n_tokens, weights, nullptr, row, block, n_blocks, scratch);
      }
    }
  }
}

void Int8Tokens(const Int8RowsView& w, int tile_begin, int tile_end, int n_tokens, const Job& job,
                Scratch* scratch) {
  const int blocks = w.cols / kActBlock;
  for (int tile = tile_begin; tile < tile_end; tile += 2) {
    const int n_tiles = Smaller(2, tile_end - tile), row = tile * kRowTile;
    const int8_t* rows = w.q + int64_t{row} * w.cols;
    for (int block = 0; block < blocks; block += kChunkBlocks) {
      const int n_blocks = Smaller(kChunkBlocks, blocks - block);
      const int8_t* from = rows + int64_t{block} * kBlockBytes;
      const int8_t* const weights[2] = {from,
                                        n_tiles == 2 ? from + int64_t{kRowTile} * w.cols : from};
      if (n_tiles == 2) {
        AllTokens<true, 2>(job, n_tokens, weights, w.scale + row, row, block, n_blocks, scratch);
      } else {
        AllTokens<true, 1>(job, n_tokens, weights, w.scale + row, row, block, n_blocks, scratch);
      }
    }
  }
}

void TernaryGemmBody(const TernaryView& w, int tile_begin, int tile_end, int n_tokens,
                     const int8_t* q, const float* s, float* y, int64_t ldy) {
  const TileConfig config;
  _tile_loadconfig(&config);
  Scratch scratch;
  const int64_t blocks = w.cols / kActBlock;
  for (int64_t t = 0; t < n_tokens; t += kTokenBlock) {
    const Job job = {w.cols, w.rows, q + t * w.cols, s + t * blocks, y + t * ldy, ldy};
    TernaryTokens(w, tile_begin, tile_end, Smaller(kTokenBlock, n_tokens - static_cast<int>(t)),
                  job, &scratch);
  }
  _tile_release();
}

void Int8GemmBody(const Int8RowsView& w, int tile_begin, int tile_end, int n_tokens,
                  const int8_t* q, const float* s, float* y, int64_t ldy) {
  const TileConfig config;
  _tile_loadconfig(&config);
  Scratch scratch;
  const int64_t blocks = w.cols / kActBlock;
  for (int64_t t = 0; t < n_tokens; t += kTokenBlock) {
    const Job job = {w.cols, w.rows, q + t * w.cols, s + t * blocks, y + t * ldy, ldy};
    Int8Tokens(w, tile_begin, tile_end, Smaller(kTokenBlock, n_tokens - static_cast<int>(t)), job,
               &scratch);
  }
  _tile_release();
}

}  // namespace

extern const AmxKernels kAmxKernels;
const AmxKernels kAmxKernels = {TernaryGemmBody, Int8GemmBody};

}  // namespace amx
}  // namespace chimera
