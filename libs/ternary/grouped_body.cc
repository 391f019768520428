// Rows of 6 and 4 bits: quantizer and products (grouped_rows.h). Compiled once per instruction set;
// only how the exact block sums are formed differs between them.
#include "tensor/vec.h"
#include "ternary/code_dots.h"
#include "ternary/grouped_rows.h"
#include "ternary/half.h"
#include "ternary/lanes.h"
#include "ternary/ternary_kernels.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kTokens = 8;           // token columns of one pass over a row tile
constexpr int kTokenBlock = 64;      // tokens that share one read of a row tile from memory
constexpr int kLine = 4 * kRowTile;  // bytes of one line: four columns of every row

// What the kernel reads of a group of tokens: pointers to the first, strides to the next.
struct Tokens {
  const int8_t* q;
  const float* s;
  const int32_t* sums;
  int64_t cols;
  int64_t blocks;
};

// What a code stands for, plus Zero: an unsigned byte of seven bits, so that a byte product of a
// pair fits 16 bits with its sign.
template <int Bits>
struct Code;
template <>
struct Code<4> {
  static constexpr int kBlockBytes = 8 * kLine;
  static constexpr int kZero = 64;
};
template <>
struct Code<6> {
  static constexpr int kBlockBytes = 12 * kLine;
  static constexpr int kZero = 32;
};

// The 16 codes of four bits, once a lane of a byte shuffle.
struct Table {
  constexpr Table() {
    for (int i = 0; i < 64; ++i) bytes[i] = static_cast<uint8_t>(kLevels4[i % 16] + Code<4>::kZero);
  }
  alignas(64) uint8_t bytes[64] = {};
};
constexpr Table kTable;

// dots[r * T + i] = sum of level * q over one block of 64 columns, for the 16 rows of tile r, which
// stands tile_bytes behind that before, and token i.
#if defined(CHIMERA_DOT_ZMM)

CHIMERA_VEC __m512i Low(__m512i v, bool upper) {
  return _mm512_and_si512(upper ? _mm512_srli_epi16(v, 4) : v, _mm512_set1_epi8(0x0f));
}

template <int Bits>
struct FromGrouped {
  // Four columns of the 16 rows.
  CHIMERA_VEC __m512i Quad(const uint8_t* block, int k) {
    const __m512i low = Low(_mm512_loadu_si512(block + k / 2 * kLine), k % 2 != 0);
    if constexpr (Bits == 4) {
      return _mm512_shuffle_epi8(_mm512_load_si512(kTable.bytes), low);
    } else {
      const __m512i high = _mm512_loadu_si512(block + (8 + k / 4) * kLine);
      const int up = 4 - 2 * (k % 4);  // from bits 2 * (k % 4) to bits 4 and 5
      const __m512i moved = up > 0   ? _mm512_slli_epi16(high, static_cast<unsigned>(up))
                            : up < 0 ? _mm512_srli_epi16(high, static_cast<unsigned>(-up))
                                     : high;
      return _mm512_or_si512(low, _mm512_and_si512(moved, _mm512_set1_epi8(0x30)));
    }
  }
};

template <int Bits, int R, int T>
CHIMERA_VEC void BlockDots(const uint8_t* codes, int64_t tile_bytes, const Tokens& in, int block,
                           I16* dots) {
  int32_t start[T];
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) start[i] = -Code<Bits>::kZero * in.sums[i * in.blocks + block];
  CodeDots<FromGrouped<Bits>, R, T>(codes, tile_bytes, in.q + block * kActBlock, in.cols, start,
                                    dots);
}

#elif defined(__AVX2__)

