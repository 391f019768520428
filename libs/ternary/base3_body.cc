// Products of base-3 bytes, rows in lanes (docs/formats/ternary.md): five trits a byte, 1.6 bits a
// weight. Compiled once per instruction set. A byte is a fraction of 256 whose base-3 digits are
// the codes t + 1: with x_0 the byte, x_{k+1} = 3 x_k mod 256 and 3 x_k = 256 d_k + x_{k+1},
// exactly.
#include "ternary/base3_tiles.h"

namespace chimera {
namespace CHIMERA_ISA {

extern const CodeKernels kCodeKernels;

namespace {

#if defined(CHIMERA_DOT_ZMM)

CHIMERA_VEC __m512i Triple(__m512i x) { return _mm512_add_epi8(_mm512_add_epi8(x, x), x); }

// One token, without ever forming a digit: sum d q = (3 sum x_k q - sum x_{k+1} q) / 256. Four
// chains hide the latency of the products; each sum is below 16 * 4 * 255 * 127.
struct Powers {
  struct Rest {
    __m512i x = {};  // x_k of the next quad
  };

  template <int P, int T>
  CHIMERA_VEC void Dots(const Powers&, Rest* rest, const uint8_t* bytes, const int8_t* q, int64_t,
                        I16* dots) {
    static_assert(T == 1);
    __m512i now[2] = {}, next[2] = {};
    __m512i x = rest->x;
#pragma GCC unroll 16
    for (int k = 0; k < kQuads; ++k) {
      if ((P + k) % kDigits == 0) {
        const uint8_t* tile = bytes + (P + k) / kDigits * kQuadBytes;
        Prefetch(tile);
        x = _mm512_loadu_si512(tile);
      }
      now[k % 2] = AddProducts(now[k % 2], x, q + 4 * k);
      x = Triple(x);
      next[k % 2] = AddProducts(next[k % 2], x, q + 4 * k);
    }
    rest->x = x;
    const I16 all = (I16)_mm512_add_epi32(now[0], now[1]);
    *dots = (all + all + all - (I16)_mm512_add_epi32(next[0], next[1])) >> 8;
  }
};

#endif

// GCC takes operations on vectors wider than a register apart into single lanes.
#if defined(CHIMERA_DOT_ZMM)
constexpr int kBytes = 64;
#elif defined(CHIMERA_DOT_YMM) || defined(CHIMERA_PAIRS_YMM)
constexpr int kBytes = 32;
#else
constexpr int kBytes = 16;
#endif
typedef uint8_t Bytes __attribute__((vector_size(kBytes)));

// The first digit of every byte. A comparison that holds is -1.
CHIMERA_VEC Bytes Digit(Bytes x) {
#if defined(CHIMERA_DOT_ZMM)
  const __m512i one = _mm512_set1_epi8(1);
  const __mmask64 some = _mm512_cmpgt_epu8_mask((__m512i)x, _mm512_set1_epi8(85));
  const __mmask64 two =
      _mm512_cmpgt_epu8_mask((__m512i)x, _mm512_set1_epi8(static_cast<char>(170)));
  const __m512i digit = _mm512_maskz_mov_epi8(some, one);
  return (Bytes)_mm512_mask_add_epi8(digit, two, digit, one);
#else
  return -(Bytes)(x > 85) - (Bytes)(x > 170);
#endif
}

// The codes of a block's quads. One copy for all callers.
__attribute__((noinline)) void BlockCodes(const uint8_t* tile, int block, uint8_t* codes) {
  for (int part = 0; part < kQuadBytes; part += kBytes) {
    const uint8_t* bytes = FirstTile(tile, block) + part;
    Bytes x;
    std::memcpy(&x, bytes, sizeof(x));
    int digit = block % kDigits;
    for (int i = 0; i < digit; ++i) x = x + x + x;
    for (int k = 0; k < kQuads; ++k) {
      if (digit == kDigits) {
        bytes += kQuadBytes;
        std::memcpy(&x, bytes, sizeof(x));
        digit = 0;
      }
      ++digit;
      const Bytes code = Digit(x);
      std::memcpy(codes + k * kQuadBytes + part, &code, sizeof(code));
      x = x + x + x;
    }
  }
}

struct Base3 {
  static constexpr int kFewTokens = 1;
  static void FewTokens(const TernaryView& w, int tile_begin, int tile_end, int, const int8_t* q,
                        const float* s, const int32_t* sums, float* y, int64_t) {
#if defined(CHIMERA_DOT_ZMM)
    OneToken<Powers>(w, tile_begin, tile_end, q, s, sums, y);
#else
    const auto dot = [q, sums](const uint8_t* tile, int block) {
      return UnpackedDot<Base3>(tile, block, q + block * kActBlock, sums[block]);
    };
    TilesOfOneToken(w, tile_begin, tile_end, s, dot, y);
#endif
  }

  static void Unpack(const uint8_t* tile, int block, int n, uint8_t* codes) {
    for (int b = block; b < block + n; ++b, codes += kBlockCodes) {
      BlockCodes(tile, b, codes);
    }
  }
};

void Base3Gemm(const TernaryView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
               const float* s, const int32_t* sums, float* y, int64_t ldy) {
  Gemm<Base3>(kCodeKernels, w, tile_begin, tile_end, n_tokens, q, s, sums, y, ldy);
}

}  // namespace

extern const TernaryKernels kBase3Kernels;
const TernaryKernels kBase3Kernels = {Base3Gemm, Base3Gemm};

}  // namespace CHIMERA_ISA
}  // namespace chimera
