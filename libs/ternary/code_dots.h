// Exact int32 sums of trit codes times int8 activations over one block of 64 columns, for the 16
// rows of a tile and T tokens, with the int8 products the body is compiled for. What packs the
// codes is the caller's. Everything has internal linkage on purpose, as in tensor/vec.h. Free of
// Abseil.
#pragma once

#include "tensor/vec.h"
#include "ternary/lanes.h"
#include "ternary/ternary.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

// What the kernel reads of a group of tokens: pointers to the first, strides to the next.
struct Tokens {
  const int8_t* q;
  const float* s;
  const int32_t* sums;
  int64_t cols;
  int64_t blocks;
};

// CodeDots: dots[i] for T tokens from codes t + 1, four columns of the 16 rows at a time. quad(k,
// part) is a register of the k-th four of the block, 0 <= k < 16: part 0 for 16 rows in one
// register, of two for 8 rows, of four for 4 rows. There is none in plain C++.
constexpr int kQuads = kActBlock / 4;

#if defined(CHIMERA_DOT_ZMM)

// Stops the compiler from folding a pointer into many addresses that do not fit the registers.
CHIMERA_VEC void KeepInRegister(const int8_t** p) { __asm__("" : "+r"(*p)); }

// Of R row tiles, which share the words of the tokens: dots[r * T + i] is tile r, whose four
// columns are quad(k, r).
template <int R, int T, typename Quad>
CHIMERA_VEC void CodeDotsOfTiles(const Quad& quad, const Tokens& in, int block, I16* dots) {
  const int8_t* token[T];
  __m512i acc[R][T];
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) {
    token[i] = in.q + block * kActBlock + i * in.cols;
    KeepInRegister(&token[i]);
    const __m512i start = _mm512_set1_epi32(-in.sums[i * in.blocks + block]);
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) acc[r][i] = start;
  }
#pragma GCC unroll 16
  for (int k = 0; k < kQuads; ++k) {
    __m512i code[R];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) code[r] = quad(k, r);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      const __m512i word = _mm512_set1_epi32(LoadWord(token[i] + 4 * k));
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) acc[r][i] = _mm512_dpbusd_epi32(acc[r][i], code[r], word);
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) dots[r * T + i] = (I16)acc[r][i];
  }
}

template <int T, typename Quad>
CHIMERA_VEC void CodeDots(const Quad& quad, const Tokens& in, int block, I16* dots) {
  CodeDotsOfTiles<1, T>([&quad](int k, int) { return quad(k, 0); }, in, block, dots);
}

#elif defined(CHIMERA_DOT_YMM)

template <int T, typename Quad>
CHIMERA_VEC void CodeDots(const Quad& quad, const Tokens& in, int block, I16* dots) {
  const int8_t* q = in.q + block * kActBlock;
  for (int half = 0; half < 2; ++half) {
    __m256i acc[T];
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) acc[i] = _mm256_set1_epi32(-in.sums[i * in.blocks + block]);
#pragma GCC unroll 4
    for (int k = 0; k < kQuads; ++k) {
      const __m256i code = quad(k, half);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        const __m256i word = _mm256_set1_epi32(LoadWord(q + i * in.cols + 4 * k));
        acc[i] = _mm256_dpbusd_epi32(acc[i], code, word);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      std::memcpy(reinterpret_cast<char*>(dots + i) + half * 32, &acc[i], 32);
    }
  }
}

#elif defined(CHIMERA_PAIRS_YMM)

// Sixteen products of pairs (at most 508 each) fit an int16.
template <int T, typename Quad>
CHIMERA_VEC void CodeDots(const Quad& quad, const Tokens& in, int block, I16* dots) {
  const int8_t* q = in.q + block * kActBlock;
  const __m256i ones = _mm256_set1_epi16(1);
  for (int half = 0; half < 2; ++half) {
    __m256i acc[T];
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) acc[i] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int k = 0; k < kQuads; ++k) {
      const __m256i code = quad(k, half);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        const __m256i word = _mm256_set1_epi32(LoadWord(q + i * in.cols + 4 * k));
        acc[i] = _mm256_add_epi16(acc[i], _mm256_maddubs_epi16(code, word));
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      const __m256i sum = _mm256_set1_epi32(in.sums[i * in.blocks + block]);
      const __m256i dot = _mm256_sub_epi32(_mm256_madd_epi16(acc[i], ones), sum);
      std::memcpy(reinterpret_cast<char*>(dots + i) + half * 32, &dot, 32);
    }
  }
}

#elif defined(CHIMERA_DOT_NEON)

// A register of activations is sixteen columns of one token; a product takes one of its four words.
template <int T, typename Quad>
CHIMERA_VEC void CodeDots(const Quad& quad, const Tokens& in, int block, I16* dots) {
  const int8_t* q = in.q + block * kActBlock;
  for (int part = 0; part < 4; ++part) {
    int32x4_t acc[T];
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) acc[i] = vdupq_n_s32(-in.sums[i * in.blocks + block]);
#pragma GCC unroll 4
    for (int k = 0; k < kQuads; k += 4) {
      const int8x16_t code0 = quad(k, part), code1 = quad(k + 1, part);
      const int8x16_t code2 = quad(k + 2, part), code3 = quad(k + 3, part);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        const int8x16_t words = vld1q_s8(q + i * in.cols + 4 * k);
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

#endif

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
