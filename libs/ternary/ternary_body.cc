// Ternary products, rows in lanes: math-backbone 8.4. Compiled once per instruction set. Only the
// exact int32 block sums differ between them; the float order is written once, below.
#include "tensor/vec.h"
#include "ternary/half.h"
#include "ternary/ternary_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kTokens = 8;        // token columns of one pass over a row tile
constexpr int kTokenBlock = 64;   // tokens whose activations stay in the second-level cache
constexpr int kTileBlock = 4;     // row tiles that share one read of eight tokens
constexpr int kBlockBytes = 256;  // codes of 16 rows x 64 columns

CHIMERA_VEC int Smaller(int a, int b) { return a < b ? a : b; }

// What the kernel reads of a group of tokens: pointers to the first, strides to the next.
struct Tokens {
  const int8_t* q;
  const float* s;
  const int32_t* sums;
  int64_t cols;
  int64_t blocks;
};

CHIMERA_VEC int32_t LoadWord(const void* p) {
  int32_t word;
  std::memcpy(&word, p, 4);
  return word;
}

// dots[i] = sum of t * q over one block of 64 columns, for 16 rows and token i.
#if defined(__AVX512VNNI__)

typedef uint16_t Codes __attribute__((vector_size(64)));

// Stops the compiler from folding a pointer into many addresses that do not fit the registers.
CHIMERA_VEC void KeepInRegister(const int8_t** p) { __asm__("" : "+r"(*p)); }

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

template <int T>
CHIMERA_VEC void BlockDots(const uint8_t* codes, const Tokens& in, int block, I16* dots) {
  const int8_t* q = in.q + block * kActBlock;
  if constexpr (T == 1) {
    dots[0] = OneDot(codes, q, in.sums[block]);
    return;
  }
  const __m512i mask = _mm512_set1_epi8(0x03);
  const int8_t* token[T];
  __m512i acc[T];
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) {
    token[i] = q + i * in.cols;
    KeepInRegister(&token[i]);
    acc[i] = _mm512_set1_epi32(-in.sums[i * in.blocks + block]);
  }
#pragma GCC unroll 4
  for (int tile = 0; tile < 4; ++tile) {
    const __m512i v = _mm512_loadu_si512(codes + tile * 64);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const __m512i code = (__m512i)((Codes)v >> (2 * j)) & mask;
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        const __m512i word = _mm512_set1_epi32(LoadWord(token[i] + tile * 16 + j * 4));
        acc[i] = _mm512_dpbusd_epi32(acc[i], code, word);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) dots[i] = (I16)acc[i];
}

#elif defined(__AVX2__)

// Codes are shifted down, so sixteen products of pairs (at most 508 each) fit an int16.
template <int T>
CHIMERA_VEC void BlockDots(const uint8_t* codes, const Tokens& in, int block, I16* dots) {
  const int8_t* q = in.q + block * kActBlock;
  const __m256i mask = _mm256_set1_epi8(0x03), ones = _mm256_set1_epi16(1);
  for (int half = 0; half < 2; ++half) {
    __m256i acc[T];
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) acc[i] = _mm256_setzero_si256();
    for (int tile = 0; tile < 4; ++tile) {
      const __m256i v =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + tile * 64 + half * 32));
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const __m256i code = _mm256_and_si256(_mm256_srli_epi16(v, 2 * j), mask);
#pragma GCC unroll 8
        for (int i = 0; i < T; ++i) {
          const int32_t word = LoadWord(q + i * in.cols + tile * 16 + j * 4);
          acc[i] = _mm256_add_epi16(acc[i], _mm256_maddubs_epi16(code, _mm256_set1_epi32(word)));
        }
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

// y of one row tile for T tokens: the one float order.
template <int T>
void TileProduct(const TernaryView& w, int tile, const Tokens& in, float* y, int64_t ldy) {
  const int groups = WeightGroups(w.cols), blocks = w.cols / kActBlock;
  const uint8_t* codes = w.codes + int64_t{tile} * w.cols * 4;
  const uint16_t* scales = w.scales + int64_t{tile} * groups * kRowTile;
  F16 total[T];
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) total[i] = Splat(-0.0f);  // -0 + x is x, bit for bit
  for (int g = 0; g < groups; ++g) {
    const F16 mu = LoadHalf(scales + g * kRowTile);
    F16 part[T];
    I16 dots[T];
    BlockDots<T>(codes, in, 2 * g, dots);
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) {
      part[i] = in.s[i * in.blocks + 2 * g] * __builtin_convertvector(dots[i], F16);
    }
    if (2 * g + 1 < blocks) {
      BlockDots<T>(codes + kBlockBytes, in, 2 * g + 1, dots);
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i) {
        part[i] = part[i] + in.s[i * in.blocks + 2 * g + 1] * __builtin_convertvector(dots[i], F16);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < T; ++i) total[i] = total[i] + mu * part[i];
    codes += 2 * kBlockBytes;
  }
  const int row = tile * kRowTile, n_rows = Smaller(kRowTile, w.rows - row);
#pragma GCC unroll 8
  for (int i = 0; i < T; ++i) StoreN(y + i * ldy + row, total[i], n_rows);
}

void TileTokens(const TernaryView& w, int tile, int n, const Tokens& in, float* y, int64_t ldy) {
  switch (n) {
    case 1:
      return TileProduct<1>(w, tile, in, y, ldy);
    case 2:
      return TileProduct<2>(w, tile, in, y, ldy);
    case 3:
      return TileProduct<3>(w, tile, in, y, ldy);
    case 4:
      return TileProduct<4>(w, tile, in, y, ldy);
    case 5:
      return TileProduct<5>(w, tile, in, y, ldy);
    case 6:
      return TileProduct<6>(w, tile, in, y, ldy);
    case 7:
      return TileProduct<7>(w, tile, in, y, ldy);
    default:
      return TileProduct<8>(w, tile, in, y, ldy);
  }
}

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
          TileTokens(w, tile, Smaller(kTokens, block_end - token), in, y + t * ldy, ldy);
        }
      }
    }
  }
}

}  // namespace

extern const TernaryKernels kTernaryKernels;
const TernaryKernels kTernaryKernels = {Gemm};

}  // namespace CHIMERA_ISA
}  // namespace chimera
