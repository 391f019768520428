// Sixteen XOR and VPOPCNTQ steps. Compiled with -mavx512f -mavx512vpopcntdq: nothing but intrinsics
// here, so that no shared inline function gets AVX-512 code.
#include <immintrin.h>
#include <stdint.h>

namespace chimera {

uint32_t HammingAvx512(const uint64_t* a, const uint64_t* b);

uint32_t HammingAvx512(const uint64_t* a, const uint64_t* b) {
  // Two sums, because one would wait for each addition.
  __m512i even = _mm512_setzero_si512();
  __m512i odd = _mm512_setzero_si512();
  for (int w = 0; w < 128; w += 16) {
    even = _mm512_add_epi64(even, _mm512_popcnt_epi64(_mm512_xor_si512(_mm512_load_si512(a + w),
                                                                       _mm512_load_si512(b + w))));
    odd = _mm512_add_epi64(odd, _mm512_popcnt_epi64(_mm512_xor_si512(
                                    _mm512_load_si512(a + w + 8), _mm512_load_si512(b + w + 8))));
  }
  // Not _mm512_reduce_add_epi64: gcc 12 warns about its own header there.
  alignas(64) uint64_t sums[8];
  _mm512_store_si512(sums, _mm512_add_epi64(even, odd));
  uint64_t distance = 0;
  for (int i = 0; i < 8; ++i) distance += sums[i];
  return (uint32_t)distance;
}

}  // namespace chimera