// Four columns of eight rows.
template <int Bits>
CHIMERA_VEC __m256i Quad(const uint8_t* half, int k) {
  const auto line = [half](int i) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(half + i * kLine));
  };
  const __m256i both = line(k / 2);
  const __m256i low =
      _mm256_and_si256(k % 2 != 0 ? _mm256_srli_epi16(both, 4) : both, _mm256_set1_epi8(0x0f));
  if constexpr (Bits == 4) {
    const auto* table = reinterpret_cast<const __m256i*>(kTable.bytes);
    return _mm256_shuffle_epi8(_mm256_load_si256(table), low);
  } else {
    const __m256i high = line(8 + k / 4);
    const int up = 4 - 2 * (k % 4);
    const __m256i moved = up > 0   ? _mm256_slli_epi16(high, up)
                          : up < 0 ? _mm256_srli_epi16(high, -up)
                                   : high;
    return _mm256_or_si256(low, _mm256_and_si256(moved, _mm256_set1_epi8(0x30)));
  }
}

// A pair of products is at most 2 * 127 * 127 = 32,258.
template <int Bits, int R, int T>
CHIMERA_VEC void BlockDots(const uint8_t* codes, int64_t, const Tokens& in, int block, I16* dots) {
  static_assert(R == 1);
  const int8_t* q = in.q + block * kActBlock;
  const __m256i ones = _mm256_set1_epi16(1);
  for (int half = 0; half < 2; ++half) {
    __m256i acc[T];
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      acc[i] = _mm256_set1_epi32(-Code<Bits>::kZero * in.sums[i * in.blocks + block]);
    }
#pragma GCC unroll 16
    for (int k = 0; k < kQuads; ++k) {
      const __m256i quad = Quad<Bits>(codes + half * 32, k);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        const __m256i word = _mm256_set1_epi32(LoadWord(q + i * in.cols + 4 * k));
        const __m256i pairs = _mm256_maddubs_epi16(quad, word);
        acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(pairs, ones));
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      std::memcpy(reinterpret_cast<char*>(dots + i) + half * 32, &acc[i], 32);
    }
  }
}

#else

template <int Bits>
CHIMERA_VEC void UnpackQuad(const uint8_t* block, int k, uint8_t* quad) {
  for (int i = 0; i < kLine; ++i) {
    const int low = (block[k / 2 * kLine + i] >> (k % 2 * 4)) & 15;
    if constexpr (Bits == 4) {
      quad[i] = kTable.bytes[low];
    } else {
      const int high = (block[(8 + k / 4) * kLine + i] >> (k % 4 * 2)) & 3;
      quad[i] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

template <int Bits, int R, int T>
CHIMERA_VEC void BlockDots(const uint8_t* codes, int64_t, const Tokens& in, int block, I16* dots) {
  static_assert(R == 1);
  const int8_t* q = in.q + block * kActBlock;
  int32_t acc[T][kRowTile];
  for (int i = 0; i < T; ++i) {
    for (int r = 0; r < kRowTile; ++r) {
      acc[i][r] = -Code<Bits>::kZero * in.sums[i * in.blocks + block];
    }
  }
  for (int k = 0; k < kQuads; ++k) {
    uint8_t quad[kLine];
    UnpackQuad<Bits>(codes, k, quad);
    for (int i = 0; i < T; ++i) {
      const int8_t* word = q + i * in.cols + 4 * k;
      for (int r = 0; r < kRowTile; ++r) {
        for (int c = 0; c < 4; ++c) acc[i][r] += quad[4 * r + c] * word[c];
      }
    }
  }
  std::memcpy(dots, acc, sizeof(acc));
}

#endif

// Tiles whose rows share the loads of a token's words.
#if defined(CHIMERA_DOT_ZMM)
constexpr int kMostRowTiles = 2;
#else
constexpr int kMostRowTiles = 1;
#endif

// Sum of mu_b * (s_b * I_b) of row tiles tile, tile + step .., R of them, for T tokens,
// total[r * T + i]: the one float order. First: of the passes over the tiles, whose codes come from
// memory.
template <int Bits, int R, int T, bool First>
CHIMERA_VEC void TilesOf(const GroupedRowsView& w, int tile, int step, const Tokens& in,
                         F16* total) {
  const int blocks = w.cols / kActBlock;
  const int64_t first = int64_t{tile} * blocks;
  const int64_t tile_blocks = int64_t{step} * blocks;
  const int64_t tile_bytes = tile_blocks * Code<Bits>::kBlockBytes;
  const uint8_t* codes = w.codes + first * Code<Bits>::kBlockBytes;
  const uint16_t* scales = w.scales + first * kRowTile;
  const LineHints hints;
#pragma GCC unroll 16
  for (int i = 0; i < R * T; ++i) total[i] = Splat(-0.0f);  // x + -0 is x, bit for bit
  for (int b = 0; b < blocks; ++b) {
    I16 dots[R * T];
    const uint8_t* const block = codes + int64_t{b} * Code<Bits>::kBlockBytes;
    if constexpr (First) {
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        const uint8_t* const of_tile = block + r * tile_bytes;
        if constexpr (R == 1 || T == 1) {
          PrefetchLines<Code<Bits>::kBlockBytes>(of_tile, hints);
        } else {
#pragma GCC unroll 12
          for (int line = 0; line < Code<Bits>::kBlockBytes; line += kLine) {
            Prefetch(of_tile + line);
          }
        }
      }
    }
    BlockDots<Bits, R, T>(block, tile_bytes, in, b, dots);
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      const F16 mu = LoadHalf(scales + (r * tile_blocks + b) * kRowTile);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        const F16 scaled = in.s[i * in.blocks + b] * ToFloats(dots[r * T + i]);
        total[r * T + i] = Fma(mu, scaled, total[r * T + i]);
      }
    }
  }
}

