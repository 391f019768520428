// Population count by looking up the two nibbles of each byte (Mula, Kurz, Lemire 2018, section 2).
// Compiled with -mavx2: nothing but intrinsics here, so that no shared inline function gets AVX2
// code.
#include <immintrin.h>
#include <stdint.h>

namespace chimera {

uint32_t HammingAvx2(const uint64_t* a, const uint64_t* b);

uint32_t HammingAvx2(const uint64_t* a, const uint64_t* b) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                         0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i nibble = _mm256_set1_epi8(0x0F);
  __m256i total = _mm256_setzero_si256();
  for (int w = 0; w < 128; w += 64) {
    // Sixteen vectors add at most 16 * 8 = 128 to a byte counter, which therefore cannot wrap.
    __m256i bytes = _mm256_setzero_si256();
    for (int i = w; i < w + 64; i += 4) {
      const __m256i x = _mm256_xor_si256(_mm256_load_si256((const __m256i*)(a + i)),
                                         _mm256_load_si256((const __m256i*)(b + i)));
      const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
      const __m256i high =
          _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
      bytes = _mm256_add_epi8(bytes, _mm256_add_epi8(low, high));
    }
    total = _mm256_add_epi64(total, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
  }
  return (uint32_t)(_mm256_extract_epi64(total, 0) + _mm256_extract_epi64(total, 1) +
                    _mm256_extract_epi64(total, 2) + _mm256_extract_epi64(total, 3));
}

}  // namespace chimera
