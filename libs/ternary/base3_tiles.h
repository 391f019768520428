// The product of one token with base-3 bytes, whatever finds their digits. Blocks of 64 columns and
// tiles of 20 begin together every five blocks, so a round of ten blocks, five weight groups, is
// written out, and no tile is taken up twice. Internal linkage on purpose, as in tensor/vec.h. Free
// of Abseil.
#pragma once

#include "ternary/tile_product.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kDigits = 5;  // quads in a tile of 64 bytes, and blocks after which tiles begin again
constexpr int kRound = 10;

// Where the tile with a block's first quad stands.
CHIMERA_VEC const uint8_t* FirstTile(const uint8_t* tiles, int block) {
  return tiles + int64_t{block} * kQuads / kDigits * kQuadBytes;
}

// One token and one row tile.
struct TokenTile {
  const uint8_t* tiles;
  const uint16_t* scales;
  const int8_t* q;
  const float* s;
  const int32_t* sums;
};

// s * sum of t * q over a block that begins at quad P of a tile. Digits has
//   // The exact sums. The digits hold what is left of that tile where P is not 0, and of the last
//   // tile afterwards.
//   template <int P>
//   static I16 Dot(Digits* digits, const uint8_t* bytes, const int8_t* q, int32_t sum);
//   // Takes up a tile of which P quads are behind.
//   template <int P>
//   static void Enter(Digits* digits, const uint8_t* bytes);
template <int P, typename Digits>
CHIMERA_VEC F16 Scaled(const TokenTile& in, int block, Digits* digits) {
  const I16 dot = Digits::template Dot<P>(digits, FirstTile(in.tiles, block),
                                          in.q + block * kActBlock, in.sums[block]);
  return in.s[block] * ToFloats(dot);
}

// Any block.
template <typename Digits>
F16 Scaled(const TokenTile& in, int block, Digits digits) {
  const uint8_t* bytes = FirstTile(in.tiles, block);
  switch (block % kDigits) {
    case 0:
      return Scaled<0>(in, block, &digits);
    case 1:
      Digits::template Enter<1>(&digits, bytes);
      return Scaled<1>(in, block, &digits);
    case 2:
      Digits::template Enter<2>(&digits, bytes);
      return Scaled<2>(in, block, &digits);
    case 3:
      Digits::template Enter<3>(&digits, bytes);
      return Scaled<3>(in, block, &digits);
    default:
      Digits::template Enter<4>(&digits, bytes);
      return Scaled<4>(in, block, &digits);
  }
}

// The weight group of `block` and the next one, at quads P and P + 1 of their tiles.
template <int P, typename Digits>
CHIMERA_VEC F16 Group(const TokenTile& in, int block, Digits* digits) {
  const F16 first = Scaled<P>(in, block, digits);
  const F16 second = Scaled<(P + 1) % kDigits>(in, block + 1, digits);
  return LoadHalf(in.scales + block / 2 * kRowTile) * (first + second);
}

// y of one row tile, in the one float order.
template <typename Digits>
__attribute__((noinline)) void OneBase3Tile(const TernaryView& w, int tile, const int8_t* q,
                                            const float* s, const int32_t* sums, float* y) {
  const int groups = WeightGroups(w.cols), blocks = w.cols / kActBlock;
  const TokenTile in = {w.codes + static_cast<size_t>(tile) * TileCodeBytes(w.packing, w.cols),
                        w.scales + int64_t{tile} * groups * kRowTile, q, s, sums};
  Digits digits;
  F16 total = Splat(-0.0f);  // -0 + x is x, bit for bit
  int block = 0;
  for (; block + kRound <= blocks; block += kRound) {
    total = total + Group<0>(in, block, &digits);
    total = total + Group<2>(in, block + 2, &digits);
    total = total + Group<4>(in, block + 4, &digits);
    total = total + Group<1>(in, block + 6, &digits);
    total = total + Group<3>(in, block + 8, &digits);
  }
  for (; block < blocks; block += 2) {
    F16 part = Scaled(in, block, digits);
    if (block + 1 < blocks) part = part + Scaled(in, block + 1, digits);
    total = total + LoadHalf(in.scales + block / 2 * kRowTile) * part;
  }
  const int row = tile * kRowTile;
  StoreRows(y + row, total, Smaller(kRowTile, w.rows - row));
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
