// Exact int32 sums of codes times int8 activations over one block of 64 columns, for the 16 rows of
// R tiles and T tokens, with the int8 products the body is compiled for. Codes are unsigned bytes:
// any where products are of 512 bits, elsewhere of at most 3. Quad k of a block, four columns of 16
// rows, is 64 bytes at 64 k. Everything has internal linkage on purpose, as in tensor/vec.h. Free
// of Abseil.
#pragma once

#include "tensor/vec.h"
#include "ternary/code_chunk.h"
#include "ternary/lanes.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kQuads = kActBlock / 4;
constexpr int kQuadBytes = 4 * kRowTile;

// CodeDots: dots[r * T + i] = start[i] + sum of code * q over a block. The codes of tile r stand
// tile_bytes behind those of tile r - 1, and the columns of token i `cols` behind those of token
// i - 1.
#if defined(CHIMERA_DOT_ZMM)

// Four columns of 16 rows from bytes, and from two-bit codes.
struct FromBytes {
  static constexpr int kBlockBytes = kBlockCodes;
  static constexpr bool kFromMemory = false;
  CHIMERA_VEC __m512i Quad(const uint8_t* codes, int k) {
    return _mm512_load_si512(codes + k * kQuadBytes);
  }
};
struct FromTwoBits {
  static constexpr int kBlockBytes = kBlockCodes / 4;
  static constexpr bool kFromMemory = true;
  CHIMERA_VEC __m512i Quad(const uint8_t* codes, int k) {
    const __m512i v = _mm512_loadu_si512(codes + k / 4 * 64);
    return _mm512_and_si512(_mm512_srli_epi16(v, k % 4 * 2), _mm512_set1_epi8(0x03));
  }
};

// The words of a token serve all tiles: with one tile, loads and instructions are the limit.
template <typename Codes, int R, int T>
CHIMERA_VEC void CodeDots(const uint8_t* codes, int64_t tile_bytes, const int8_t* q, int64_t cols,
                          const int32_t* start, I16* dots) {
  const uint8_t* tile[R];
  const int8_t* token[T];
  __m512i acc[R][T];
#pragma GCC unroll 3
  for (int r = 0; r < R; ++r) {
    tile[r] = codes + r * tile_bytes;
    KeepInRegister(&tile[r]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) {
    token[i] = q + i * cols;
    KeepInRegister(&token[i]);
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) acc[r][i] = _mm512_set1_epi32(start[i]);
  }
#pragma GCC unroll 16
  for (int k = 0; k < kQuads; ++k) {
    __m512i code[R];
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) code[r] = Codes::Quad(tile[r], k);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      if constexpr (R == 1) {
        acc[0][i] = AddProducts(acc[0][i], code[0], token[i] + 4 * k);
      } else {
        const __m512i word = _mm512_set1_epi32(LoadWord(token[i] + 4 * k));
#pragma GCC unroll 3
        for (int r = 0; r < R; ++r) acc[r][i] = _mm512_dpbusd_epi32(acc[r][i], code[r], word);
      }
    }
  }
#pragma GCC unroll 3
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) dots[r * T + i] = (I16)acc[r][i];
  }
}

#else

struct FromBytes {
  static constexpr int kBlockBytes = kBlockCodes;
  static constexpr bool kFromMemory = false;
};

#if defined(CHIMERA_DOT_YMM) || defined(CHIMERA_PAIRS_YMM)

// Sums of eight rows. Without a dot product they are of int16 pairs: sixteen products of pairs, at
// most 762 each, fit.
CHIMERA_VEC __m256i AddProducts(__m256i sums, __m256i code, __m256i word) {
#if defined(CHIMERA_DOT_YMM)
  return _mm256_dpbusd_epi32(sums, code, word);
#else
  return _mm256_add_epi16(sums, _mm256_maddubs_epi16(code, word));
#endif
}
CHIMERA_VEC __m256i Widen(__m256i sums) {
#if defined(CHIMERA_DOT_YMM)
  return sums;
#else
  return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
#endif
}

