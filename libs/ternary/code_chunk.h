// What the products of many tokens are made of: some blocks of unpacked codes, some tokens, and the
// kernel that multiplies them (codes_body.cc); tile_product.h cuts a matrix into them. Free of
// Abseil.
#pragma once

#include <cstdint>

#include "ternary/ternary.h"

namespace chimera {

inline constexpr int kTokens = 8;        // most tokens of one pass over a chunk
inline constexpr int kMostRowTiles = 3;  // of a chunk
inline constexpr int kChunkBlocks = 8;   // blocks of 64 columns: bytes fit the first-level cache
inline constexpr int kBlockCodes = kRowTile * kActBlock;  // bytes of a block of one tile
inline constexpr int kChunkBytes = kChunkBlocks * kBlockCodes;

// Of up to kTokens tokens and one block: the scales, and what the sums of codes t + 1 begin with.
struct TokenScales {
  float s[kTokens];
  int32_t start[kTokens];
};

// n tokens, from the chunk's first column on: scales[b] of block b. The last to take the chunk ask
// for the codes that follow.
struct TokenGroup {
  int n = 0;
  const int8_t* q = nullptr;
  int64_t cols = 0;
  const TokenScales* scales = nullptr;
  bool last = false;
};

// Blocks of up to kMostRowTiles row tiles; what belongs to a tile stands tile_bytes and tile_scales
// behind that of the one before. A group of two blocks has kRowTile weight scales. Codes are bytes,
// aligned to 64, or with two_bit those of the matrix (ternary.h).
struct CodeChunk {
  int row_tiles = 1;
  int blocks = 0;
  const uint8_t* codes = nullptr;
  int64_t tile_bytes = 0;
  const uint16_t* scales = nullptr;
  int64_t tile_scales = 0;
  bool two_bit = false;
};

// Two per instruction set: for processors whose products leave ports to other operations
// (HasPortsBesideProducts), and for others. product adds to total[row tile][kTokens][kRowTile], in
// the float order of ternary.h, what the chunk contributes; total is aligned to 64 bytes.
struct CodeKernels {
  // Most row tiles of a chunk: for calls of up to kTokens tokens, and for more of them.
  int few_row_tiles;
  int byte_row_tiles;
  int two_bit_row_tiles;
  // Most tokens of a call for which two-bit codes are best taken as they are; 0 where product takes
  // bytes only.
  int most_two_bit_tokens;
  void (*product)(const CodeChunk& chunk, const TokenGroup& tokens, float* total);
};

}  // namespace chimera
