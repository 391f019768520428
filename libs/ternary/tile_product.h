// The product of row tiles with int8 activations, whatever packs the trits: the loops over tiles,
// blocks and tokens. One token takes the packed codes as they come from memory, and so may more
// with two-bit codes and base-3 bytes. Others share codes unpacked to bytes, some blocks of a few
// row tiles at a time. A packing gives:
//   struct Packing {
//     // The products of up to kFewTokens tokens, at least one.
//     static constexpr int kFewTokens;
//     static void FewTokens(const TernaryView& w, int tile_begin, int tile_end, int n_tokens,
//                           const int8_t* q, const float* s, const int32_t* sums, float* y,
//                           int64_t ldy);
//     // The codes of n blocks of a tile as bytes t + 1, as code_dots.h wants them.
//     static void Unpack(const uint8_t* tile, int block, int n, uint8_t* codes);
//   };
// Everything here has internal linkage on purpose, as in tensor/vec.h. Free of Abseil.
#pragma once

#include "tensor/vec.h"
#include "ternary/code_chunk.h"
#include "ternary/code_dots.h"
#include "ternary/half.h"
#include "ternary/lanes.h"
#include "ternary/ternary_kernels.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

// Tokens of one pass over the weights: as many as keep their activations in the second-level cache,
// within these bounds.
constexpr int kCacheBytes = 512 << 10;
constexpr int kLeastTokens = 64, kMostTokens = 256;
// Blocks of token groups whose scales are gathered at a time. All of a pass, but for matrices wider
// than kCacheBytes / kLeastTokens.
constexpr int kScaleBlocks = kCacheBytes / kTokens / kActBlock;
constexpr int kTwoBitBlockBytes = 256;  // two-bit codes of 16 rows x 64 columns

// y of row tiles tile, tile + step .. of one token, N of them, in the one float order.
// dot(codes, block) is the exact int32 sums of t * q over a block.
template <int N, typename Dot>
CHIMERA_VEC void SomeTiles(const TernaryView& w, int tile, int step, const float* s, const Dot& dot,
                           float* y) {
  const int groups = WeightGroups(w.cols), blocks = w.cols / kActBlock;
  const int64_t code_bytes = step * static_cast<int64_t>(TileCodeBytes(w.packing, w.cols));
  const int64_t scale_count = int64_t{step} * groups * kRowTile;
  const uint8_t* codes =
      w.codes + int64_t{tile} * static_cast<int64_t>(TileCodeBytes(w.packing, w.cols));
  const uint16_t* scales = w.scales + int64_t{tile} * groups * kRowTile;
  F16 total[N];
  for (int i = 0; i < N; ++i) total[i] = Splat(-0.0f);  // x + -0 is x, bit for bit
  for (int g = 0; g < groups; ++g) {
#pragma GCC unroll 2
    for (int i = 0; i < N; ++i) {
      const uint8_t* of = codes + i * code_bytes;
      F16 part = s[2 * g] * ToFloats(dot(of, 2 * g));
      if (2 * g + 1 < blocks) part = Fma(ToFloats(dot(of, 2 * g + 1)), s[2 * g + 1], part);
      total[i] = Fma(LoadHalf(scales + i * scale_count + g * kRowTile), part, total[i]);
    }
  }
  for (int i = 0; i < N; ++i) {
    const int row = (tile + i * step) * kRowTile;
    StoreRows(y + row, total[i], Smaller(kRowTile, w.rows - row));
  }
}

template <typename Dot>
CHIMERA_VEC void TilesOfOneToken(const TernaryView& w, int tile_begin, int tile_end, const float* s,
                                 const Dot& dot, float* y) {
  ForStreams<2>(tile_begin, tile_end,
                [&]<int N>(int tile, int step) { SomeTiles<N>(w, tile, step, s, dot, y); });
}

// The exact sums of t * q over a block for one token, where a packing has no better way.
template <typename Packing>
CHIMERA_VEC I16 UnpackedDot(const uint8_t* tile, int block, const int8_t* q, int32_t sum) {
  alignas(64) uint8_t codes[kBlockCodes];
  Packing::Unpack(tile, block, 1, codes);
  const int32_t start = -sum;
  I16 dots = {};
  CodeDots<FromBytes, 1, 1>(codes, 0, q, 0, &start, &dots);
  return dots;
}

// The tokens of a pass.
struct Job {
  const TernaryView& w;
  int n_tokens;
  const int8_t* q;
  const float* s;
  const int32_t* sums;
  float* y;
  int64_t ldy;
};

// scales[group * span + b - first] for blocks [first, last).
CHIMERA_VEC void GatherScales(const Job& job, int first, int last, int span, TokenScales* scales) {
  const int64_t blocks = job.w.cols / kActBlock;
  for (int t = 0; t < job.n_tokens; ++t) {
    TokenScales* at = scales + t / kTokens * span;
    for (int b = first; b < last; ++b, ++at) {
      at->s[t % kTokens] = job.s[t * blocks + b];
      at->start[t % kTokens] = -job.sums[t * blocks + b];
    }
  }
}

// Running totals of a few row tiles and the tokens of a pass; beyond a span they wait in y.
struct alignas(64) Totals {
  float at[kMostTokens / kTokens][kMostRowTiles * kTokens * kRowTile];
};

CHIMERA_VEC float* TotalOf(Totals* totals, int token, int row_tile) {
  return totals->at[token / kTokens] + (row_tile * kTokens + token % kTokens) * kRowTile;
}

// Blocks [first, last) of row_tiles tiles.
struct Span {
  int tile;
  int row_tiles;
  int first;
  int last;
};

