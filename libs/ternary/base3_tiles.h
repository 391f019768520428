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

// One token and one row tile.
struct TokenTile {
  const uint8_t* tiles;
  const uint16_t* scales;
  const int8_t* q;
  const float* s;
  const int32_t* sums;
  int blocks;
};

// The sum of t * q over a block that begins at quad P of a tile. Digits has
//   // The exact sums. The digits hold what is left of that tile where P is not 0, and of the last
//   // tile afterwards.
//   template <int P>
//   static I16 Dot(Digits* digits, const uint8_t* bytes, const int8_t* q, int32_t sum);
template <int P, typename Digits>
CHIMERA_VEC F16 BlockSum(const TokenTile& in, int block, Digits* digits) {
  return ToFloats(Digits::template Dot<P>(digits, FirstTile(in.tiles, block),
                                          in.q + block * kActBlock, in.sums[block]));
}

// Adds the weight group of `block`, which begins at quad P of a tile, and of the next one. False
// when it was the last.
template <int P, typename Digits>
CHIMERA_VEC bool AddGroup(const TokenTile& in, int block, Digits* digits, F16* total) {
  F16 part = in.s[block] * BlockSum<P>(in, block, digits);
  if (block + 1 < in.blocks) {
    part = Fma(BlockSum<(P + 1) % kDigits>(in, block + 1, digits), in.s[block + 1], part);
  }
  *total = Fma(LoadHalf(in.scales + block / 2 * kRowTile), part, *total);
  return block + 2 < in.blocks;
}

// y of one row tile, in the one float order.
template <typename Digits>
__attribute__((noinline)) void OneBase3Tile(const TernaryView& w, int tile, const int8_t* q,
                                            const float* s, const int32_t* sums, float* y) {
  const TokenTile in = {
      .tiles = w.codes + static_cast<size_t>(tile) * TileCodeBytes(w.packing, w.cols),
      .scales = w.scales + int64_t{tile} * WeightGroups(w.cols) * kRowTile,
      .q = q,
      .s = s,
      .sums = sums,
      .blocks = w.cols / kActBlock};
  Digits digits;
  F16 total = Splat(-0.0f);  // x + -0 is x, bit for bit
  for (int block = 0;; block += kRound) {
    if (!AddGroup<0>(in, block, &digits, &total)) break;
    if (!AddGroup<2>(in, block + 2, &digits, &total)) break;
    if (!AddGroup<4>(in, block + 4, &digits, &total)) break;
    if (!AddGroup<1>(in, block + 6, &digits, &total)) break;
    if (!AddGroup<3>(in, block + 8, &digits, &total)) break;
  }
  const int row = tile * kRowTile;
  StoreRows(y + row, total, Smaller(kRowTile, w.rows - row));
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
