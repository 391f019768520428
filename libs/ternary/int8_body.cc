// Int8 rows times int8 activations: the output head (DESIGN D16). Compiled once per instruction
// set. Only the exact int32 block sums differ between them; the float order is written once, below.
#include "tensor/vec.h"
#include "ternary/code_dots.h"
#include "ternary/lanes.h"
#include "ternary/ternary_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kTokenBlock = 32;    // tokens that share one read of a row tile from memory
constexpr int kBlockBytes = 1024;  // 16 rows x 64 columns
constexpr int kMaxBlocks = kTernaryMaxCols / kActBlock;

// What the kernel reads of a group of tokens: pointers to the first, strides to the next.
struct Tokens {
  const int8_t* q;
  const float* s;
  const int16_t* sums;  // of each block; at most 64 * 127
  int64_t cols;
  int64_t blocks;
};

void BlockSums(const int8_t* q, int64_t n, int16_t* sums) {
  for (int64_t b = 0; b < n; ++b, q += kActBlock) {
    int32_t sum = 0;
    for (int i = 0; i < kActBlock; ++i) sum += q[i];
    sums[b] = static_cast<int16_t>(sum);
  }
}

// dots[r * T + i] = sum of w * q over one block of 64 columns, for the 16 rows of tile r, which
// stands tile_bytes behind that before, and token i.
#if defined(CHIMERA_DOT_YMM)

// As with 512 bits below, in two halves of eight rows.
template <int R, int T>
CHIMERA_VEC void BlockDots(const int8_t* w, int64_t, const Tokens& in, int block, I16* dots) {
  static_assert(R == 1);
  const int8_t* q = in.q + block * kActBlock;
  const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80));
  for (int half = 0; half < 2; ++half) {
    __m256i acc[T];
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) acc[i] = _mm256_set1_epi32(-128 * in.sums[i * in.blocks + block]);
#pragma GCC unroll 4
    for (int k = 0; k < 16; ++k) {
      const auto* row = reinterpret_cast<const __m256i*>(w + k * 64 + half * 32);
      const __m256i v = _mm256_xor_si256(_mm256_loadu_si256(row), flip);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        const __m256i word = _mm256_set1_epi32(LoadWord(q + i * in.cols + k * 4));
        acc[i] = _mm256_dpbusd_epi32(acc[i], v, word);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      std::memcpy(reinterpret_cast<char*>(dots + i) + half * 32, &acc[i], 32);
    }
  }
}

#elif defined(CHIMERA_DOT_NEON)

template <int R, int T>
CHIMERA_VEC void BlockDots(const int8_t* w, int64_t, const Tokens& in, int block, I16* dots) {
  static_assert(R == 1);
  const int8_t* q = in.q + block * kActBlock;
  for (int part = 0; part < 4; ++part, w += 16) {
    int32x4_t acc[T] = {};
#pragma GCC unroll 4
    for (int k = 0; k < 16; k += 4) {
      const int8x16_t v0 = vld1q_s8(w + k * 64), v1 = vld1q_s8(w + k * 64 + 64);
      const int8x16_t v2 = vld1q_s8(w + k * 64 + 128), v3 = vld1q_s8(w + k * 64 + 192);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        const int8x16_t words = vld1q_s8(q + i * in.cols + k * 4);
        acc[i] = vdotq_laneq_s32(acc[i], v0, words, 0);
        acc[i] = vdotq_laneq_s32(acc[i], v1, words, 1);
        acc[i] = vdotq_laneq_s32(acc[i], v2, words, 2);
        acc[i] = vdotq_laneq_s32(acc[i], v3, words, 3);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      std::memcpy(reinterpret_cast<char*>(dots + i) + part * 16, &acc[i], 16);
    }
  }
}

#elif defined(CHIMERA_DOT_ZMM)

// The weights become unsigned by adding 128, which the block sums take back.
struct FromInt8 {
  CHIMERA_VEC __m512i Quad(const uint8_t* w, int k) {
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    return _mm512_xor_si512(_mm512_loadu_si512(w + k * kQuadBytes), flip);
  }
};

