// What the products of many tokens are made of: some blocks of unpacked codes, some tokens, and the
// kernel that multiplies them (codes_body.cc); tile_product.h cuts a matrix into them. Free of
// Abseil.
#pragma once

#include <cstdint>

#include "ternary/ternary.h"

namespace chimera {

inline constexpr int kTokens = 8;       // most tokens of one pass over a chunk
inline constexpr int kChunkBlocks = 8;  // blocks of 64 columns: two tiles fit the first-level cache
inline constexpr int kBlockCodes = kRowTile * kActBlock;  // bytes of a block of one tile
inline constexpr int kChunkBytes = kChunkBlocks * kBlockCodes;

// Of up to kTokens tokens and one block: the scales, and what the sums of codes t + 1 begin with.
struct TokenScales {
  float s[kTokens];
  int32_t start[kTokens];
};

// n tokens, from the chunk's first column on: scales[b] of block b.
struct TokenGroup {
  int n = 0;
  const int8_t* q = nullptr;
  int64_t cols = 0;
  const TokenScales* scales = nullptr;
};

// Blocks of one or two row tiles; what belongs to the second tile stands tile_bytes and tile_scales
// behind that of the first. A group of two blocks has kRowTile weight scales. Codes are bytes,
// aligned to 64, or with two_bit those of the matrix (ternary.h).
struct CodeChunk {
  int row_tiles = 1;
  int blocks = 0;
  const uint8_t* codes = nullptr;
  int64_t tile_bytes = 0;
  const uint16_t* scales = nullptr;
  int64_t tile_scales = 0;
  bool two_bit = false;
  bool fresh = false;  // the first blocks of the rows
};

// One per instruction set. Adds to total[row tile][kTokens][kRowTile], in the float order of
// ternary.h, what the chunk contributes, or writes it where the chunk is fresh; total is aligned to
// 64 bytes.
struct CodeKernels {
  int most_row_tiles;
  // Most tokens of a call for which two-bit codes are best taken as they are; 0 where product takes
  // bytes only.
  int most_two_bit_tokens;
  void (*product)(const CodeChunk& chunk, const TokenGroup& tokens, float* total);
};

}  // namespace chimera
