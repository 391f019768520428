// Products of AMX int8 tiles (Intel SDM, TDPBSSD), whatever packs the weights. A tile holds up to
// 16 tokens x 64 columns of q, or 64 columns x 16 rows of weights: exactly one block, so that every
// tile product is a finished block sum, which is scaled in the one float order. A form gives:
//   struct Form {
//     using View = ...;
//     // How many scales a group of two blocks has.
//     static constexpr int kGroupScales;
//     static const uint16_t* Scales(const View& w, int tile, int block);
//     // int8 weights of n blocks of a row tile, kBlockCodes each, at `space` or where they stand.
//     static const int8_t* Weights(const View& w, int tile, int block, int n, int8_t* space);
//     // The total with one block of a group, or with both: I of each, s of their token.
//     static F16 AddOne(const F16* mu, F16 total, const float* s, F16 first);
//     static F16 AddTwo(const F16* mu, F16 total, const float* s, F16 first, F16 second);
//     // y of 16 rows from `row` on.
//     static F16 Result(const View& w, int row, F16 total);
//   };
// Two limits shape this. Within 0.65 us of a tile product one of the two units that multiply 512
// bits is off, while additions keep both ports: sums become floats by additions, and what scales
// them is kept short. And the first-level cache, shared with whoever has the core's other thread,
// holds 8 KB of expanded weights well, 32 badly.
// Internal linkage on purpose, as in tensor/vec.h. Free of Abseil.
#pragma once

#include <immintrin.h>

#include "tensor/vec.h"
#include "ternary/code_chunk.h"
#include "ternary/half.h"
#include "ternary/lanes.h"
#include "ternary/ternary.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kTileTokens = 16;     // most tokens of a tile
constexpr int kTileInts = 256;      // sums of a tile
constexpr int kRowTiles = 4;        // row tiles that share the activations of a tile
constexpr int kTilesAtOnce = 4;     // of tokens, with totals in the first-level cache
constexpr int kCachedTokens = 256;  // tokens whose activations the second-level cache keeps

