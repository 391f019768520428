// Loops that do nothing but load, and nothing but multiply and add. Compiled once per instruction
// set.
#include <cstring>

#include "tensor/vec.h"
#include "ternary/lanes.h"
#include "ternary/machine_peak_kernels.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

typedef uint64_t U8 __attribute__((vector_size(64)));
constexpr int kStreams =
    8;  // independent chains, enough to hide the latency of a load or a product

uint64_t Read(const uint8_t* data, size_t bytes) {
  U8 acc[kStreams] = {};
  for (size_t at = 0; at < bytes; at += kStreams * sizeof(U8)) {
#pragma GCC unroll 8
    for (int i = 0; i < kStreams; ++i) {
      U8 v;
      std::memcpy(&v, data + at + static_cast<size_t>(i) * sizeof(U8), sizeof(v));
      acc[i] ^= v;
    }
  }
  uint64_t sum = 0;
  for (const U8& a : acc) {
    for (int lane = 0; lane < 8; ++lane) sum ^= a[lane];
  }
  return sum;
}

#if defined(CHIMERA_DOT_ZMM)

int64_t Dot(int64_t rounds, int64_t* macs) {
  constexpr int kChains = 12;
  __m512i acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = _mm512_set1_epi32(i);
  __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-5);
  for (int64_t r = 0; r < rounds; ++r) {
    __asm__ volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = _mm512_dpbusd_epi32(acc[i], a, b);
  }
  *macs = rounds * kChains * 64;
  int64_t sum = 0;
  for (const __m512i& x : acc) {
    for (int lane = 0; lane < 16; ++lane) sum += ((I16)x)[lane];
  }
  return sum;
}

#elif defined(CHIMERA_DOT_YMM)

int64_t Dot(int64_t rounds, int64_t* macs) {
  constexpr int kChains = 12;
  __m256i acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = _mm256_set1_epi32(i);
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-5);
  for (int64_t r = 0; r < rounds; ++r) {
    __asm__ volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = _mm256_dpbusd_epi32(acc[i], a, b);
  }
  *macs = rounds * kChains * 32;
  int64_t sum = 0;
  for (const __m256i& x : acc) {
    int32_t lanes[8];
    std::memcpy(lanes, &x, sizeof(x));
    for (int32_t lane : lanes) sum += lane;
  }
  return sum;
}

#elif defined(CHIMERA_DOT_NEON)

int64_t Dot(int64_t rounds, int64_t* macs) {
  constexpr int kChains = 16;
  int32x4_t acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = vdupq_n_s32(i);
  int8x16_t a = vdupq_n_s8(3), b = vdupq_n_s8(-5);
  for (int64_t r = 0; r < rounds; ++r) {
    __asm__ volatile("" : "+w"(a), "+w"(b));
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) acc[i] = vdotq_s32(acc[i], a, b);
  }
  *macs = rounds * kChains * 16;
  int64_t sum = 0;
  for (const int32x4_t& x : acc) sum += vaddlvq_s32(x);
  return sum;
}

#elif defined(CHIMERA_PAIRS_YMM)

// Pairs of products; sixteen of them fit int16 before they are widened, as the kernels do it.
int64_t Dot(int64_t rounds, int64_t* macs) {
  constexpr int kChains = 8;
  __m256i acc[kChains];
  for (int i = 0; i < kChains; ++i) acc[i] = _mm256_set1_epi16(static_cast<int16_t>(i));
  __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-5);
  for (int64_t r = 0; r < rounds; ++r) {
    __asm__ volatile("" : "+x"(a), "+x"(b));
#pragma GCC unroll 8
    for (int i = 0; i < kChains; ++i) {
      acc[i] = _mm256_add_epi16(acc[i], _mm256_maddubs_epi16(a, b));
    }
  }
  *macs = rounds * kChains * 32;
  int64_t sum = 0;
  for (const __m256i& x : acc) {
    int16_t lanes[16];
    std::memcpy(lanes, &x, sizeof(x));
    for (int16_t lane : lanes) sum += lane;
  }
  return sum;
}

#else

int64_t Dot(int64_t rounds, int64_t* macs) {
  typedef uint16_t Shorts8 __attribute__((vector_size(16)));
  constexpr int kChains = 8;
  Shorts8 acc[kChains] = {};
  Shorts8 a = Shorts8{} + 3, b = Shorts8{} - 5;
  for (int64_t r = 0; r < rounds; ++r) {
    __asm__ volatile("" : "+m"(a), "+m"(b));
    for (Shorts8& x : acc) x += a * b;
  }
  *macs = rounds * kChains * 8;
  int64_t sum = 0;
  for (const Shorts8& x : acc) {
    for (int lane = 0; lane < 8; ++lane) sum += x[lane];
  }
  return sum;
}

#endif

}  // namespace

extern const PeakKernels kPeakKernels;
const PeakKernels kPeakKernels = {Read, Dot};

}  // namespace CHIMERA_ISA
}  // namespace chimera
