// Products of two-bit codes, rows in lanes: math-backbone 8.4. Compiled once per instruction set.
// Only the exact int32 block sums differ between them.
#include "ternary/tile_product.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

// codes: those of the block.
#if defined(CHIMERA_DOT_ZMM)

typedef uint16_t Codes __attribute__((vector_size(64)));

// Codes stay in place and carry a factor 4^j: at most 16 columns * 128 * 127, far from overflow.
CHIMERA_VEC I16 OneDot(const uint8_t* codes, const int8_t* q, int32_t sum) {
  const __m512i mask0 = _mm512_set1_epi8(0x03), mask1 = _mm512_set1_epi8(0x0c);
  const __m512i mask2 = _mm512_set1_epi8(0x30), mask3 = _mm512_set1_epi8(static_cast<char>(0xc0));
  __m512i a0 = _mm512_setzero_si512(), a1 = a0, a2 = a0, a3 = a0;
#pragma GCC unroll 4
  for (int tile = 0; tile < 4; ++tile, codes += 64, q += 16) {
    const __m512i v = _mm512_loadu_si512(codes);
    a0 = _mm512_dpbusd_epi32(a0, _mm512_and_si512(v, mask0), _mm512_set1_epi32(LoadWord(q)));
    a1 = _mm512_dpbusd_epi32(a1, _mm512_and_si512(v, mask1), _mm512_set1_epi32(LoadWord(q + 4)));
    a2 = _mm512_dpbusd_epi32(a2, _mm512_and_si512(v, mask2), _mm512_set1_epi32(LoadWord(q + 8)));
    a3 = _mm512_dpbusd_epi32(a3, _mm512_and_si512(v, mask3), _mm512_set1_epi32(LoadWord(q + 12)));
  }
  return (I16)a0 + ((I16)a1 >> 2) + ((I16)a2 >> 4) + ((I16)a3 >> 6) - sum;
}

// Four columns of the 16 rows.
CHIMERA_VEC __m512i Quad(const uint8_t* codes, int k) {
  const __m512i v = _mm512_loadu_si512(codes + k / 4 * 64);
  return (__m512i)((Codes)v >> (k % 4 * 2)) & _mm512_set1_epi8(0x03);
}

template <int T>
CHIMERA_VEC void BlockDots(const uint8_t* codes, const Tokens& in, int block, I16* dots) {
  if constexpr (T == 1) {
    dots[0] = OneDot(codes, in.q + block * kActBlock, in.sums[block]);
    return;
  }
  CodeDots<T>([codes](int k, int) { return Quad(codes, k); }, in, block, dots);
}

// Two row tiles. A load of a word serves both: with one tile the loads are the limit.
template <int T>
CHIMERA_VEC void PairDots(const uint8_t* codes, int64_t tile_bytes, const Tokens& in, int block,
                          I16* dots) {
  const uint8_t* const second = codes + tile_bytes;
  CodeDotsOfTiles<2, T>([codes, second](int k, int r) { return Quad(r == 0 ? codes : second, k); },
                        in, block, dots);
}

#elif defined(CHIMERA_DOT_YMM) || defined(CHIMERA_PAIRS_YMM)

#if defined(CHIMERA_DOT_YMM)

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
  I8 dot[2];
  for (int half = 0; half < 2; ++half) {
    const __m256i* a = acc[half];
    dot[half] = (I8)a[0] + ((I8)a[1] >> 2) + ((I8)a[2] >> 4) + ((I8)a[3] >> 6) - sum;
  }
  return __builtin_shufflevector(dot[0], dot[1], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
                                 15);
}

#endif

template <int T>
CHIMERA_VEC void BlockDots(const uint8_t* codes, const Tokens& in, int block, I16* dots) {
#if defined(CHIMERA_DOT_YMM)
  if constexpr (T == 1) {
    dots[0] = OneDot(codes, in.q + block * kActBlock, in.sums[block]);
    return;
  }
#endif
  CodeDots<T>(
      [codes](int k, int half) {
        const __m256i v =
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + k / 4 * 64 + half * 32));
        return _mm256_and_si256(_mm256_srli_epi16(v, k % 4 * 2), _mm256_set1_epi8(0x03));
      },
      in, block, dots);
}

#elif defined(CHIMERA_DOT_NEON)

template <int T>
CHIMERA_VEC void BlockDots(const uint8_t* codes, const Tokens& in, int block, I16* dots) {
  CodeDots<T>(
      [codes](int k, int part) {
        const uint8x16_t v = vld1q_u8(codes + k / 4 * 64 + part * 16);
        return vreinterpretq_s8_u8((v >> (k % 4 * 2)) & 3);
      },
      in, block, dots);
}

#else

typedef int16_t Shorts8 __attribute__((vector_size(16)));
typedef uint8_t Bytes8 __attribute__((vector_size(8)));

// Two rows in eight int16 lanes; each lane gets sixteen products of at most 254.
template <int T>
CHIMERA_VEC void BlockDots(const uint8_t* codes, const Tokens& in, int block, I16* dots) {
  for (int i = 0; i < T; ++i) {
    const int8_t* q = in.q + i * in.cols + block * kActBlock;
    int32_t out[16];
    Shorts8 pattern[16];
    for (int k = 0; k < 16; ++k) {
      for (int lane = 0; lane < 8; ++lane) pattern[k][lane] = q[4 * k + lane % 4];
    }
    for (int pair = 0; pair < 8; ++pair) {
      Shorts8 acc = {};
      for (int tile = 0; tile < 4; ++tile) {
        Bytes8 bytes;
        std::memcpy(&bytes, codes + tile * 64 + pair * 8, 8);
        const Shorts8 v = __builtin_convertvector(bytes, Shorts8);
        for (int j = 0; j < 4; ++j) acc += ((v >> (2 * j)) & 3) * pattern[tile * 4 + j];
      }
      const int32_t sum = in.sums[i * in.blocks + block];
      out[pair * 2] = acc[0] + acc[1] + acc[2] + acc[3] - sum;
      out[pair * 2 + 1] = acc[4] + acc[5] + acc[6] + acc[7] - sum;
    }
    std::memcpy(dots + i, out, sizeof(out));
  }
}

#endif

struct TwoBit {
#if defined(CHIMERA_DOT_ZMM)
  static constexpr int kRowTiles = 2;
#else
  static constexpr int kRowTiles = 1;
#endif
  static constexpr bool kAsks = true;

  template <int R, int T>
  CHIMERA_VEC void Dots(const uint8_t* tile, [[maybe_unused]] int64_t tile_bytes, const Tokens& in,
                        int block, I16* dots) {
    const uint8_t* codes = tile + int64_t{block} * kTwoBitBlockBytes;
#if defined(CHIMERA_DOT_ZMM)
    if constexpr (R == 2) return PairDots<T>(codes, tile_bytes, in, block, dots);
#endif
    BlockDots<T>(codes, in, block, dots);
  }
};

}  // namespace

extern const TernaryKernels kTernaryKernels;
const TernaryKernels kTernaryKernels = {Gemm<TwoBit>};

}  // namespace CHIMERA_ISA
}  // namespace chimera