// Tiles 0 to 3 are sums, 4 and 5 activations of up to 16 tokens; 6 and 7 weights.
struct alignas(64) TileConfig {
  explicit TileConfig(int tokens) {
    for (int tile = 0; tile < 6; ++tile) rows[tile] = static_cast<uint8_t>(tokens);
  }
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Sums of the two blocks of a group: one unit of work, 16 rows of some tokens.
typedef int32_t UnitSums[2][kTileInts];

struct alignas(64) Scratch {
  int8_t weights[kRowTiles][2 * kBlockCodes];
  UnitSums sums[2];
  float total[kTilesAtOnce][kRowTiles][kTileInts];  // [token][row] of a unit
};

// The tokens of a call that go through the weights together, in tiles of equal size: the last one
// overlaps the one before, whose results it gives again.
struct TokenTiles {
  int n, size;
  int64_t cols, blocks;
  const int8_t* q;
  const float* s;
  float* y;
  int64_t ldy;
  int First(int tile) const { return Smaller(tile * size, n - size); }
};

// Where the sums of a unit go: their scales, and their totals.
struct Unit {
  const float* s = nullptr;  // of the first token and block
  const uint16_t* scales = nullptr;
  float* total = nullptr;
  bool two = false;  // whether the group has a second block
};

// Of |x| < 2^22, by adding kRoundMagic as integers and taking it off as floats: a conversion takes
// the unit that multiplies.
CHIMERA_VEC F16 Floats(const int32_t* ints) {
  I16 v;
  std::memcpy(&v, ints, sizeof(v));
  return (F16)(v + __builtin_bit_cast(int32_t, kRoundMagic)) - kRoundMagic;
}

// Adds the sums of a unit to its totals. A function of its own, whose loop has the registers to
// itself.
template <typename Form, bool kTwo>
__attribute__((noinline)) void AddUnit(const int32_t* ints, const float* s, const uint16_t* scales,
                                       float* total, int64_t blocks, int size) {
  F16 mu[2] = {};
  if constexpr (Form::kGroupScales > 0) mu[0] = LoadHalf(scales);
  if constexpr (Form::kGroupScales > kRowTile && kTwo) mu[1] = LoadHalf(scales + kRowTile);
#pragma GCC unroll 4
  for (int i = 0; i < size; ++i) {
    if constexpr (kTwo) {
      const F16 second = Floats(ints + kTileInts);
      Store(total, Form::AddTwo(mu, Load(total), s, Floats(ints), second));
    } else {
      Store(total, Form::AddOne(mu, Load(total), s, Floats(ints)));
    }
    s += blocks;
    ints += kRowTile;
    total += kRowTile;
  }
}

// Tile numbers are part of the instructions: units take turns with tiles 0, 1 and 2, 3.
template <int Turn>
CHIMERA_VEC void StartUnit(const int8_t* weights, bool two) {
  _tile_loadd(6, weights, 64);
  if constexpr (Turn == 0) {
    _tile_zero(0);
    _tile_dpbssd(0, 4, 6);
  } else {
    _tile_zero(2);
    _tile_dpbssd(2, 4, 6);
  }
  if (!two) return;
  _tile_loadd(7, weights + kBlockCodes, 64);
  if constexpr (Turn == 0) {
    _tile_zero(1);
    _tile_dpbssd(1, 5, 7);
  } else {
    _tile_zero(3);
    _tile_dpbssd(3, 5, 7);
  }
}

template <typename Form, int Turn>
CHIMERA_VEC void FinishUnit(const Unit& unit, const TokenTiles& in, UnitSums* sums) {
  if constexpr (Turn == 0) {
    _tile_stored(0, sums[0][0], 64);
    if (unit.two) _tile_stored(1, sums[0][1], 64);
  } else {
    _tile_stored(2, sums[1][0], 64);
    if (unit.two) _tile_stored(3, sums[1][1], 64);
  }
  const int32_t* ints = sums[Turn][0];
  if (unit.two) {
    AddUnit<Form, true>(ints, unit.s, unit.scales, unit.total, in.blocks, in.size);
  } else {
    AddUnit<Form, false>(ints, unit.s, unit.scales, unit.total, in.blocks, in.size);
  }
}

// One group of R row tiles, whose weights are expanded.
template <int R>
struct Group {
  int block;  // its first
  bool two;   // whether it has a second
  const int8_t* weights[R];
  const uint16_t* scales[R];
};

// n tiles of tokens from `first` on. The sums of a unit are scaled while the next one is
// multiplied; the last one stays behind in *pending, which is what the call before left.
template <typename Form, int R>
__attribute__((noinline)) void MultiplyGroup(const Group<R>& group, const TokenTiles& in, int first,
                                             int n, Unit* pending, Scratch* scratch) {
  static_assert(R == 2 || R == 4);
  const bool two = group.two;
  Unit before = *pending;
  for (int i = 0; i < n; ++i) {
    const int64_t token = in.First(first + i);
    const int8_t* q = in.q + token * in.cols + group.block * kActBlock;
    const float* s = in.s + token * in.blocks + group.block;
    float* const total = scratch->total[i][0];
    _tile_loadd(4, q, in.cols);
    if (two) _tile_loadd(5, q + kActBlock, in.cols);
    StartUnit<0>(group.weights[0], two);
    if (before.total != nullptr) FinishUnit<Form, 1>(before, in, scratch->sums);
    StartUnit<1>(group.weights[1], two);
    FinishUnit<Form, 0>({s, group.scales[0], total, two}, in, scratch->sums);
    if constexpr (R == 4) {
      StartUnit<0>(group.weights[2], two);
      FinishUnit<Form, 1>({s, group.scales[1], total + kTileInts, two}, in, scratch->sums);
      StartUnit<1>(group.weights[3], two);
      FinishUnit<Form, 0>({s, group.scales[2], total + 2 * kTileInts, two}, in, scratch->sums);
    }
    before = {s, group.scales[R - 1], total + (R - 1) * kTileInts, two};
  }
  *pending = before;
}

// Totals of token tiles [first, first + n). The lines of y, of as many pages as there are tokens,
// are asked for long before they are written.
CHIMERA_VEC void BeginTotals(const TokenTiles& in, int first, int n, int row_tile, int n_row_tiles,
                             Scratch* scratch) {
  float* const totals = scratch->total[0][0];
  for (int i = 0; i < n * kRowTiles * kTileInts; i += kRowTile) {
    Store(totals + i, Splat(-0.0f));  // x + -0 is x, bit for bit
  }
  for (int i = 0; i < n; ++i) {
    const float* y = in.y + in.First(first + i) * in.ldy + row_tile * kRowTile;
    for (int token = 0; token < in.size; ++token, y += in.ldy) {
      for (int r = 0; r < n_row_tiles; ++r) __builtin_prefetch(y + r * kRowTile, 1);
    }
  }
}

template <typename Form>
CHIMERA_VEC void StoreTotals(const typename Form::View& w, const TokenTiles& in, int first, int n,
                             int row_tile, int n_row_tiles, const Scratch& scratch) {
  for (int i = 0; i < n; ++i) {
    float* y = in.y + in.First(first + i) * in.ldy;
    for (int token = 0; token < in.size; ++token, y += in.ldy) {
      for (int r = 0; r < n_row_tiles; ++r) {
        const int row = (row_tile + r) * kRowTile;
        const F16 total = Load(scratch.total[i][r] + token * kRowTile);
        StoreRows(y + row, Form::Result(w, row, total), Smaller(kRowTile, w.rows - row));
      }
    }
  }
}

// Token tiles [first, first + n) and up to R row tiles from row_tile on; where there are fewer, the
// last one is multiplied again.
template <typename Form, int R>
void MultiplyTiles(const typename Form::View& w, const TokenTiles& in, int first, int n,
                   int row_tile, int n_row_tiles, Scratch* scratch) {
  BeginTotals(in, first, n, row_tile, n_row_tiles, scratch);
  Unit pending;
  Group<R> group;
  for (group.block = 0; group.block < in.blocks; group.block += 2) {
    group.two = group.block + 1 < in.blocks;
    for (int r = 0; r < R; ++r) {
      const int of = row_tile + Smaller(r, n_row_tiles - 1);
      group.weights[r] = Form::Weights(w, of, group.block, group.two ? 2 : 1, scratch->weights[r]);
      group.scales[r] = Form::Scales(w, of, group.block);
    }
    __asm__ volatile("" ::: "memory");  // tile loads do not tell the compiler what they read
    MultiplyGroup<Form, R>(group, in, first, n, &pending, scratch);
  }
  FinishUnit<Form, 1>(pending, in, scratch->sums);
  StoreTotals<Form>(w, in, first, n, row_tile, n_row_tiles, *scratch);
}

// The product of row tiles [tile_begin, tile_end) with n_tokens tokens.
template <typename Form>
void Gemm(const typename Form::View& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
          const float* s, float* y, int64_t ldy) {
  Scratch scratch;
  const int64_t blocks = w.cols / kActBlock;
  for (int64_t t = 0; t < n_tokens; t += kCachedTokens) {
    const int n = Smaller(kCachedTokens, n_tokens - static_cast<int>(t));
    const int tiles = (n + kTileTokens - 1) / kTileTokens;
    const TokenTiles in = {.n = n,
                           .size = (n + tiles - 1) / tiles,
                           .cols = w.cols,
                           .blocks = blocks,
                           .q = q + t * w.cols,
                           .s = s + t * blocks,
                           .y = y + t * ldy,
                           .ldy = ldy};
    const TileConfig config(in.size);
    __asm__ volatile("" : : "r"(&config) : "memory");  // the next line names its first bytes only
    _tile_loadconfig(&config);
    for (int tile = tile_begin; tile < tile_end; tile += kRowTiles) {
      const int n_tiles = Smaller(kRowTiles, tile_end - tile);
      const auto multiply = n_tiles > 2 ? MultiplyTiles<Form, 4> : MultiplyTiles<Form, 2>;
      for (int first = 0; first < tiles; first += kTilesAtOnce) {
        multiply(w, in, first, Smaller(kTilesAtOnce, tiles - first), tile, n_tiles, &scratch);
      }
    }
  }
  _tile_release();
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
