// The product of row tiles with int8 activations, whatever packs the trits: the loops over tiles,
// groups and tokens, and the one float order. A packing gives the exact int32 sums of a block of
// 64 columns:
//   struct Packing {
//     static constexpr int kRowTiles;  // most row tiles of one call, 1 or 2
//     static constexpr bool kAsks;     // lines of codes are worth asking for ahead
//     // dots[r * T + i] = sum of t * q over one block, for the 16 rows of tile r of R, tile_bytes
//     // apart, and token i of T.
//     template <int R, int T>
//     static void Dots(const uint8_t* tile, int64_t tile_bytes, const Tokens& in, int block,
//                      I16* dots);
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
constexpr int kPairTokens = 4;          // most tokens for which row tiles are paired
constexpr int kTwoBitBlockBytes = 256;  // two-bit codes of 16 rows x 64 columns

// Asks for a block of codes ahead.
template <int R>
CHIMERA_VEC void AskFor(const uint8_t* codes, int64_t tile_bytes) {
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int line = 0; line < kTwoBitBlockBytes; line += 64) {
      Prefetch(codes + r * tile_bytes + line);
    }
  }
}

// y of R row tiles for T tokens: the one float order. First: of the passes over the tiles, whose
// codes come from memory. A function of its own, whose registers its callers do not share.
template <typename Packing, int R, int T, bool First>
__attribute__((noinline)) void TileProduct(const TernaryView& w, int tile, const Tokens& in,
                                           float* y, int64_t ldy) {
  const int groups = WeightGroups(w.cols), blocks = w.cols / kActBlock;
  const auto tile_bytes = static_cast<int64_t>(TileCodeBytes(w.packing, w.cols));
  const uint8_t* codes = w.codes + int64_t{tile} * tile_bytes;
  const uint16_t* scales = w.scales + int64_t{tile} * groups * kRowTile;
  F16 total[R * T];
#pragma GCC unroll 16
  for (int i = 0; i < R * T; ++i) total[i] = Splat(-0.0f);  // -0 + x is x, bit for bit
  for (int g = 0; g < groups; ++g) {
    F16 part[R * T];
    I16 dots[R * T];
    if constexpr (First && Packing::kAsks) {
      AskFor<R>(codes + 2 * g * kTwoBitBlockBytes, tile_bytes);
      AskFor<R>(codes + (2 * g + 1) * kTwoBitBlockBytes, tile_bytes);
    }
    Packing::template Dots<R, T>(codes, tile_bytes, in, 2 * g, dots);
#pragma GCC unroll 16
    for (int i = 0; i < R * T; ++i) {
      part[i] = in.s[i % T * in.blocks + 2 * g] * ToFloats(dots[i]);
    }
    if (2 * g + 1 < blocks) {
      Packing::template Dots<R, T>(codes, tile_bytes, in, 2 * g + 1, dots);
#pragma GCC unroll 16
      for (int i = 0; i < R * T; ++i) {
        part[i] = part[i] + in.s[i % T * in.blocks + 2 * g + 1] * ToFloats(dots[i]);
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      const F16 mu = LoadHalf(scales + (r * groups + g) * kRowTile);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) total[r * T + i] = total[r * T + i] + mu * part[r * T + i];
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
    const int row = (tile + r) * kRowTile, n_rows = Smaller(kRowTile, w.rows - row);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) StoreRows(y + i * ldy + row, total[r * T + i], n_rows);
  }
}

template <typename Packing, int T, bool First>
CHIMERA_VEC void Tiles(const TernaryView& w, int first, int last, const Tokens& in, float* y,
                       int64_t ldy) {
  // One token reads one stream; many need all registers for one row tile.
  constexpr int R = T == 1 || T > kPairTokens ? 1 : Packing::kRowTiles;
  int tile = first;
  for (; tile + R <= last; tile += R) TileProduct<Packing, R, T, First>(w, tile, in, y, ldy);
  if constexpr (R > 1) {
    for (; tile < last; ++tile) TileProduct<Packing, 1, T, First>(w, tile, in, y, ldy);
  }
}

// Row tiles [first, last) for n <= kTokens tokens.
template <typename Packing, bool First>
void TilesOf(const TernaryView& w, int first, int last, int n, const Tokens& in, float* y,
             int64_t ldy) {
  switch (n) {
    case 1:
      return Tiles<Packing, 1, First>(w, first, last, in, y, ldy);
    case 2:
      return Tiles<Packing, 2, First>(w, first, last, in, y, ldy);
    case 3:
      return Tiles<Packing, 3, First>(w, first, last, in, y, ldy);
    case 4:
      return Tiles<Packing, 4, First>(w, first, last, in, y, ldy);
    case 5:
      return Tiles<Packing, 5, First>(w, first, last, in, y, ldy);
    case 6:
      return Tiles<Packing, 6, First>(w, first, last, in, y, ldy);
    case 7:
      return Tiles<Packing, 7, First>(w, first, last, in, y, ldy);
    default:
      return Tiles<Packing, 8, First>(w, first, last, in, y, ldy);
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
        const auto tiles = token == block ? TilesOf<Packing, true> : TilesOf<Packing, false>;
        tiles(w, first, last, Smaller(kTokens, block_end - token), in, y + t * ldy, ldy);
      }
    }
  }
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
