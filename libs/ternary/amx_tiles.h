// Products of AMX int8 tiles (Intel SDM, TDPBSSD), whatever packs the weights. A tile holds up to
// 16 tokens x 64 columns of q, or 64 columns x 16 rows of weights: exactly one block, so that every
// tile product is a finished block sum, which is scaled in the one float order. A group is two
// blocks of a row tile; a unit is a group and up to 16 tokens. A form gives:
//   struct Form {
//     using View = ...;
//     // How many scales a group has, and how many lines of codes.
//     static constexpr int kGroupScales, kGroupLines;
//     // Scales and codes of a row tile, and codes of its blocks from `block` on.
//     static const uint16_t* Scales(const View& w, int tile);
//     static const uint8_t* Tile(const View& w, int tile);
//     static const uint8_t* Codes(const uint8_t* tile, int block);
//     // Whether codes are int8 weights, as tiles load them.
//     static constexpr bool kInPlace;
//     // Makes them of the codes of a group, in kParts parts: the first half is the first block.
//     struct Expander {
//       Expander(const uint8_t* tile, int block);
//       template <int kPart>
//       void Store(int8_t* weights) const;
//     };
//     // The total with one block of a group, or with both: I of each, s of their token.
//     static F16 AddOne(F16 mu, F16 total, const float* s, F16 first);
//     static F16 AddTwo(F16 mu, F16 other_mu, F16 total, const float* s, F16 first, F16 second);
//     // y of 16 rows from `row` on.
//     static F16 Result(const View& w, int row, F16 total);
//   };
// What shapes this: tiles and vectors work side by side only where their instructions take turns, a
// few at a time, and whoever has the core's other thread makes tile loads and products two to three
// times as long. So a step multiplies a unit, stores the sums of the one before, adds up those of
// the one before that and makes weights of the next group, in kParts parts with something of each.
// Within 0.65 us of a tile product one of the two units that multiply 512 bits is off, while
// additions keep both ports: sums become floats by additions. And lines of memory are asked for a
// few at a time, or they take every buffer between the caches.
// Internal linkage on purpose, as in tensor/vec.h. Free of Abseil.
#pragma once

#include <immintrin.h>

#include <utility>

#include "tensor/vec.h"
#include "ternary/code_chunk.h"
#include "ternary/half.h"
#include "ternary/lanes.h"
#include "ternary/ternary.h"

// Members and lambdas, as CHIMERA_VEC.
#define CHIMERA_INLINE __attribute__((always_inline))

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kTileTokens = 16;     // most tokens of a tile
constexpr int kTileInts = 256;      // sums of a tile
constexpr int kParts = 8;           // of a step, and of the weights of a group
constexpr int kTilesAtOnce = 4;     // of tokens, with totals in the first-level cache
constexpr int kSharedRowTiles = 4;  // whose weights some tiles of tokens share
constexpr int kAloneRowTiles = 8;   // that share the activations of one tile
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

// Sums of the two blocks of a unit.
typedef int32_t UnitSums[2][kTileInts];

