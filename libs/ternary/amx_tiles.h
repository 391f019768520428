// The product of row tiles with some tokens, as steps of amx_step.h, which says what a form is.
// Internal linkage on purpose, as in tensor/vec.h. Free of Abseil.
#pragma once

#include "ternary/amx_step.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

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

struct alignas(64) Scratch {
  int8_t weights[kSharedRowTiles][2 * kBlockCodes];  // of a group, or of two that follow
  UnitSums sums[2] = {};
  float total[kTilesAtOnce * kSharedRowTiles][kTileInts];  // [token][row] of a unit
  float nowhere[kTileInts] = {};
};

// What is multiplied at a time: n tiles of tokens from `first` on, and some row tiles.
struct Region {
  int first, n;
  int row_tile, n_row_tiles;
};

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
  ForParts<kEnd>([&]<int kPart>() CHIMERA_INLINE { expander.template Store<kPart>(weights); });
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
