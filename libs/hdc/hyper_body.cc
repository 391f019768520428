// The loops over 128 words. Compiled once per instruction set; loops without intrinsics are left to
// the compiler, which makes vector code of them.
#include "hdc/hyper_kernels.h"

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kWords = 128;
constexpr int kFirstWords = 32;  // where hamming_within looks for the first time

void Bind(const uint64_t* a, const uint64_t* b, uint64_t* out) {
  for (int w = 0; w < kWords; ++w) out[w] = a[w] ^ b[w];
}

void Rotate(const uint64_t* a, int left, uint64_t* out) {
  const int words = left / 64, bits = left % 64;
  // turned[w + 1] is the word that lands on w, turned[w] the one below it.
  uint64_t turned[kWords + 1];
  for (int w = 0; w < kWords - words; ++w) turned[w + words + 1] = a[w];
  for (int w = 0; w < words; ++w) turned[w + 1] = a[kWords - words + w];
  turned[0] = turned[kWords];
  if (bits == 0) {
    for (int w = 0; w < kWords; ++w) out[w] = turned[w + 1];
    return;
  }
  for (int w = 0; w < kWords; ++w) out[w] = turned[w + 1] << bits | turned[w] >> (64 - bits);
}

void FullAdd(uint64_t* __restrict sum, const uint64_t* __restrict b, uint64_t* __restrict carry) {
  for (int w = 0; w < kWords; ++w) {
    const uint64_t x = sum[w] ^ b[w];
    const uint64_t both = sum[w] & b[w];
    sum[w] = x ^ carry[w];
    carry[w] = both | (x & carry[w]);
  }
}

void Exceeds(const uint64_t* planes, int n, uint32_t half, const uint64_t* tie, uint64_t* out) {
  uint64_t more[kWords], same[kWords];
  for (int w = 0; w < kWords; ++w) more[w] = 0, same[w] = ~uint64_t{0};
  for (int p = n - 1; p >= 0; --p) {  // compared from the highest plane down
    const uint64_t* const plane = planes + p * kWords;
    if ((half >> p & 1) != 0) {
      for (int w = 0; w < kWords; ++w) same[w] &= plane[w];
    } else {
      for (int w = 0; w < kWords; ++w) {
        more[w] |= same[w] & plane[w];
        same[w] &= ~plane[w];
      }
    }
  }
  if (tie == nullptr) {
    for (int w = 0; w < kWords; ++w) out[w] = more[w];
  } else {
    for (int w = 0; w < kWords; ++w) out[w] = more[w] | (same[w] & tie[w]);
  }
}

#if defined(__AVX2__)

// The bytes first, all bits of a word at once then. Gather instructions are slower than the scalar
// loop on processors that guard against reading their buffers.
void PickBytes(const uint64_t* a, const PickPlan& plan, int n, uint16_t* out) {
  const __m128i powers = _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
  const uint8_t* const bytes = (const uint8_t*)a;
  const uint16_t* const at = plan.positions;
  alignas(64) uint16_t byte_of[PickPlan::kPositions];
#pragma GCC unroll 16
  for (int i = 0; i < 16 * n; ++i) byte_of[i] = bytes[at[i] / 8];
  for (int i = 0; i < n; ++i) {
    __m128i set[2];
    for (int half = 0; half < 2; ++half) {
      // Low bytes 0..7 pick their power, high bytes 8 pick zero.
      const __m128i in_byte = _mm_or_si128(
          _mm_and_si128(_mm_load_si128((const __m128i*)(at + 16 * i) + half), _mm_set1_epi16(7)),
          _mm_set1_epi16(0x0800));
      const __m128i power = _mm_shuffle_epi8(powers, in_byte);
      const __m128i byte = _mm_load_si128((const __m128i*)(byte_of + 16 * i) + half);
      set[half] = _mm_cmpeq_epi16(_mm_and_si128(byte, power), power);
    }
    out[i] = (uint16_t)_mm_movemask_epi8(_mm_packs_epi16(set[0], set[1]));
  }
}

#if defined(__AVX512BW__)

// Of every lane the bit that its shift moves to the top.
inline __attribute__((always_inline)) uint32_t BitsOf(__m512i words, __m512i lanes) {
  return _mm512_movepi16_mask(_mm512_sllv_epi16(words, _mm512_srli_epi16(lanes, 12)));
}

void Pick(const uint64_t* a, const PickPlan& plan, int n, uint16_t* out) {
  if (plan.windows == 0) return PickBytes(a, plan, n, out);
  alignas(64) uint32_t picked[32] = {};
  for (int w = 0; w < plan.windows; ++w) {
    const __m512i lanes = _mm512_load_si512(plan.window_lanes + 32 * w);
    const __m512i words = _mm512_loadu_si512((const uint16_t*)a + plan.first[w]);
    picked[w] = BitsOf(_mm512_permutexvar_epi16(lanes, words), lanes);
  }
  const __m512i low = _mm512_load_si512(picked), high = _mm512_load_si512(picked + 16);
  for (int i = 0; i < n; i += 2) {
    const __m512i lanes = _mm512_load_si512(plan.result_lanes + 16 * i);
    const uint32_t two = BitsOf(_mm512_permutex2var_epi16(low, lanes, high), lanes);
    out[i] = (uint16_t)two;
    if (i + 1 < n) out[i + 1] = (uint16_t)(two >> 16);
  }
}