template <int R, int T>
CHIMERA_VEC void BlockDots(const int8_t* w, int64_t tile_bytes, const Tokens& in, int block,
                           I16* dots) {
  int32_t start[T];
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) start[i] = -128 * in.sums[i * in.blocks + block];
  CodeDots<FromInt8, R, T>(reinterpret_cast<const uint8_t*>(w), tile_bytes,
                           in.q + block * kActBlock, in.cols, start, dots);
}

#elif defined(__AVX2__)

// |w| is unsigned and takes the sign of w over to q: a pair is at most 128 * 127 * 2 = 32,512.
template <int R, int T>
CHIMERA_VEC void BlockDots(const int8_t* w, int64_t, const Tokens& in, int block, I16* dots) {
  static_assert(R == 1);
  const int8_t* q = in.q + block * kActBlock;
  const __m256i ones = _mm256_set1_epi16(1);
  const int8_t* token[T];
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) {
    token[i] = q + i * in.cols;
    KeepInRegister(&token[i]);
  }
  for (int half = 0; half < 2; ++half) {
    __m256i acc[T];
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) acc[i] = _mm256_setzero_si256();
    for (int k = 0; k < 16; ++k) {
      const __m256i v =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + k * 64 + half * 32));
      const __m256i magnitude = _mm256_abs_epi8(v);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        const __m256i word = _mm256_set1_epi32(LoadWord(token[i] + k * 4));
        const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(word, v));
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

template <int R, int T>
CHIMERA_VEC void BlockDots(const int8_t* w, int64_t, const Tokens& in, int block, I16* dots) {
  static_assert(R == 1);
  for (int i = 0; i < T; ++i) {
    const int8_t* q = in.q + i * in.cols + block * kActBlock;
    int32_t acc[16] = {};
    for (int k = 0; k < 16; ++k) {
      const int8_t* v = w + k * 64;
      for (int r = 0; r < 16; ++r) {
        for (int c = 0; c < 4; ++c) acc[r] += v[4 * r + c] * q[4 * k + c];
      }
    }
    std::memcpy(dots + i, acc, sizeof(acc));
  }
}

#endif

// Tiles whose rows share the loads of a token's words.
#if defined(CHIMERA_DOT_ZMM)
constexpr int kMostRowTiles = 2;
#else
constexpr int kMostRowTiles = 1;
#endif

// scale * sum of s_b * I_b of row tiles tile, tile + step .., R of them, for T tokens,
// total[r * T + i]: the one float order. Ahead: asks for the lines that follow, which is for tiles
// that come from memory one after the other.
template <int R, int T, bool Ahead>
CHIMERA_VEC void TileProduct(const Int8RowsView& w, int tile, int step, const Tokens& in,
                             F16* total) {
  const LineHints hints;
  const int blocks = w.cols / kActBlock;
  const int64_t tile_bytes = int64_t{kRowTile} * w.cols;
  const int8_t* rows = w.q + tile * tile_bytes;
#pragma GCC unroll 16
  for (int i = 0; i < R * T; ++i) total[i] = Splat(-0.0f);  // x + -0 is x, bit for bit
  for (int b = 0; b < blocks; ++b) {
    I16 dots[R * T];
    const int8_t* of_block = rows + int64_t{b} * kBlockBytes;
    if constexpr (Ahead) {
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        const int8_t* of_tile = of_block + r * step * tile_bytes;
        PrefetchLines<kBlockBytes>(reinterpret_cast<const uint8_t*>(of_tile), hints);
      }
    }
    BlockDots<R, T>(of_block, step * tile_bytes, in, b, dots);
#pragma GCC unroll 16
    for (int i = 0; i < R * T; ++i) {
      total[i] = Fma(ToFloats(dots[i]), in.s[i % T * in.blocks + b], total[i]);
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
    const F16 scale = Load(w.scale + int64_t{tile + r * step} * kRowTile);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) total[r * T + i] = scale * total[r * T + i];
  }
}