template <int Bits, int R, int T, bool First>
void StoreTiles(const GroupedRowsView& w, int tile, int step, const Tokens& in, float* y,
                int64_t ldy) {
  F16 total[R * T];
  TilesOf<Bits, R, T, First>(w, tile, step, in, total);
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
    const int row = (tile + r * step) * kRowTile, n_rows = Smaller(kRowTile, w.rows - row);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) StoreRows(y + i * ldy + row, total[r * T + i], n_rows);
  }
}

// Tiles [tile, end), at most kMostRowTiles.
template <int Bits, int T, bool First>
void StoreTiles(const GroupedRowsView& w, int tile, int end, const Tokens& in, float* y,
                int64_t ldy) {
  constexpr int R = T == 1 ? 1 : kMostRowTiles;
  for (; tile + R <= end; tile += R) StoreTiles<Bits, R, T, First>(w, tile, 1, in, y, ldy);
  if constexpr (R > 1) {
    for (; tile < end; ++tile) StoreTiles<Bits, 1, T, First>(w, tile, 1, in, y, ldy);
  }
}

template <int Bits, bool First>
void StoreTiles(const GroupedRowsView& w, int tile, int end, int n, const Tokens& in, float* y,
                int64_t ldy) {
  switch (n) {
    case 1:
      return StoreTiles<Bits, 1, First>(w, tile, end, in, y, ldy);
    case 2:
      return StoreTiles<Bits, 2, First>(w, tile, end, in, y, ldy);
    case 3:
      return StoreTiles<Bits, 3, First>(w, tile, end, in, y, ldy);
    case 4:
      return StoreTiles<Bits, 4, First>(w, tile, end, in, y, ldy);
    case 5:
      return StoreTiles<Bits, 5, First>(w, tile, end, in, y, ldy);
    case 6:
      return StoreTiles<Bits, 6, First>(w, tile, end, in, y, ldy);
    case 7:
      return StoreTiles<Bits, 7, First>(w, tile, end, in, y, ldy);
    default:
      return StoreTiles<Bits, 8, First>(w, tile, end, in, y, ldy);
  }
}