struct alignas(64) Scratch {
  int8_t weights[kSharedRowTiles][2 * kBlockCodes];  // of a group
  UnitSums sums[2] = {};
  float total[kTilesAtOnce * kSharedRowTiles][kTileInts];  // [token][row] of a unit
  float nowhere[kTileInts] = {};
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

// What is multiplied at a time: n tiles of tokens from `first` on, and some row tiles.
struct Region {
  int first, n;
  int row_tile, n_row_tiles;
};

// Where the sums of a unit go.
struct Unit {
  const float* s;  // of the first token and block
  const uint16_t* scales;
  float* total;
};

// Adds the sums of tokens to their totals.
template <typename Form>
struct Adder {
  CHIMERA_INLINE explicit Adder(const uint16_t* scales) {
    if constexpr (Form::kGroupScales > 0) mu = LoadHalf(scales);
    if constexpr (Form::kGroupScales > kRowTile) other_mu = LoadHalf(scales + kRowTile);
    __asm__("" : "+v"(magic), "+v"(magic_bits));  // kept in registers
  }
  // Of |x| < 2^22: a conversion takes the unit that multiplies.
  CHIMERA_INLINE F16 Floats(const int32_t* ints) const {
    I16 v;
    std::memcpy(&v, ints, sizeof(v));
    return (F16)(v + magic_bits) - magic;
  }
  CHIMERA_INLINE void AddOne(const int32_t* ints, const float* s, float* total) const {
    Store(total, Form::AddOne(mu, Load(total), s, Floats(ints)));
  }
  CHIMERA_INLINE void AddTwo(const int32_t* ints, const float* s, float* total) const {
    const F16 second = Floats(ints + kTileInts);
    Store(total, Form::AddTwo(mu, other_mu, Load(total), s, Floats(ints), second));
  }
  F16 mu = {}, other_mu = {};
  F16 magic = Splat(kRoundMagic);
  I16 magic_bits = (I16)magic;
};

template <typename Form, bool kTwo>
void AddUnit(const Unit& unit, const TokenTiles& in, const UnitSums& sums) {
  const Adder<Form> adder(unit.scales);
  for (int i = 0; i < in.size; ++i) {
    const int32_t* ints = sums[0] + i * kRowTile;
    const float* s = unit.s + i * in.blocks;
    float* const total = unit.total + i * kRowTile;
    kTwo ? adder.AddTwo(ints, s, total) : adder.AddOne(ints, s, total);
  }
}

// Tile instructions do not tell the compiler what they read, and it moves others across them.
CHIMERA_VEC void Fence() { __asm__ volatile("" ::: "memory"); }

// The operands of a block, where they are not in their tiles yet. Tile numbers are part of the
// instructions.
template <int kBlock>
CHIMERA_VEC void LoadTiles(const int8_t* q, const int8_t* weights, int64_t cols) {
  if (q != nullptr) {
    if constexpr (kBlock == 0) _tile_loadd(4, q, cols);
    if constexpr (kBlock == 1) _tile_loadd(5, q + kActBlock, cols);
  }
  if constexpr (kBlock == 0) _tile_loadd(6, weights, 64);
  if constexpr (kBlock == 1) _tile_loadd(7, weights + kBlockCodes, 64);
}

// Units take turns with tiles 0, 1 and 2, 3.
template <int kTurn, int kBlock>
CHIMERA_VEC void Multiply() {
  if constexpr (kTurn == 0 && kBlock == 0) {
    _tile_zero(0);
    _tile_dpbssd(0, 4, 6);
  } else if constexpr (kTurn == 0) {
    _tile_zero(1);
    _tile_dpbssd(1, 5, 7);
  } else if constexpr (kBlock == 0) {
    _tile_zero(2);
    _tile_dpbssd(2, 4, 6);
  } else {
    _tile_zero(3);
    _tile_dpbssd(3, 5, 7);
  }
}

template <int kTurn, int kBlock>
CHIMERA_VEC void StoreSums(UnitSums* sums) {
  int32_t* const to = sums[kTurn][kBlock];
  if constexpr (kTurn == 0 && kBlock == 0) _tile_stored(0, to, 64);
  if constexpr (kTurn == 0 && kBlock == 1) _tile_stored(1, to, 64);
  if constexpr (kTurn == 1 && kBlock == 0) _tile_stored(2, to, 64);
  if constexpr (kTurn == 1 && kBlock == 1) _tile_stored(3, to, 64);
}

struct Step {
  const int8_t* q;        // of the unit; nullptr where tiles 4 and 5 hold it already
  const int8_t* weights;  // of the unit
  Unit added;             // two units ago
  // The group whose weights are made.
  const uint8_t* next_tile;
  int next_block;
  int8_t* next_weights;
  // A group that is asked for; none with nullptr.
  const uint8_t* later_codes;
  const uint16_t* later_scales;
};

// What a part has for the tiles.
template <int kTurn, int kPart>
CHIMERA_VEC void TilePart(const int8_t* q, const int8_t* weights, int64_t cols, UnitSums* sums) {
  constexpr int kBlock = kPart / (kParts / 2), kWhich = kPart % (kParts / 2);
  Fence();
  if constexpr (kWhich == 0) LoadTiles<kBlock>(q, weights, cols);
  if constexpr (kWhich == 1) StoreSums<1 - kTurn, kBlock>(sums);
  if constexpr (kWhich == 2) Multiply<kTurn, kBlock>();
  Fence();
}

// A function of its own, whose code has the registers to itself. kFull: tiles have 16 tokens.
// kAlone: it makes the next weights, too.
template <typename Form, int kTurn, bool kFull, bool kAlone>
__attribute__((noinline)) void MakeStep(const Step& step, const TokenTiles& in, UnitSums* sums) {
  constexpr int kHalf = kTileTokens / 2, kHints = (Form::kGroupLines + kParts - 1) / kParts;
  const Adder<Form> adder(step.added.scales);
  const typename Form::Expander expander(step.next_tile, step.next_block);
  const int8_t *const q = step.q, *const weights = step.weights;
  int8_t* const next_weights = step.next_weights;
  const uint8_t* const later = step.later_codes;
  const int32_t* const ints = sums[kTurn][0];
  float* const total = step.added.total;
  const int64_t cols = in.cols, blocks = in.blocks;
  const int size = in.size;
  const float *s = step.added.s, *other = s + kHalf * blocks;
  if (Form::kGroupScales > 0) __builtin_prefetch(step.later_scales, 0, 2);
  // Its two tokens are half a tile apart, so that half a tile has as many of them in every part.
  const auto part = [=]<int kPart>(const float* s, const float* other) CHIMERA_INLINE {
    TilePart<kTurn, kPart>(q, weights, cols, sums);
    if (kAlone || later != nullptr) {
#pragma GCC unroll 4
      for (int i = kPart * kHints; i < (kPart + 1) * kHints; ++i) {
        __builtin_prefetch(later + i * 64, 0, 2);
      }
    }
    if constexpr (kAlone) expander.template Store<kPart>(next_weights);
    constexpr int kAt = kPart * kRowTile, kOther = (kPart + kHalf) * kRowTile;
    if (kFull || kPart < size) adder.AddTwo(ints + kAt, s, total + kAt);
    if (kFull || kPart + kHalf < size) adder.AddTwo(ints + kOther, other, total + kOther);
  };
  part.template operator()<0>(s, other);
  part.template operator()<1>(s + 1 * blocks, other + 1 * blocks);
  part.template operator()<2>(s + 2 * blocks, other + 2 * blocks);
  part.template operator()<3>(s + 3 * blocks, other + 3 * blocks);
  part.template operator()<4>(s + 4 * blocks, other + 4 * blocks);
  part.template operator()<5>(s + 5 * blocks, other + 5 * blocks);
  part.template operator()<6>(s + 6 * blocks, other + 6 * blocks);
  part.template operator()<7>(s + 7 * blocks, other + 7 * blocks);
}

// A row tile of a region, and the one that takes its place in the next.
struct RowTile {
  const uint8_t *codes, *later_codes;
  const uint16_t *scales, *later_scales;
};

template <typename Form>
void FindRowTiles(const typename Form::View& w, const Region& at, RowTile* row_tiles) {
  for (int r = 0; r < at.n_row_tiles; ++r) {
    const int tile = at.row_tile + r, later = tile + at.n_row_tiles;
    row_tiles[r] = {Form::Tile(w, tile), Form::Tile(w, later), Form::Scales(w, tile),
                    Form::Scales(w, later)};
  }
}

template <typename Form>
CHIMERA_VEC const uint16_t* ScalesAt(const uint16_t* scales, int block) {
  return scales + block / 2 * Form::kGroupScales;
}

// All parts, or those of the first block.
template <typename Form, int kEnd>
CHIMERA_VEC void Expand(const RowTile& row_tile, int block, int8_t* weights) {
  const typename Form::Expander expander(row_tile.codes, block);
  [&]<int... kPart>(std::integer_sequence<int, kPart...>) {
    (expander.template Store<kPart>(weights), ...);
  }
  (std::make_integer_sequence<int, kEnd>());
}

template <typename Form>
CHIMERA_VEC const int8_t* Weights(const RowTile& row_tile, int block, const int8_t* expanded) {
  if constexpr (!Form::kInPlace) return expanded;
  return reinterpret_cast<const int8_t*>(Form::Codes(row_tile.codes, block));
}

// The lines of y, of as many pages as there are tokens, are asked for long before they are written.
CHIMERA_VEC void BeginTotals(const TokenTiles& in, const Region& at, Scratch* scratch) {
  float* const totals = scratch->total[0];
  for (int i = 0; i < at.n * at.n_row_tiles * kTileInts; i += kRowTile) {
    Store(totals + i, Splat(-0.0f));  // x + -0 is x, bit for bit
  }
  for (int i = 0; i < at.n; ++i) {
    const float* y = in.y + in.First(at.first + i) * in.ldy + at.row_tile * kRowTile;
    for (int token = 0; token < in.size; ++token, y += in.ldy) {
      for (int r = 0; r < at.n_row_tiles; ++r) __builtin_prefetch(y + r * kRowTile, 1);
    }
  }
}

template <typename Form>
CHIMERA_VEC void StoreTotals(const typename Form::View& w, const TokenTiles& in, const Region& at,
                             const Scratch& scratch) {
  for (int i = 0; i < at.n; ++i) {
    float* y = in.y + in.First(at.first + i) * in.ldy;
    for (int token = 0; token < in.size; ++token, y += in.ldy) {
      for (int r = 0; r < at.n_row_tiles; ++r) {
        const int row = (at.row_tile + r) * kRowTile;
        const F16 total = Load(scratch.total[i * at.n_row_tiles + r] + token * kRowTile);
        StoreRows(y + row, Form::Result(w, row, total), Smaller(kRowTile, w.rows - row));
      }
    }
  }
}

// Units one after the other. Two steps behind, a unit's sums are added.
template <typename Form, bool kFull, bool kAlone>
struct Pipeline {
  Pipeline(const TokenTiles& in, const Unit& nowhere, Scratch* scratch)
      : in(in), sums(scratch->sums), before(nowhere), added(nowhere) {}
  void Push(const Unit& unit, Step* step) {
    step->added = added;
    const auto make_step =
        turn == 0 ? MakeStep<Form, 0, kFull, kAlone> : MakeStep<Form, 1, kFull, kAlone>;
    make_step(*step, in, sums);
    added = before;
    before = unit;
    turn ^= 1;
  }
  void Drain() {
    AddUnit<Form, true>(added, in, sums[turn]);
    Fence();
    if (turn == 1) {
      StoreSums<0, 0>(sums);
      StoreSums<0, 1>(sums);
    } else {
      StoreSums<1, 0>(sums);
      StoreSums<1, 1>(sums);
    }
    Fence();
    AddUnit<Form, true>(before, in, sums[1 - turn]);
  }
  const TokenTiles& in;
  UnitSums* sums;
  Unit before, added;
  int turn = 0;
};

// All groups, for one tile of tokens: every step makes the weights of the next.
template <typename Form, bool kFull>
void MultiplyAlone(const TokenTiles& in, const Region& at, const RowTile* row_tiles,
                   Scratch* scratch) {
  const int blocks = static_cast<int>(in.blocks) / 2 * 2, n = at.n_row_tiles;
  const int64_t token = in.First(at.first);
  const int8_t* const q = in.q + token * in.cols;
  const float* const s = in.s + token * in.blocks;
  Pipeline<Form, kFull, true> pipeline(in, {s, row_tiles->scales, scratch->nowhere}, scratch);
  Expand<Form, kParts>(row_tiles[0], 0, scratch->weights[0]);
  int buffer = 0;
  for (int block = 0; block < blocks; block += 2) {
    for (int r = 0; r < n; ++r, buffer ^= 1) {
      const RowTile& of = row_tiles[r];
      const bool last = r + 1 == n;
      Step step = {.q = r == 0 ? q + block * kActBlock : nullptr,
                   .weights = Weights<Form>(of, block, scratch->weights[buffer]),
                   .next_tile = row_tiles[last ? 0 : r + 1].codes,
                   .next_block = last ? Smaller(block + 2, blocks - 2) : block,
                   .next_weights = scratch->weights[1 - buffer],
                   .later_codes = Form::Codes(of.later_codes, block),
                   .later_scales = ScalesAt<Form>(of.later_scales, block)};
      pipeline.Push({s + block, ScalesAt<Form>(of.scales, block), scratch->total[r]}, &step);
    }
  }
  pipeline.Drain();
}

// The same for some tiles of tokens, which share the weights of a group of all row tiles.
template <typename Form, bool kFull>
void MultiplyShared(const TokenTiles& in, const Region& at, const RowTile* row_tiles,
                    Scratch* scratch) {
  const int n = at.n_row_tiles;
  Pipeline<Form, kFull, false> pipeline(in, {in.s, row_tiles->scales, scratch->nowhere}, scratch);
  for (int block = 0; block + 1 < in.blocks; block += 2) {
    for (int r = 0; r < n; ++r) Expand<Form, kParts>(row_tiles[r], block, scratch->weights[r]);
    for (int k = 0; k < at.n; ++k) {
      const int64_t token = in.First(at.first + k);
      const int8_t* const q = in.q + token * in.cols + block * kActBlock;
      const float* const s = in.s + token * in.blocks + block;
      for (int r = 0; r < n; ++r) {
        const RowTile& of = row_tiles[r];
        Step step = {.q = r == 0 ? q : nullptr,
                     .weights = Weights<Form>(of, block, scratch->weights[r]),
                     .later_codes = k == 0 ? Form::Codes(of.later_codes, block) : nullptr,
                     .later_scales = ScalesAt<Form>(of.later_scales, block)};
        pipeline.Push({s, ScalesAt<Form>(of.scales, block), scratch->total[k * n + r]}, &step);
      }
    }
  }
  pipeline.Drain();
}

// The last block, where their number is odd.
template <typename Form>
void MultiplyLast(const TokenTiles& in, const Region& at, const RowTile* row_tiles,
                  Scratch* scratch) {
  const int block = static_cast<int>(in.blocks) - 1;
  for (int r = 0; r < at.n_row_tiles; ++r) {
    Expand<Form, kParts / 2>(row_tiles[r], block, scratch->weights[0]);
    const int8_t* const weights = Weights<Form>(row_tiles[r], block, scratch->weights[0]);
    for (int k = 0; k < at.n; ++k) {
      const int64_t token = in.First(at.first + k);
      Fence();
      LoadTiles<0>(in.q + token * in.cols + block * kActBlock, weights, in.cols);
      Multiply<0, 0>();
      StoreSums<0, 0>(scratch->sums);
      Fence();
      const Unit unit = {in.s + token * in.blocks + block,
                         ScalesAt<Form>(row_tiles[r].scales, block),
                         scratch->total[k * at.n_row_tiles + r]};
      AddUnit<Form, false>(unit, in, scratch->sums[0]);
    }
  }
}

template <typename Form>
void MultiplyRegion(const typename Form::View& w, const TokenTiles& in, const Region& at,
                    Scratch* scratch) {
  RowTile row_tiles[kAloneRowTiles];
  FindRowTiles<Form>(w, at, row_tiles);
  BeginTotals(in, at, scratch);
  if (in.blocks > 1) {
    const bool full = in.size == kTileTokens;
    const auto multiply = at.n == 1
                              ? (full ? MultiplyAlone<Form, true> : MultiplyAlone<Form, false>)
                              : (full ? MultiplyShared<Form, true> : MultiplyShared<Form, false>);
    multiply(in, at, row_tiles, scratch);
  }
  if (in.blocks % 2 != 0) MultiplyLast<Form>(in, at, row_tiles, scratch);
  StoreTotals<Form>(w, in, at, *scratch);
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
    const int at_once = tiles == 1 ? kAloneRowTiles : kSharedRowTiles;
    const int regions = (tile_end - tile_begin + at_once - 1) / at_once;
    for (int tile = tile_begin, left = regions, count = 0; left > 0; --left, tile += count) {
      count = (tile_end - tile + left - 1) / left;
      for (int first = 0; first < tiles; first += kTilesAtOnce) {
        const Region at = {first, Smaller(kTilesAtOnce, tiles - first), tile, count};
        MultiplyRegion<Form>(w, in, at, &scratch);
      }
    }
  }
  _tile_release();
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
