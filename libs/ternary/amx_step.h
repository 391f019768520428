// One step of a product by AMX int8 tiles (Intel SDM, TDPBSSD), whatever packs the weights. A tile
// holds up to 16 tokens x 64 columns of q, or 64 columns x 16 rows of weights: exactly one block,
// so that every tile product is a finished block sum, which is scaled in the one float order. A
// group is two blocks of a row tile; a unit is a group and up to 16 tokens. A form gives:
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

constexpr int kTileTokens = 16;  // most tokens of a tile
constexpr int kTileInts = 256;   // sums of a tile
constexpr int kParts = 8;        // of a step, and of the weights of a group

// Sums of the two blocks of a unit.
typedef int32_t UnitSums[2][kTileInts];

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

// Where the sums of a unit go.
struct Unit {
  const float* s;  // of the first token and block
  const uint16_t* scales;
  float* total;
};

// Adds the sums of tokens to their totals: of both blocks of a group, or of one that has no other.
template <typename Form, bool kTwo>
struct Adder {
  CHIMERA_INLINE explicit Adder(const uint16_t* scales) {
    if constexpr (Form::kGroupScales > 0) mu = LoadHalf(scales);
    if constexpr (kTwo && Form::kGroupScales > kRowTile) other_mu = LoadHalf(scales + kRowTile);
    __asm__("" : "+v"(magic), "+v"(magic_bits));  // kept in registers
  }
  // Of |x| < 2^22: a conversion takes the unit that multiplies.
  CHIMERA_INLINE F16 Floats(const int32_t* ints) const {
    I16 v;
    std::memcpy(&v, ints, sizeof(v));
    return (F16)(v + magic_bits) - magic;
  }
  CHIMERA_INLINE void Add(const int32_t* ints, const float* s, float* total) const {
    if constexpr (kTwo) {
      const F16 second = Floats(ints + kTileInts);
      Store(total, Form::AddTwo(mu, other_mu, Load(total), s, Floats(ints), second));
    } else {
      Store(total, Form::AddOne(mu, Load(total), s, Floats(ints)));
    }
  }
  F16 mu = {}, other_mu = {};
  F16 magic = Splat(kRoundMagic);
  I16 magic_bits = (I16)magic;
};

template <typename Form, bool kTwo>
void AddUnit(const Unit& unit, const TokenTiles& in, const UnitSums& sums) {
  const Adder<Form, kTwo> adder(unit.scales);
  for (int i = 0; i < in.size; ++i) {
    adder.Add(sums[0] + i * kRowTile, unit.s + i * in.blocks, unit.total + i * kRowTile);
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

// body<0>() to body<kEnd - 1>().
template <int kEnd, typename Body>
CHIMERA_VEC void ForParts(const Body& body) {
  [&]<int... kPart>(std::integer_sequence<int, kPart...>) CHIMERA_INLINE {
    (body.template operator()<kPart>(), ...);
  }
  (std::make_integer_sequence<int, kEnd>());
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
  constexpr int kHints = (Form::kGroupLines + kParts - 1) / kParts;
  const Adder<Form, true> adder(step.added.scales);
  const typename Form::Expander expander(step.next_tile, step.next_block);
  const int8_t *const q = step.q, *const weights = step.weights;
  int8_t* const next_weights = step.next_weights;
  const uint8_t* const later = step.later_codes;
  const int32_t* const ints = sums[kTurn][0];
  float* const total = step.added.total;
  const int64_t cols = in.cols, blocks = in.blocks;
  const int size = in.size;
  const float* const s = step.added.s;
  if (Form::kGroupScales > 0) __builtin_prefetch(step.later_scales, 0, 2);
  // Its two tokens are half a tile apart, so that half a tile has as many of them in every part.
  ForParts<kParts>([=]<int kPart>() CHIMERA_INLINE {
    TilePart<kTurn, kPart>(q, weights, cols, sums);
    if (kAlone || later != nullptr) {
#pragma GCC unroll 4
      for (int i = kPart * kHints; i < (kPart + 1) * kHints; ++i) {
        __builtin_prefetch(later + i * 64, 0, 2);
      }
    }
    if constexpr (kAlone) expander.template Store<kPart>(next_weights);
    const auto add = [=](int token) CHIMERA_INLINE {
      if (!kFull && token >= size) return;
      adder.Add(ints + token * kRowTile, s + token * blocks, total + token * kRowTile);
    };
    add(kPart);
    add(kPart + kTileTokens / 2);
  });
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
