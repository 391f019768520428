// Products of two-bit codes, rows in lanes: math-backbone 8.4. Compiled once per instruction set.
// Only the exact int32 block sums differ between them.
#include "ternary/tile_product.h"

namespace chimera {
namespace CHIMERA_ISA {

extern const CodeKernels kCodeKernels, kCodeKernelsBeside;

namespace {

typedef uint64_t Lines __attribute__((vector_size(64)));

// Sums of t * q over a block for one token; `sum` is that of q.
#if defined(CHIMERA_DOT_ZMM)

// Codes stay in place and carry a factor 4^j: at most 16 columns * 192 * 127, far from overflow.
CHIMERA_VEC I16 OneDot(const uint8_t* codes, const int8_t* q, int32_t sum) {
  const __m512i mask0 = _mm512_set1_epi8(0x03), mask1 = _mm512_set1_epi8(0x0c);
  const __m512i mask2 = _mm512_set1_epi8(0x30), mask3 = _mm512_set1_epi8(static_cast<char>(0xc0));
  __m512i a0 = _mm512_setzero_si512(), a1 = a0, a2 = a0, a3 = a0;
#pragma GCC unroll 4
  for (int tile = 0; tile < 4; ++tile, codes += 64, q += 16) {
    const __m512i v = _mm512_loadu_si512(codes);
    a0 = AddProducts(a0, _mm512_and_si512(v, mask0), q);
    a1 = AddProducts(a1, _mm512_and_si512(v, mask1), q + 4);
    a2 = AddProducts(a2, _mm512_and_si512(v, mask2), q + 8);
    a3 = AddProducts(a3, _mm512_and_si512(v, mask3), q + 12);
  }
  return (I16)a0 + ((I16)a1 >> 2) + ((I16)a2 >> 4) + ((I16)a3 >> 6) - sum;
}

#elif defined(CHIMERA_DOT_YMM)

// As above for both halves of the rows, which share the words of the token.
CHIMERA_VEC I16 OneDot(const uint8_t* codes, const int8_t* q, int32_t sum) {
  typedef int32_t I8 __attribute__((vector_size(32)));
  constexpr char kMasks[4] = {0x03, 0x0c, 0x30, static_cast<char>(0xc0)};
  __m256i acc[2][4] = {};
#pragma GCC unroll 4
  for (int tile = 0; tile < 4; ++tile, codes += 64, q += 16) {
    const auto* bytes = reinterpret_cast<const __m256i*>(codes);
    const __m256i low = _mm256_loadu_si256(bytes), high = _mm256_loadu_si256(bytes + 1);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m256i word = _mm256_set1_epi32(LoadWord(q + 4 * j)),
                    mask = _mm256_set1_epi8(kMasks[j]);
      acc[0][j] = _mm256_dpbusd_epi32(acc[0][j], _mm256_and_si256(low, mask), word);
      acc[1][j] = _mm256_dpbusd_epi32(acc[1][j], _mm256_and_si256(high, mask), word);
    }
  }
  I16 dots;
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const __m256i* a = acc[half];
    const I8 dot = (I8)a[0] + ((I8)a[1] >> 2) + ((I8)a[2] >> 4) + ((I8)a[3] >> 6) - sum;
    std::memcpy(reinterpret_cast<char*>(&dots) + 32 * half, &dot, 32);
  }
  return dots;
}

#elif defined(CHIMERA_PAIRS_YMM)

CHIMERA_VEC I16 OneDot(const uint8_t* codes, const int8_t* q, int32_t sum) {
  __m256i acc[2] = {};
#pragma GCC unroll 4
  for (int tile = 0; tile < 4; ++tile, codes += 64, q += 16) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const auto* bytes = reinterpret_cast<const __m256i*>(codes + 32 * half);
      const __m256i v = _mm256_loadu_si256(bytes), mask = _mm256_set1_epi8(0x03);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const __m256i code = _mm256_and_si256(_mm256_srli_epi16(v, 2 * j), mask);
        acc[half] = AddProducts(acc[half], code, _mm256_set1_epi32(LoadWord(q + 4 * j)));
      }
    }
  }
  I16 dots;
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const __m256i dot = _mm256_sub_epi32(Widen(acc[half]), _mm256_set1_epi32(sum));
    std::memcpy(reinterpret_cast<char*>(&dots) + half * 32, &dot, 32);
  }
  return dots;
}

#endif

struct TwoBit {
  static constexpr int kFewTokens = 1;
  static void FewTokens(const TernaryView& w, int tile_begin, int tile_end, int, const int8_t* q,
                        const float* s, const int32_t* sums, float* y, int64_t) {
    const LineHints hints;
    const auto dot = [q, sums, hints](const uint8_t* tile, int block) {
#if defined(CHIMERA_DOT_ZMM) || defined(CHIMERA_DOT_YMM) || defined(CHIMERA_PAIRS_YMM)
      const uint8_t* codes = tile + int64_t{block} * kTwoBitBlockBytes;
      PrefetchLines<kTwoBitBlockBytes>(codes, hints);
      return OneDot(codes, q + block * kActBlock, sums[block]);
#else
      (void)hints;
      return UnpackedDot<TwoBit>(tile, block, q + block * kActBlock, sums[block]);
#endif
    };
    TilesOfOneToken(w, tile_begin, tile_end, s, dot, y);
  }

  static void Unpack(const uint8_t* tile, int block, int n, uint8_t* codes) {
    const uint8_t* packed = tile + int64_t{block} * kTwoBitBlockBytes;
    for (int line = 0; line < n * kTwoBitBlockBytes; line += 64, packed += 64) {
      Prefetch(packed);
      Lines v;
      std::memcpy(&v, packed, sizeof(v));
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j, codes += kQuadBytes) {
        const Lines code = v >> 2 * j & 0x0303030303030303;
        std::memcpy(codes, &code, sizeof(code));
      }
    }
  }
};

void TwoBitGemm(const TernaryView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
                const float* s, const int32_t* sums, float* y, int64_t ldy) {
  Gemm<TwoBit>(kCodeKernels, w, tile_begin, tile_end, n_tokens, q, s, sums, y, ldy);
}

void TwoBitGemmBeside(const TernaryView& w, int tile_begin, int tile_end, int n_tokens,
                      const int8_t* q, const float* s, const int32_t* sums, float* y, int64_t ldy) {
  Gemm<TwoBit>(kCodeKernelsBeside, w, tile_begin, tile_end, n_tokens, q, s, sums, y, ldy);
}

}  // namespace

extern const TernaryKernels kTernaryKernels;
const TernaryKernels kTernaryKernels = {TwoBitGemm, TwoBitGemmBeside};

}  // namespace CHIMERA_ISA
}  // namespace chimera
