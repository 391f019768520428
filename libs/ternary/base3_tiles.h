// The product of one token with base-3 bytes, whatever finds their digits. Blocks of 64 columns and
// tiles of 20 begin together every five blocks, so a round of ten blocks, five weight groups, is
// written out, and no tile is taken up twice. Internal linkage on purpose, as in tensor/vec.h. Free
// of Abseil.
#pragma once

#include "ternary/base3_digits.h"
#include "ternary/tile_product.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kRound = 10;
constexpr int kRoundBytes = kRound * kQuads / kDigits * kQuadBytes;

// What is left of one token and some row tiles where a round begins.
struct Round {
  const uint8_t* tiles;
  int64_t tile_bytes;  // to the next of them
  const uint16_t* scales;
  int64_t tile_scales;
  const int8_t* q;
  const float* s;
  const int32_t* sums;
  int blocks;  // that are left

  void NextRound() {
    tiles += kRoundBytes;
    scales += kRound / 2 * kRowTile;
    q += kRound * kActBlock;
    s += kRound;
    sums += kRound;
    blocks -= kRound;
  }
};

// The sum of t * q over block B of the round. Digits has
//   struct Rest;  // what is left of a tile that goes on in the next block
//   // The exact sums over a block that begins at quad P of a tile.
//   template <int P>
//   static I16 Dot(const Digits& digits, Rest* rest, const uint8_t* bytes, const int8_t* q,
//                  int32_t sum);
template <int B, typename Digits>
CHIMERA_VEC F16 BlockSum(const Round& in, int of, const Digits& digits,
                         typename Digits::Rest* rest) {
  const uint8_t* bytes = in.tiles + of * in.tile_bytes + B * kQuads / kDigits * kQuadBytes;
  return ToFloats(
      Digits::template Dot<B % kDigits>(digits, rest, bytes, in.q + B * kActBlock, in.sums[B]));
}

// Adds the weight group of blocks B and B + 1. False when it was the last.
template <int B, int N, typename Digits>
CHIMERA_VEC bool AddGroup(const Round& in, const Digits& digits, typename Digits::Rest* rest,
                          F16* total) {
#pragma GCC unroll 2
  for (int i = 0; i < N; ++i) {
    F16 part = in.s[B] * BlockSum<B>(in, i, digits, rest + i);
    if (B + 1 < in.blocks) {
      part = Fma(BlockSum<B + 1>(in, i, digits, rest + i), in.s[B + 1], part);
    }
    total[i] = Fma(LoadHalf(in.scales + i * in.tile_scales + B / 2 * kRowTile), part, total[i]);
  }
  return B + 2 < in.blocks;
}

// y of row tiles tile, tile + step .., N of them, in the one float order.
template <int N, typename Digits>
__attribute__((noinline)) void SomeBase3Tiles(const TernaryView& w, int tile, int step,
                                              const int8_t* q, const float* s, const int32_t* sums,
                                              float* y) {
  const auto tile_bytes = static_cast<int64_t>(TileCodeBytes(w.packing, w.cols));
  const int64_t tile_scales = int64_t{WeightGroups(w.cols)} * kRowTile;
  Round in = {.tiles = w.codes + tile * tile_bytes,
              .tile_bytes = step * tile_bytes,
              .scales = w.scales + tile * tile_scales,
              .tile_scales = step * tile_scales,
              .q = q,
              .s = s,
              .sums = sums,
              .blocks = w.cols / kActBlock};
  const Digits digits;
  typename Digits::Rest rest[N];
  F16 total[N];
  for (int i = 0; i < N; ++i) total[i] = Splat(-0.0f);  // x + -0 is x, bit for bit
  for (;; in.NextRound()) {
    if (!AddGroup<0, N>(in, digits, rest, total)) break;
    if (!AddGroup<2, N>(in, digits, rest, total)) break;
    if (!AddGroup<4, N>(in, digits, rest, total)) break;
    if (!AddGroup<6, N>(in, digits, rest, total)) break;
    if (!AddGroup<8, N>(in, digits, rest, total)) break;
  }
  for (int i = 0; i < N; ++i) {
    const int row = (tile + i * step) * kRowTile;
    StoreRows(y + row, total[i], Smaller(kRowTile, w.rows - row));
  }
}

template <typename Digits>
CHIMERA_VEC void Base3TilesOfOneToken(const TernaryView& w, int tile_begin, int tile_end,
                                      const int8_t* q, const float* s, const int32_t* sums,
                                      float* y) {
  ForStreams<2>(tile_begin, tile_end, [&]<int N>(int tile, int step) {
    SomeBase3Tiles<N, Digits>(w, tile, step, q, s, sums, y);
  });
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