template <int R, int T, bool Ahead = false>
void StoreTiles(const Int8RowsView& w, int tile, int step, const Tokens& in, float* y,
                int64_t ldy) {
  F16 total[R * T];
  TileProduct<R, T, Ahead>(w, tile, step, in, total);
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
    const int row = (tile + r * step) * kRowTile, n_rows = Smaller(kRowTile, w.rows - row);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) StoreRows(y + i * ldy + row, total[r * T + i], n_rows);
  }
}

// Tiles [tile, end), at most kMostRowTiles.
template <int T>
void AllTiles(const Int8RowsView& w, int tile, int end, const Tokens& in, float* y, int64_t ldy) {
  constexpr int R = kMostRowTiles;
  for (; tile + R <= end; tile += R) StoreTiles<R, T>(w, tile, 1, in, y, ldy);
  if constexpr (R > 1) {
    for (; tile < end; ++tile) StoreTiles<1, T>(w, tile, 1, in, y, ldy);
  }
}

void AllTiles(const Int8RowsView& w, int tile, int end, int n, const Tokens& in, float* y,
              int64_t ldy) {
  switch (n) {
    case 1:
      return AllTiles<1>(w, tile, end, in, y, ldy);
    case 2:
      return AllTiles<2>(w, tile, end, in, y, ldy);
    case 3:
      return AllTiles<3>(w, tile, end, in, y, ldy);
    case 4:
      return AllTiles<4>(w, tile, end, in, y, ldy);
    case 5:
      return AllTiles<5>(w, tile, end, in, y, ldy);
    case 6:
      return AllTiles<6>(w, tile, end, in, y, ldy);
    case 7:
      return AllTiles<7>(w, tile, end, in, y, ldy);
    default:
      return AllTiles<8>(w, tile, end, in, y, ldy);
  }
}

void Gemm(const Int8RowsView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
          const float* s, float* y, int64_t ldy) {
  const int64_t cols = w.cols, blocks = w.cols / kActBlock;
  int16_t sums[kTokenBlock * kMaxBlocks];
  if (n_tokens == 1) {
    BlockSums(q, blocks, sums);
    const Tokens in = {q, s, sums, cols, blocks};
    return ForStreams<kMostRowTiles>(tile_begin, tile_end, [&]<int N>(int tile, int step) {
      StoreTiles<N, 1, true>(w, tile, step, in, y, ldy);
    });
  }
  for (int block = 0; block < n_tokens; block += kTokenBlock) {
    const int block_end = Smaller(n_tokens, block + kTokenBlock);
    BlockSums(q + block * cols, (block_end - block) * blocks, sums);
    for (int tile = tile_begin; tile < tile_end; tile += kMostRowTiles) {
      const int end = Smaller(tile + kMostRowTiles, tile_end);
      for (int token = block; token < block_end; token += kTokens) {
        const int64_t t = token;
        const Tokens in = {q + t * cols, s + t * blocks, sums + (t - block) * blocks, cols, blocks};
        AllTiles(w, tile, end, Smaller(kTokens, block_end - token), in, y + t * ldy, ldy);
      }
    }
  }
}

void GemvTiles(const Int8RowsView& w, const int32_t* tiles, int n_tiles, const int8_t* q,
               const float* s, float* y) {
  int16_t sums[kMaxBlocks];
  BlockSums(q, w.cols / kActBlock, sums);
  const Tokens in = {q, s, sums, w.cols, w.cols / kActBlock};
  for (int i = 0; i < n_tiles; ++i) {
    F16 total[1];
    TileProduct<1, 1, false>(w, tiles[i], 1, in, total);
    Store(y + int64_t{i} * kRowTile, total[0]);
  }
}

}  // namespace

extern const Int8Kernels kInt8Kernels;
const Int8Kernels kInt8Kernels = {Gemm, GemvTiles};

}  // namespace CHIMERA_ISA
}  // namespace chimera