#else

void Pick(const uint64_t* a, const PickPlan& plan, int n, uint16_t* out) {
  PickBytes(a, plan, n, out);
}

#endif

#else

void Pick(const uint64_t* a, const PickPlan& plan, int n, uint16_t* out) {
  for (int i = 0; i < n; ++i) {
    uint32_t picked = 0;
    for (int j = 0; j < 16; ++j) {
      const int position = plan.positions[16 * i + j];
      picked |= (uint32_t)(a[position / 64] >> (position % 64) & 1) << j;
    }
    out[i] = (uint16_t)picked;
  }
}

#endif

#if defined(__AVX512BW__)

// Not _mm512_reduce_add_epi64: gcc 12 warns about its own header there.
inline __attribute__((always_inline)) uint32_t SumOfLanes(__m512i lanes) {
  alignas(64) uint64_t sums[8];
  _mm512_store_si512(sums, lanes);
  return (uint32_t)(sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7]);
}

inline __attribute__((always_inline)) __m512i Xor(const uint64_t* a, const uint64_t* b, int i) {
  return _mm512_xor_si512(_mm512_load_si512(a + 8 * i), _mm512_load_si512(b + 8 * i));
}

#endif

#if defined(__AVX512VPOPCNTDQ__)

// words is a multiple of 16.
uint32_t Differing(const uint64_t* a, const uint64_t* b, int words) {
  // Two sums, because one would wait for each addition.
  __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
  for (int i = 0; i < words / 8; i += 2) {
    even = _mm512_add_epi64(even, _mm512_popcnt_epi64(Xor(a, b, i)));
    odd = _mm512_add_epi64(odd, _mm512_popcnt_epi64(Xor(a, b, i + 1)));
  }
  return SumOfLanes(_mm512_add_epi64(even, odd));
}

uint32_t Hamming(const uint64_t* a, const uint64_t* b) { return Differing(a, b, kWords); }

#elif defined(__AVX512BW__)

// weight times the population counts of the sixteen nibbles, a byte each, four times over.
inline __attribute__((always_inline)) __m512i Counts(int weight) {
  return _mm512_set4_epi32(weight * 0x04030302, weight * 0x03020201, weight * 0x03020201,
                           weight * 0x02010100);
}

// acc plus weight times the set bits of every byte of x, by looking up its two nibbles (Mula, Kurz,
// Lemire 2018, section 2).
inline __attribute__((always_inline)) __m512i AddCounts(__m512i acc, __m512i x, __m512i counts) {
  const __m512i nibble = _mm512_set1_epi8(0x0F);
  const __m512i low = _mm512_shuffle_epi8(counts, _mm512_and_si512(x, nibble));
  const __m512i high =
      _mm512_shuffle_epi8(counts, _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble));
  return _mm512_add_epi8(acc, _mm512_add_epi8(low, high));
}

inline __attribute__((always_inline)) uint32_t SumOfBytes(__m512i bytes) {
  return SumOfLanes(_mm512_sad_epu8(bytes, _mm512_setzero_si512()));
}

// words is a multiple of 8, at most 248: 31 times 8 bits fit a byte.
uint32_t Differing(const uint64_t* a, const uint64_t* b, int words) {
  const __m512i counts = Counts(1);
  __m512i acc = _mm512_setzero_si512();
  for (int i = 0; i < words / 8; ++i) acc = AddCounts(acc, Xor(a, b, i), counts);
  return SumOfBytes(acc);
}

// sum and the two new ones become their parity; what carries comes back.
inline __attribute__((always_inline)) __m512i Add3(__m512i* sum, __m512i b, __m512i c) {
  const __m512i carry = _mm512_ternarylogic_epi64(*sum, b, c, 0xE8);
  *sum = _mm512_ternarylogic_epi64(*sum, b, c, 0x96);
  return carry;
}

inline __attribute__((always_inline)) __m512i Add2(__m512i* sum, __m512i b) {
  const __m512i carry = _mm512_and_si512(*sum, b);
  *sum = _mm512_xor_si512(*sum, b);
  return carry;
}