template <int Bits>
void GemmOf(const GroupedRowsView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
            const float* s, const int32_t* sums, float* y, int64_t ldy) {
  const int64_t cols = w.cols, blocks = w.cols / kActBlock;
  if (n_tokens == 1) {
    const Tokens in = {q, s, sums, cols, blocks};
    return ForStreams<kMostRowTiles>(tile_begin, tile_end, [&]<int R>(int tile, int step) {
      StoreTiles<Bits, R, 1, true>(w, tile, step, in, y, ldy);
    });
  }
  for (int block = 0; block < n_tokens; block += kTokenBlock) {
    const int block_end = Smaller(n_tokens, block + kTokenBlock);
    for (int tile = tile_begin; tile < tile_end; tile += kMostRowTiles) {
      const int end = Smaller(tile + kMostRowTiles, tile_end);
      for (int token = block; token < block_end; token += kTokens) {
        const int64_t t = token;
        const Tokens in = {q + t * cols, s + t * blocks, sums + t * blocks, cols, blocks};
        const auto store = token == block ? StoreTiles<Bits, true> : StoreTiles<Bits, false>;
        store(w, tile, end, Smaller(kTokens, block_end - token), in, y + t * ldy, ldy);
      }
    }
  }
}

void GroupedGemm(const GroupedRowsView& w, int tile_begin, int tile_end, int n_tokens,
                 const int8_t* q, const float* s, const int32_t* sums, float* y, int64_t ldy) {
  const auto gemm = w.bits == 4 ? GemmOf<4> : GemmOf<6>;
  gemm(w, tile_begin, tile_end, n_tokens, q, s, sums, y, ldy);
}

template <int Bits>
void GemvTilesOf(const GroupedRowsView& w, const int32_t* tiles, int n_tiles, const Tokens& in,
                 float* y) {
  for (int i = 0; i < n_tiles; ++i) {
    F16 total[1];
    TilesOf<Bits, 1, 1, true>(w, tiles[i], 1, in, total);
    Store(y + int64_t{i} * kRowTile, total[0]);
  }
}

void GemvTiles(const GroupedRowsView& w, const int32_t* tiles, int n_tiles, const int8_t* q,
               const float* s, const int32_t* sums, float* y) {
  const Tokens in = {q, s, sums, w.cols, w.cols / kActBlock};
  const auto gemv = w.bits == 4 ? GemvTilesOf<4> : GemvTilesOf<6>;
  gemv(w, tiles, n_tiles, in, y);
}

// The quantizer: one group of one row is four vectors.
constexpr int kVectors = kActBlock / 16;

// Codes of x = w / mu, and their levels.
template <int Bits>
CHIMERA_VEC I16 Nearest(F16 x, F16* level) {
  if constexpr (Bits == 4) {
    I16 code = {};
    *level = Splat(kLevels4[0]);
    for (int i = 0; i < 15; ++i) {
      const float low = kLevels4[i], high = kLevels4[i + 1];
      const I16 above = x > 0.5f * (low + high);
      code = code - above;
      *level = Select(above, Splat(high), *level);
    }
    return code;
  } else {
    constexpr float kTop = kLevelMax6;
    *level = (Max(Min(x, Splat(kTop)), Splat(-kTop)) + kRoundMagic) - kRoundMagic;
    return __builtin_convertvector(*level, I16) + 32;
  }
}

// The 16 scales that a group chooses from, as halves; 0 for a group of zeros.
template <int Bits>
CHIMERA_VEC F16 Candidates(const F16* w) {
  constexpr float kLevelMax = Bits == 4 ? kLevelMax4 : kLevelMax6;
  constexpr F16 kShrink = {40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25};
  F16 peak = {};
  for (int v = 0; v < kVectors; ++v) peak = Max(Abs(w[v]), peak);
  uint16_t halves[16];
  StoreHalf(halves, Min(FoldMax(peak) / kLevelMax * (kShrink / 40.0f), Splat(65504.0f)));
  return LoadHalf(halves);
}

template <int Bits>
CHIMERA_VEC float Error(const F16* w, float mu) {
  F16 sum = {};
  for (int v = 0; v < kVectors; ++v) {
    F16 level;
    Nearest<Bits>(w[v] / mu, &level);
    const F16 off = w[v] - mu * level;
    sum = sum + off * off;
  }
  return FoldAdd(sum);
}

