// Products of base-3 bytes with the byte lookups of AVX-512 VBMI (base3_digits.h); reached only
// when HasVbmi().
#include "ternary/base3_tiles.h"

namespace chimera {

namespace avx512 {
extern const CodeKernels kCodeKernels;
}  // namespace avx512

namespace CHIMERA_ISA {
namespace {

struct Found {
  Lookup lookup;
  TileDigits at = {};

  // As with two-bit codes: digits stay in place and carry a factor 4^d. The fifth stands for d = 0.
  template <int P>
  CHIMERA_VEC I16 Dot(Found* found, const uint8_t* bytes, const int8_t* q, int32_t sum) {
    __m512i acc[4] = {};
#pragma GCC unroll 16
    for (int k = 0; k < kQuads; ++k) {
      const int d = (P + k) % kDigits;
      if (d == 0) found->at = Find(found->lookup, bytes + (P + k) / kDigits * kQuadBytes);
      const __m512i mask = _mm512_set1_epi8(static_cast<char>(3 << 2 * (d % 4)));
      const __m512i code = d == 4 ? found->at.fifth : _mm512_and_si512(found->at.four, mask);
      acc[d % 4] = AddProducts(acc[d % 4], code, q + 4 * k);
    }
    return (I16)acc[0] + ((I16)acc[1] >> 2) + ((I16)acc[2] >> 4) + ((I16)acc[3] >> 6) - sum;
  }
};

typedef uint16_t Codes __attribute__((vector_size(64)));

struct LookedUp {
  static void OneToken(const TernaryView& w, int tile_begin, int tile_end, const int8_t* q,
                       const float* s, const int32_t* sums, float* y) {
    for (int tile = tile_begin; tile < tile_end; ++tile) {
      OneBase3Tile<Found>(w, tile, q, s, sums, y);
    }
  }
  static void Unpack(const uint8_t* tile, int block, int n, uint8_t* codes) {
    for (int b = block; b < block + n; ++b, codes += kBlockCodes) {
      TakeBlock(tile, b, [codes](int k, const TileDigits& at, int d) {
        const __m512i low = (__m512i)((Codes)at.four >> (2 * (d % 4)));
        const __m512i code = d == 4 ? at.fifth : _mm512_and_si512(low, _mm512_set1_epi8(3));
        _mm512_store_si512(codes + k * kQuadBytes, code);
      });
    }
  }
};

void LookupGemm(const TernaryView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
                const float* s, const int32_t* sums, float* y, int64_t ldy) {
  Gemm<LookedUp>(avx512::kCodeKernels, w, tile_begin, tile_end, n_tokens, q, s, sums, y, ldy);
}

}  // namespace

extern const TernaryKernels kBase3Kernels;
const TernaryKernels kBase3Kernels = {LookupGemm, LookupGemm};

}  // namespace CHIMERA_ISA
}  // namespace chimera
