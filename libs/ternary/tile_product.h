// The product of row tiles with int8 activations, whatever packs the trits: the loops over tiles,
// groups and tokens, and the one float order. A packing gives the exact int32 sums of a block of
// 64 columns:
//   struct Packing {
//     // dots[i] = sum of t * q over one block, for the 16 rows of a tile and token i of T.
//     template <int T>
//     static void Dots(const uint8_t* tile, const Tokens& in, int block, I16* dots);
//   };
// Everything here has internal linkage on purpose, as in tensor/vec.h. Free of Abseil.
#pragma once

#include "tensor/vec.h"
#include "ternary/half.h"
#include "ternary/lanes.h"
#include "ternary/ternary_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kTokens = 8;              // token columns of one pass over a row tile
constexpr int kTokenBlock = 64;         // tokens whose activations stay in the second-level cache
constexpr int kTileBlock = 4;           // row tiles that share one read of eight tokens
constexpr int kTwoBitBlockBytes = 256;  // two-bit codes of 16 rows x 64 columns

// What the kernel reads of a group of tokens: pointers to the first, strides to the next.
struct Tokens {
  const int8_t* q;
  const float* s;
  const int32_t* sums;
  int64_t cols;
  int64_t blocks;
};

// dots[i] for T tokens from codes t + 1, four columns of the 16 rows at a time: quad(k) is the k-th
// four of the block in one register, 0 <= k < 16, asked for in order.
constexpr int kQuads = kActBlock / 4;

#if defined(__AVX512VNNI__)

// Stops the compiler from folding a pointer into many addresses that do not fit the registers.
CHIMERA_VEC void KeepInRegister(const int8_t** p) { __asm__("" : "+r"(*p)); }

template <int T, typename Quad>
CHIMERA_VEC void CodeDots(const Quad& quad, const Tokens& in, int block, I16* dots) {
  const int8_t* token[T];
  __m512i acc[T];
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) {
    token[i] = in.q + block * kActBlock + i * in.cols;
    KeepInRegister(&token[i]);
    acc[i] = _mm512_set1_epi32(-in.sums[i * in.blocks + block]);
  }
#pragma GCC unroll 16
  for (int k = 0; k < kQuads; ++k) {
    const __m512i code = quad(k);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      acc[i] = _mm512_dpbusd_epi32(acc[i], code, _mm512_set1_epi32(LoadWord(token[i] + 4 * k)));
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) dots[i] = (I16)acc[i];
}

#elif defined(__AVX2__)

// quad(k, half): of eight rows. Sixteen products of pairs (at most 508 each) fit an int16.
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

#endif

// y of one row tile for T tokens: the one float order.
template <typename Packing, int T>
void TileProduct(const TernaryView& w, int tile, const Tokens& in, float* y, int64_t ldy) {
  const int groups = WeightGroups(w.cols), blocks = w.cols / kActBlock;
  const uint8_t* codes = w.codes + static_cast<size_t>(tile) * TileCodeBytes(w.packing, w.cols);
  const uint16_t* scales = w.scales + int64_t{tile} * groups * kRowTile;
  F16 total[T];
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) total[i] = Splat(-0.0f);  // -0 + x is x, bit for bit
  for (int g = 0; g < groups; ++g) {
    const F16 mu = LoadHalf(scales + g * kRowTile);
    F16 part[T];
    I16 dots[T];
    Packing::template Dots<T>(codes, in, 2 * g, dots);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      part[i] = in.s[i * in.blocks + 2 * g] * __builtin_convertvector(dots[i], F16);
    }
    if (2 * g + 1 < blocks) {
      Packing::template Dots<T>(codes, in, 2 * g + 1, dots);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        part[i] = part[i] + in.s[i * in.blocks + 2 * g + 1] * __builtin_convertvector(dots[i], F16);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) total[i] = total[i] + mu * part[i];
  }
  const int row = tile * kRowTile, n_rows = Smaller(kRowTile, w.rows - row);
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) StoreN(y + i * ldy + row, total[i], n_rows);
}

template <typename Packing>
void TileTokens(const TernaryView& w, int tile, int n, const Tokens& in, float* y, int64_t ldy) {
  switch (n) {
    case 1:
      return TileProduct<Packing, 1>(w, tile, in, y, ldy);
    case 2:
      return TileProduct<Packing, 2>(w, tile, in, y, ldy);
    case 3:
      return TileProduct<Packing, 3>(w, tile, in, y, ldy);
    case 4:
      return TileProduct<Packing, 4>(w, tile, in, y, ldy);
    case 5:
      return TileProduct<Packing, 5>(w, tile, in, y, ldy);
    case 6:
      return TileProduct<Packing, 6>(w, tile, in, y, ldy);
    case 7:
      return TileProduct<Packing, 7>(w, tile, in, y, ldy);
    default:
      return TileProduct<Packing, 8>(w, tile, in, y, ldy);
  }
}

template <typename Packing>
void Gemm(const TernaryView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
          const float* s, const int32_t* sums, float* y, int64_t ldy) {
  const int64_t cols = w.cols, blocks = w.cols / kActBlock;
  for (int block = 0; block < n_tokens; block += kTokenBlock) {
    const int block_end = Smaller(n_tokens, block + kTokenBlock);
    for (int first = tile_begin; first < tile_end; first += kTileBlock) {
      const int last = Smaller(tile_end, first + kTileBlock);
      for (int token = block; token < block_end; token += kTokens) {
        const int64_t t = token;
        const Tokens in = {q + t * cols, s + t * blocks, sums + t * blocks, cols, blocks};
        for (int tile = first; tile < last; ++tile) {
          TileTokens<Packing>(w, tile, Smaller(kTokens, block_end - token), in, y + t * ldy, ldy);
        }
      }
    }
  }
}

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
