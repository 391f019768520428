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

  template <int P, int T>
  CHIMERA_VEC void Dots(const Found& found, Rest* rest, const uint8_t* bytes, const int8_t* q,
                        int64_t cols, I16* dots) {
    constexpr int kChains = T == 1 ? 2 : T;
    __m512i acc[kChains] = {};
    const int8_t* token[T];
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) {
      token[t] = q + t * cols;
      if constexpr (T > 1) KeepInRegister(&token[t]);
    }
#pragma GCC unroll 16
    for (int k = 0; k < kQuads; ++k) {
      const int d = (P + k) % kDigits;
      if (d == 0) *rest = found.finder.Find(bytes + (P + k) / kDigits * kQuadBytes);
      const __m512i digits = found.finder.Digit(*rest, d);
#pragma GCC unroll 8
      for (int t = 0; t < T; ++t) {
        __m512i& sum = acc[T == 1 ? k % 2 : t];
        sum = AddProducts(sum, digits, token[t] + 4 * k);
      }
    }
    if constexpr (T == 1) acc[0] = _mm512_add_epi32(acc[0], acc[1]);
#pragma GCC unroll 8
    for (int t = 0; t < T; ++t) dots[t] = (I16)acc[t];
  }

  DigitFinder<0> finder;
};

struct LookedUp {
  static constexpr int kFewTokens = 7;  // as many as there are registers for
  static void FewTokens(const TernaryView& w, int tile_begin, int tile_end, int n_tokens,
                        const int8_t* q, const float* s, const int32_t* sums, float* y,
                        int64_t ldy) {
    if (n_tokens == 1) return OneToken<Found>(w, tile_begin, tile_end, q, s, sums, y);
    constexpr decltype(&SomeBase3Tiles<1, 2, Found>) kProducts[] = {
        SomeBase3Tiles<1, 2, Found>, SomeBase3Tiles<1, 3, Found>, SomeBase3Tiles<1, 4, Found>,
        SomeBase3Tiles<1, 5, Found>, SomeBase3Tiles<1, 6, Found>, SomeBase3Tiles<1, 7, Found>};
    for (int tile = tile_begin; tile < tile_end; ++tile) {
      kProducts[n_tokens - 2](w, tile, 1, q, s, sums, y, ldy);
    }
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