// Codes of one row's group into its block.
template <int Bits>
CHIMERA_VEC void StoreCodes(const int32_t* code, int row, uint8_t* block) {
  for (int k = 0; k < kQuads; ++k) {
    for (int c = 0; c < 4; ++c) {
      const int at = 4 * row + c, value = code[4 * k + c];
      block[k / 2 * kLine + at] |= static_cast<uint8_t>((value & 15) << (k % 2 * 4));
      if constexpr (Bits == 6) {
        block[(8 + k / 4) * kLine + at] |= static_cast<uint8_t>(value >> 4 << (k % 4 * 2));
      }
    }
  }
}

template <int Bits>
void QuantizeGroup(const float* row_values, int row, uint8_t* block, uint16_t* scale) {
  F16 w[kVectors] = {};
  for (int v = 0; v < kVectors && row_values != nullptr; ++v) {
    w[v] = Load(row_values + 16 * v);
    w[v] = Select(w[v] == w[v], w[v], F16{});
  }
  const F16 scales = Candidates<Bits>(w);
  float mu = scales[0], least = mu > 0.0f ? Error<Bits>(w, mu) : 0.0f;
  for (int i = 1; i < 16; ++i) {
    if (!(scales[i] > 0.0f)) break;
    const float error = Error<Bits>(w, scales[i]);
    if (error < least) {
      least = error;
      mu = scales[i];
    }
  }
  int32_t code[kActBlock];
  for (int v = 0; v < kVectors; ++v) {
    F16 level;
    const I16 codes = Nearest<Bits>(mu > 0.0f ? w[v] / mu : F16{}, &level);
    std::memcpy(code + 16 * v, &codes, sizeof(codes));
  }
  StoreCodes<Bits>(code, row, block);
  uint16_t halves[16];
  StoreHalf(halves, Splat(mu));
  *scale = halves[0];
}

template <int Bits>
void QuantizeTiles(const float* w, int rows, int cols, uint8_t* codes, uint16_t* scales,
                   int tile_begin, int tile_end) {
  const int64_t blocks = cols / kActBlock;
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    for (int64_t b = 0; b < blocks; ++b) {
      uint8_t* block = codes + (tile * blocks + b) * Code<Bits>::kBlockBytes;
      std::memset(block, 0, Code<Bits>::kBlockBytes);
      for (int r = 0; r < kRowTile; ++r) {
        const int64_t row = tile * kRowTile + r;
        QuantizeGroup<Bits>(row < rows ? w + row * cols + b * kActBlock : nullptr, r, block,
                            scales + (tile * blocks + b) * kRowTile + r);
      }
    }
  }
}

void Quantize(const float* w, int rows, int cols, int bits, uint8_t* codes, uint16_t* scales,
              int tile_begin, int tile_end) {
  const auto quantize = bits == 4 ? QuantizeTiles<4> : QuantizeTiles<6>;
  quantize(w, rows, cols, codes, scales, tile_begin, tile_end);
}

void RowBack(const GroupedRowsView& w, int row, float* out) {
  const int64_t blocks = w.cols / kActBlock, tile = row / kRowTile;
  const int r = row % kRowTile;
  const int block_bytes = w.bits == 4 ? Code<4>::kBlockBytes : Code<6>::kBlockBytes;
  for (int64_t b = 0; b < blocks; ++b, out += kActBlock) {
    const uint8_t* block = w.codes + (tile * blocks + b) * block_bytes + 4 * r;
    const float mu = LoadHalf(w.scales + (tile * blocks + b) * kRowTile)[r];
    for (int c = 0; c < kActBlock; ++c) {
      const int k = c / 4, low = (block[k / 2 * kLine + c % 4] >> (k % 2 * 4)) & 15;
      const int level =
          w.bits == 4 ? kLevels4[low]
                      : (low | ((block[(8 + k / 4) * kLine + c % 4] >> (k % 4 * 2)) & 3) << 4) - 32;
      out[c] = mu * static_cast<float>(level);
    }
  }
}

}  // namespace

extern const GroupedKernels kGroupedKernels;
const GroupedKernels kGroupedKernels = {Quantize, RowBack, GroupedGemm, GemvTiles};

}  // namespace CHIMERA_ISA
}  // namespace chimera
