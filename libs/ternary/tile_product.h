// The product of row tiles with int8 activations, whatever packs the trits: the loops over tiles,
// groups and tokens, and the one float order. A packing gives the exact int32 sums of a block of
// 64 columns:
//   struct Packing {
//     // dots[i] = sum of t * q over one block, for the 16 rows of a tile and token i of T.
//     template <int T>
//     static void Dots(const uint8_t* tile, const Tokens& in, int block, I16* dots);
//   };
// Everything here has internal linkage on purpose, as in tensor/vec.h. Free of Abseil.
#pragma once

#include "tensor/vec.h"
#include "ternary/code_dots.h"
#include "ternary/half.h"
#include "ternary/lanes.h"
#include "ternary/ternary_kernels.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kTokens = 8;              // token columns of one pass over a row tile
constexpr int kTokenBlock = 64;         // tokens whose activations stay in the second-level cache
constexpr int kTileBlock = 4;           // row tiles that share one read of eight tokens
constexpr int kTwoBitBlockBytes = 256;  // two-bit codes of 16 rows x 64 columns

// y of one row tile for T tokens: the one float order.
template <typename Packing, int T>
void TileProduct(const TernaryView& w, int tile, const Tokens& in, float* y, int64_t ldy) {
  const int groups = WeightGroups(w.cols), blocks = w.cols / kActBlock;
  const uint8_t* codes = w.codes + static_cast<size_t>(tile) * TileCodeBytes(w.packing, w.cols);
  const uint16_t* scales = w.scales + int64_t{tile} * groups * kRowTile;
  F16 total[T];
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) total[i] = Splat(-0.0f);  // -0 + x is x, bit for bit
  for (int g = 0; g < groups; ++g) {
    const F16 mu = LoadHalf(scales + g * kRowTile);
    F16 part[T];
    I16 dots[T];
    Packing::template Dots<T>(codes, in, 2 * g, dots);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      part[i] = in.s[i * in.blocks + 2 * g] * ToFloats(dots[i]);
    }
    if (2 * g + 1 < blocks) {
      Packing::template Dots<T>(codes, in, 2 * g + 1, dots);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        part[i] = part[i] + in.s[i * in.blocks + 2 * g + 1] * ToFloats(dots[i]);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) total[i] = total[i] + mu * part[i];
  }
  const int row = tile * kRowTile, n_rows = Smaller(kRowTile, w.rows - row);
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) StoreN(y + i * ldy + row, total[i], n_rows);
}

template <typename Packing>
void TileTokens(const TernaryView& w, int tile, int n, const Tokens& in, float* y, int64_t ldy) {
  switch (n) {
    case 1:
      return TileProduct<Packing, 1>(w, tile, in, y, ldy);
    case 2:
      return TileProduct<Packing, 2>(w, tile, in, y, ldy);
    case 3:
      return TileProduct<Packing, 3>(w, tile, in, y, ldy);
    case 4:
      return TileProduct<Packing, 4>(w, tile, in, y, ldy);
    case 5:
      return TileProduct<Packing, 5>(w, tile, in, y, ldy);
    case 6:
      return TileProduct<Packing, 6>(w, tile, in, y, ldy);
    case 7:
      return TileProduct<Packing, 7>(w, tile, in, y, ldy);
    default:
      return TileProduct<Packing, 8>(w, tile, in, y, ldy);
  }
}

template <typename Packing>
void Gemm(const TernaryView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
          const float* s, const int32_t* sums, float* y, int64_t ldy) {
  const int64_t cols = w.cols, blocks = w.cols / kActBlock;
  for (int block = 0; block < n_tokens; block += kTokenBlock) {
    const int block_end = Smaller(n_tokens, block + kTokenBlock);
    for (int first = tile_begin; first < tile_end; first += kTileBlock) {
      const int last = Smaller(tile_end, first + kTileBlock);
      for (int token = block; token < block_end; token += kTokens) {
        const int64_t t = token;
        const Tokens in = {q + t * cols, s + t * blocks, sums + t * blocks, cols, blocks};
        for (int tile = first; tile < last; ++tile) {
          TileTokens<Packing>(w, tile, Smaller(kTokens, block_end - token), in, y + t * ldy, ldy);
        }
      }
    }
  }
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