// Sixteen registers are added up bit by bit first (Harley and Seal), so that five are counted
// instead of sixteen.
uint32_t Hamming(const uint64_t* a, const uint64_t* b) {
  __m512i ones = Xor(a, b, 0);
  const __m512i t0 = Add3(&ones, Xor(a, b, 1), Xor(a, b, 2));
  __m512i twos = t0;
  const __m512i t1 = Add3(&ones, Xor(a, b, 3), Xor(a, b, 4));
  const __m512i t2 = Add3(&ones, Xor(a, b, 5), Xor(a, b, 6));
  __m512i fours = Add3(&twos, t1, t2);
  const __m512i t3 = Add3(&ones, Xor(a, b, 7), Xor(a, b, 8));
  const __m512i t4 = Add3(&ones, Xor(a, b, 9), Xor(a, b, 10));
  const __m512i f1 = Add3(&twos, t3, t4);
  const __m512i t5 = Add3(&ones, Xor(a, b, 11), Xor(a, b, 12));
  const __m512i t6 = Add3(&ones, Xor(a, b, 13), Xor(a, b, 14));
  const __m512i f2 = Add3(&twos, t5, t6);
  __m512i eights = Add3(&fours, f1, f2);
  const __m512i t7 = Add2(&ones, Xor(a, b, 15));
  const __m512i f3 = Add2(&twos, t7);
  const __m512i e1 = Add2(&fours, f3);
  const __m512i sixteens = Add2(&eights, e1);
  // At most 16 * 8 in a byte, all weights together.
  __m512i acc = AddCounts(_mm512_setzero_si512(), ones, Counts(1));
  acc = AddCounts(acc, twos, Counts(2));
  acc = AddCounts(acc, fours, Counts(4));
  acc = AddCounts(acc, eights, Counts(8));
  return SumOfBytes(AddCounts(acc, sixteens, Counts(16)));
}

#elif defined(__AVX2__)

// words is a multiple of 4, at most 124; the nibbles of each byte are looked up (Mula, Kurz, Lemire
// 2018, section 2).
uint32_t Counted(const uint64_t* a, const uint64_t* b, int words) {
  const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                         0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i nibble = _mm256_set1_epi8(0x0F);
  __m256i bytes = _mm256_setzero_si256();
  for (int i = 0; i < words; i += 4) {
    const __m256i x = _mm256_xor_si256(_mm256_load_si256((const __m256i*)(a + i)),
                                       _mm256_load_si256((const __m256i*)(b + i)));
    const __m256i low = _mm256_shuffle_epi8(table, _mm256_and_si256(x, nibble));
    const __m256i high =
        _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
    bytes = _mm256_add_epi8(bytes, _mm256_add_epi8(low, high));
  }
  const __m256i sums = _mm256_sad_epu8(bytes, _mm256_setzero_si256());
  const __m128i half =
      _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  return (uint32_t)(_mm_cvtsi128_si64(half) + _mm_extract_epi64(half, 1));
}

uint32_t Differing(const uint64_t* a, const uint64_t* b, int words) {
  uint32_t sum = 0;
  for (int w = 0; w < words; w += 32) sum += Counted(a + w, b + w, 32);
  return sum;
}

uint32_t Hamming(const uint64_t* a, const uint64_t* b) {
  return Counted(a, b, 64) + Counted(a + 64, b + 64, 64);
}

#elif defined(__aarch64__)

// words is a multiple of 32; sixteen registers add at most 16 * 8 to a byte.
uint32_t Differing(const uint64_t* a, const uint64_t* b, int words) {
  uint32x4_t sum = vdupq_n_u32(0);
  for (int first = 0; first < words; first += 32) {
    uint8x16_t bytes = vdupq_n_u8(0);
    for (int w = first; w < first + 32; w += 2) {
      const uint64x2_t x = veorq_u64(vld1q_u64(a + w), vld1q_u64(b + w));
      bytes = vaddq_u8(bytes, vcntq_u8(vreinterpretq_u8_u64(x)));
    }
    sum = vpadalq_u16(sum, vpaddlq_u8(bytes));
  }
  return vaddvq_u32(sum);
}

uint32_t Hamming(const uint64_t* a, const uint64_t* b) { return Differing(a, b, kWords); }

#else

uint32_t Differing(const uint64_t* a, const uint64_t* b, int words) {
  uint32_t distance = 0;
  for (int w = 0; w < words; ++w) distance += (uint32_t)__builtin_popcountll(a[w] ^ b[w]);
  return distance;
}

uint32_t Hamming(const uint64_t* a, const uint64_t* b) { return Differing(a, b, kWords); }

#endif

uint32_t HammingWithin(const uint64_t* a, const uint64_t* b, uint32_t limit) {
  const uint32_t first = Differing(a, b, kFirstWords);
  if (first > limit) return first;
  return first + Differing(a + kFirstWords, b + kFirstWords, kWords - kFirstWords);
}

void HammingRows(const uint64_t* queries, int n_queries, const uint64_t* rows, int n_rows,
                 uint32_t* out) {
  for (int r = 0; r < n_rows; ++r) {
    for (int q = 0; q < n_queries; ++q) *out++ = Hamming(queries + kWords * q, rows + kWords * r);
  }
}

#define CHIMERA_TEXT(x) #x
#define CHIMERA_NAME(x) CHIMERA_TEXT(x)

}  // namespace

extern const HyperKernels kHyper;
const HyperKernels kHyper = {CHIMERA_NAME(CHIMERA_ISA),
                             Bind,
                             Rotate,
                             FullAdd,
                             Exceeds,
                             Pick,
                             Hamming,
                             HammingWithin,
                             HammingRows};

}  // namespace CHIMERA_ISA
}  // namespace chimera
