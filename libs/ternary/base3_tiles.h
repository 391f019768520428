// The product of few tokens with base-3 bytes as they come from memory, whatever finds their
// digits. Blocks of 64 columns and tiles of 20 begin together every five blocks, so a round of ten
// blocks, five weight groups, is written out, and no tile is taken up twice. Internal linkage on
// purpose, as in tensor/vec.h. Free of Abseil.
#pragma once

#include "ternary/base3_digits.h"
#include "ternary/tile_product.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kRound = 10;
constexpr int kRoundBytes = kRound * kQuads / kDigits * kQuadBytes;

// What is left of some tokens and row tiles where a round begins.
struct Round {
  const uint8_t* tiles;
  int64_t tile_bytes;  // to the next of them
  const uint16_t* scales;
  int64_t tile_scales;
  const int8_t* q;
  const float* s;
  const int32_t* sums;
  int64_t cols;  // of a token, and its blocks
  int64_t token_blocks;
  int blocks;  // that are left

  void Next() {
    tiles += kRoundBytes;
    scales += kRound / 2 * kRowTile;
    q += kRound * kActBlock;
    s += kRound;
    sums += kRound;
    blocks -= kRound;
  }
};

// The sums of t * q over block B of the round, for T tokens. Digits has
//   struct Rest;  // what is left of a tile that goes on in the next block
//   // The exact sums of digits times q over a block that begins at quad P of a tile.
//   template <int P, int T>
//   static void Dots(const Digits& digits, Rest* rest, const uint8_t* bytes, const int8_t* q,
//                    int64_t cols, I16* dots);
template <int B, int T, typename Digits>
CHIMERA_VEC void BlockSums(const Round& in, int of, const Digits& digits,
                           typename Digits::Rest* rest, F16* sums) {
  const uint8_t* bytes = in.tiles + of * in.tile_bytes + B * kQuads / kDigits * kQuadBytes;
  I16 dots[T];
  Digits::template Dots<B % kDigits, T>(digits, rest, bytes, in.q + B * kActBlock, in.cols, dots);
#pragma GCC unroll 8
  for (int t = 0; t < T; ++t) sums[t] = ToFloats(dots[t] - in.sums[t * in.token_blocks + B]);
}

// Adds the weight group of blocks B and B + 1. False when it was the last.
template <int B, int N, int T, typename Digits>
CHIMERA_VEC bool AddGroup(const Round& in, const Digits& digits, typename Digits::Rest* rest,
                          F16 (*total)[T]) {
#pragma GCC unroll 2
  for (int i = 0; i < N; ++i) {
    F16 part[T], more[T];
    BlockSums<B, T>(in, i, digits, rest + i, part);
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) part[t] = in.s[t * in.token_blocks + B] * part[t];
    if (B + 1 < in.blocks) {
      BlockSums<B + 1, T>(in, i, digits, rest + i, more);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        part[t] = Fma(more[t], in.s[t * in.token_blocks + B + 1], part[t]);
      }
    }
    const F16 mu = LoadHalf(in.scales + i * in.tile_scales + B / 2 * kRowTile);
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) total[i][t] = Fma(mu, part[t], total[i][t]);
  }
  return B + 2 < in.blocks;
}

// y of T tokens and row tiles tile, tile + step .., N of them, in the one float order.
template <int N, int T, typename Digits>
__attribute__((noinline)) void SomeBase3Tiles(const TernaryView& w, int tile, int step,
                                              const int8_t* q, const float* s, const int32_t* sums,
                                              float* y, int64_t ldy) {
  const auto tile_bytes = static_cast<int64_t>(TileCodeBytes(w.packing, w.cols));
  const int64_t tile_scales = int64_t{WeightGroups(w.cols)} * kRowTile;
  Round in = {.tiles = w.codes + tile * tile_bytes,
              .tile_bytes = step * tile_bytes,
              .scales = w.scales + tile * tile_scales,
              .tile_scales = step * tile_scales,
              .q = q,
              .s = s,
              .sums = sums,
              .cols = w.cols,
              .token_blocks = w.cols / kActBlock,
              .blocks = w.cols / kActBlock};
  const Digits digits;
  typename Digits::Rest rest[N];
  F16 total[N][T];
  for (auto& of_tile : total) {
    for (F16& sum : of_tile) sum = Splat(-0.0f);  // x + -0 is x, bit for bit
  }
  for (;; in.Next()) {
    if (!AddGroup<0, N, T>(in, digits, rest, total)) break;
    if (!AddGroup<2, N, T>(in, digits, rest, total)) break;
    if (!AddGroup<4, N, T>(in, digits, rest, total)) break;
    if (!AddGroup<6, N, T>(in, digits, rest, total)) break;
    if (!AddGroup<8, N, T>(in, digits, rest, total)) break;
  }
  for (int i = 0; i < N; ++i) {
    const int row = (tile + i * step) * kRowTile;
    for (int t = 0; t < T; ++t) {
      StoreRows(y + t * ldy + row, total[i][t], Smaller(kRowTile, w.rows - row));
    }
  }
}

template <typename Digits>
CHIMERA_VEC void OneToken(const TernaryView& w, int tile_begin, int tile_end, const int8_t* q,
                          const float* s, const int32_t* sums, float* y) {
  ForStreams<2>(tile_begin, tile_end, [&]<int N>(int tile, int step) {
    SomeBase3Tiles<N, 1, Digits>(w, tile, step, q, s, sums, y, 0);
  });
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