// Totals begin with what y holds, or with -0: x + -0 is x, bit for bit. The lines of y, of as many
// pages as there are tokens, are asked for long before they are written.
CHIMERA_VEC void BeginTotals(const Job& job, const Span& span, Totals* totals) {
  for (int t = 0; t < job.n_tokens; ++t) {
    for (int r = 0; r < span.row_tiles; ++r) {
      const int row = (span.tile + r) * kRowTile;
      const float* y = job.y + t * job.ldy + row;
      if (span.first > 0) {
        Store(TotalOf(totals, t, r), LoadRows(y, Smaller(kRowTile, job.w.rows - row)));
      } else {
        if (job.n_tokens > kTokens) __builtin_prefetch(y, 1);
        Store(TotalOf(totals, t, r), Splat(-0.0f));
      }
    }
  }
}

CHIMERA_VEC void StoreTotals(const Job& job, const Span& span, Totals* totals) {
  for (int t = 0; t < job.n_tokens; ++t) {
    for (int r = 0; r < span.row_tiles; ++r) {
      const int row = (span.tile + r) * kRowTile;
      StoreRows(job.y + t * job.ldy + row, Load(TotalOf(totals, t, r)),
                Smaller(kRowTile, job.w.rows - row));
    }
  }
}

// scales: GatherScales of blocks [span.first, span.first + scale_blocks).
template <typename Packing>
void SpanOfTiles(const CodeKernels& kernels, const Job& job, const Span& span, bool two_bit,
                 int scale_blocks, const TokenScales* scales) {
  alignas(64) uint8_t bytes[kMostRowTiles * kChunkBytes];
  Totals totals;
  BeginTotals(job, span, &totals);
  const TernaryView& w = job.w;
  const auto tile_bytes = static_cast<int64_t>(TileCodeBytes(w.packing, w.cols));
  const int64_t tile_scales = int64_t{WeightGroups(w.cols)} * kRowTile;
  const uint8_t* codes = w.codes + span.tile * tile_bytes;
  const int step = two_bit ? span.last - span.first : kChunkBlocks;
  for (int b = span.first; b < span.last; b += step) {
    CodeChunk chunk = {.row_tiles = span.row_tiles,
                       .blocks = Smaller(step, span.last - b),
                       .codes = bytes,
                       .tile_bytes = kChunkBytes,
                       .scales = w.scales + span.tile * tile_scales + b / 2 * kRowTile,
                       .tile_scales = tile_scales,
                       .two_bit = two_bit};
    if (two_bit) {
      chunk.codes = codes + int64_t{b} * kTwoBitBlockBytes;
      chunk.tile_bytes = tile_bytes;
    } else {
      for (int r = 0; r < span.row_tiles; ++r) {
        Packing::Unpack(codes + r * tile_bytes, b, chunk.blocks, bytes + r * kChunkBytes);
      }
    }
    for (int t = 0; t < job.n_tokens; t += kTokens) {
      const TokenGroup in = {.n = Smaller(kTokens, job.n_tokens - t),
                             .q = job.q + int64_t{t} * w.cols + b * kActBlock,
                             .cols = w.cols,
                             .scales = scales + (t / kTokens * scale_blocks + b - span.first),
                             .last = t + kTokens >= job.n_tokens};
      kernels.product(chunk, in, totals.at[t / kTokens]);
    }
  }
  StoreTotals(job, span, &totals);
}

template <typename Packing>
void Gemm(const CodeKernels& kernels, const TernaryView& w, int tile_begin, int tile_end,
          int n_tokens, const int8_t* q, const float* s, const int32_t* sums, float* y,
          int64_t ldy) {
  if (n_tokens <= Packing::kFewTokens) {
    return Packing::FewTokens(w, tile_begin, tile_end, n_tokens, q, s, sums, y, ldy);
  }
  const int64_t cols = w.cols;
  const int blocks = w.cols / kActBlock;
  const int limit =
      Smaller(kMostTokens, Larger(kLeastTokens, kCacheBytes / w.cols / kTokens * kTokens));
  const int passes = (n_tokens + limit - 1) / limit;
  const int most = (n_tokens + passes * kTokens - 1) / (passes * kTokens) * kTokens;
  TokenScales scales[kScaleBlocks];
  for (int t = 0; t < n_tokens; t += most) {
    const Job job = {.w = w,
                     .n_tokens = Smaller(most, n_tokens - t),
                     .q = q + t * cols,
                     .s = s + int64_t{t} * blocks,
                     .sums = sums + int64_t{t} * blocks,
                     .y = y + t * ldy,
                     .ldy = ldy};
    const bool two_bit =
        w.packing == TritPacking::kTwoBit && job.n_tokens <= kernels.most_two_bit_tokens;
    const int row_tiles = job.n_tokens <= kTokens ? kernels.few_row_tiles
                          : two_bit               ? kernels.two_bit_row_tiles
                                                  : kernels.byte_row_tiles;
    const int groups = (job.n_tokens + kTokens - 1) / kTokens;
    const int span = kScaleBlocks / groups / kChunkBlocks * kChunkBlocks;
    for (int first = 0; first < blocks; first += span) {
      const int last = Smaller(blocks, first + span);
      GatherScales(job, first, last, span, scales);
      for (int tile = tile_begin; tile < tile_end; tile += row_tiles) {
        const Span of = {tile, Smaller(row_tiles, tile_end - tile), first, last};
        SpanOfTiles<Packing>(kernels, job, of, two_bit, span, scales);
      }
    }
  }
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