template <typename Codes, int R, int T>
CHIMERA_VEC void CodeDots(const uint8_t* codes, int64_t, const int8_t* q, int64_t cols,
                          const int32_t* start, I16* dots) {
  static_assert(R == 1);
  for (int half = 0; half < 2; ++half) {
    __m256i acc[T];
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) acc[i] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int k = 0; k < kQuads; ++k) {
      const auto* bytes = reinterpret_cast<const __m256i*>(codes + k * kQuadBytes + half * 32);
      const __m256i code = _mm256_load_si256(bytes);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        acc[i] = AddProducts(acc[i], code, _mm256_set1_epi32(LoadWord(q + i * cols + 4 * k)));
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      const __m256i dot = _mm256_add_epi32(Widen(acc[i]), _mm256_set1_epi32(start[i]));
      std::memcpy(reinterpret_cast<char*>(dots + i) + half * 32, &dot, 32);
    }
  }
}

#elif defined(CHIMERA_DOT_NEON)

// A register of activations is sixteen columns of one token; a product takes one of its four words.
template <typename Codes, int R, int T>
CHIMERA_VEC void CodeDots(const uint8_t* codes, int64_t, const int8_t* q, int64_t cols,
                          const int32_t* start, I16* dots) {
  static_assert(R == 1);
  for (int part = 0; part < 4; ++part) {
    const auto* quads = reinterpret_cast<const int8_t*>(codes) + part * 16;
    int32x4_t acc[T];
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) acc[i] = vdupq_n_s32(start[i]);
#pragma GCC unroll 4
    for (int k = 0; k < kQuads; k += 4, quads += 4 * kQuadBytes) {
      const int8x16_t code0 = vld1q_s8(quads), code1 = vld1q_s8(quads + kQuadBytes);
      const int8x16_t code2 = vld1q_s8(quads + 2 * kQuadBytes);
      const int8x16_t code3 = vld1q_s8(quads + 3 * kQuadBytes);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        const int8x16_t words = vld1q_s8(q + i * cols + 4 * k);
        acc[i] = vdotq_laneq_s32(acc[i], code0, words, 0);
        acc[i] = vdotq_laneq_s32(acc[i], code1, words, 1);
        acc[i] = vdotq_laneq_s32(acc[i], code2, words, 2);
        acc[i] = vdotq_laneq_s32(acc[i], code3, words, 3);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      std::memcpy(reinterpret_cast<char*>(dots + i) + part * 16, &acc[i], 16);
    }
  }
}

#else

typedef int16_t Shorts8 __attribute__((vector_size(16)));
typedef uint8_t Bytes8 __attribute__((vector_size(8)));

// Two rows in eight int16 lanes; each lane gets sixteen products of at most 381.
template <typename Codes, int R, int T>
CHIMERA_VEC void CodeDots(const uint8_t* codes, int64_t, const int8_t* q, int64_t cols,
                          const int32_t* start, I16* dots) {
  static_assert(R == 1);
  for (int i = 0; i < T; ++i, q += cols) {
    int32_t out[kRowTile];
    Shorts8 pattern[kQuads];
    for (int k = 0; k < kQuads; ++k) {
      const int8_t* word = q + 4 * k;
      pattern[k] = Shorts8{word[0], word[1], word[2], word[3], word[0], word[1], word[2], word[3]};
    }
    for (int pair = 0; pair < kRowTile / 2; ++pair) {
      Shorts8 acc = {};
      for (int k = 0; k < kQuads; ++k) {
        Bytes8 code;
        std::memcpy(&code, codes + k * kQuadBytes + pair * 8, 8);
        acc += __builtin_convertvector(code, Shorts8) * pattern[k];
      }
      out[2 * pair] = start[i] + acc[0] + acc[1] + acc[2] + acc[3];
      out[2 * pair + 1] = start[i] + acc[4] + acc[5] + acc[6] + acc[7];
    }
    std::memcpy(dots + i, out, sizeof(out));
  }
}

#endif
#endif

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
