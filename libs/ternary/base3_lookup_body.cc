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
  using Rest = TileDigits;

  template <int P>
  CHIMERA_VEC I16 Dot(const Found& found, Rest* rest, const uint8_t* bytes, const int8_t* q,
                      int32_t sum) {
    __m512i acc[2] = {};
#pragma GCC unroll 16
    for (int k = 0; k < kQuads; ++k) {
      const int d = (P + k) % kDigits;
      if (d == 0) *rest = found.finder.Find(bytes + (P + k) / kDigits * kQuadBytes);
      acc[k % 2] = AddProducts(acc[k % 2], found.finder.Digit(*rest, d), q + 4 * k);
    }
    return (I16)acc[0] + (I16)acc[1] - sum;
  }

  DigitFinder<0> finder;
};

struct LookedUp {
  static void OneToken(const TernaryView& w, int tile_begin, int tile_end, const int8_t* q,
                       const float* s, const int32_t* sums, float* y) {
    Base3TilesOfOneToken<Found>(w, tile_begin, tile_end, q, s, sums, y);
  }
  static void Unpack(const uint8_t* tile, int block, int n, uint8_t* codes) {
    StoreDigits<0>(tile, block, n, codes);
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
