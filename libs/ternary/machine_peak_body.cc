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

template <typename Lanes>
CHIMERA_VEC int64_t SumOf(const Lanes& lanes) {
  int64_t sum = 0;
  for (size_t i = 0; i < sizeof(lanes) / sizeof(lanes[0]); ++i) sum += lanes[i];
  return sum;
}

// The loops are written for the assembler, with every chain in a register: compilers take equal
// products together and put copies between them. With copies a processor that has two units for
// products shows less than half of its peak.
#if defined(CHIMERA_DOT_ZMM) || defined(CHIMERA_DOT_YMM) || defined(CHIMERA_PAIRS_YMM) || \
    defined(CHIMERA_DOT_NEON)

#if defined(CHIMERA_DOT_NEON)
typedef int32_t Sums __attribute__((vector_size(16)));
#define CHIMERA_PRODUCT(i) "sdot %[c" #i "].4s, %[a].16b, %[b].16b\n"
#elif defined(CHIMERA_DOT_ZMM)
typedef I16 Sums;
#define CHIMERA_PRODUCT(i) "vpdpbusd %[b], %[a], %[c" #i "]\n"
#elif defined(CHIMERA_ISA_avxvnni)
typedef int32_t Sums __attribute__((vector_size(32)));
#define CHIMERA_PRODUCT(i) "%{vex%} vpdpbusd %[b], %[a], %[c" #i "]\n"
#elif defined(CHIMERA_DOT_YMM)
typedef int32_t Sums __attribute__((vector_size(32)));
#define CHIMERA_PRODUCT(i) "vpdpbusd %[b], %[a], %[c" #i "]\n"
#else
// Pairs of products, which the kernels add up in 16 bits before they widen them.
typedef int16_t Sums __attribute__((vector_size(32)));
#define CHIMERA_PRODUCT(i)            \
  "vpmaddubsw %[b], %[a], %[pairs]\n" \
  "vpaddw %[pairs], %[c" #i "], %[c" #i "]\n"
#endif

#if defined(CHIMERA_DOT_NEON)
#define CHIMERA_VECTOR "w"
#define CHIMERA_AGAIN "subs %[left], %[left], #1\nb.ne 1b\n"
#else
#define CHIMERA_VECTOR "v"
#define CHIMERA_AGAIN "dec %[left]\njnz 1b\n"
#endif
#define CHIMERA_CHAIN(i) [c##i] "+" CHIMERA_VECTOR(c[i])

int64_t Dot(int64_t rounds, int64_t* macs) {
  constexpr int kChains = 12;
  Sums c[kChains] = {};
  typedef int8_t Bytes __attribute__((vector_size(sizeof(Sums))));
  const Bytes a = Bytes{} + 3, b = Bytes{} - 5;
  Sums pairs = {};
  if (rounds > 0) {
    int64_t left = rounds;
    __asm__ volatile(
        ".p2align 5\n"
        "1:\n" CHIMERA_PRODUCT(0) CHIMERA_PRODUCT(1) CHIMERA_PRODUCT(2) CHIMERA_PRODUCT(3)
            CHIMERA_PRODUCT(4) CHIMERA_PRODUCT(5) CHIMERA_PRODUCT(6) CHIMERA_PRODUCT(7)
                CHIMERA_PRODUCT(8) CHIMERA_PRODUCT(9) CHIMERA_PRODUCT(10) CHIMERA_PRODUCT(11)
                    CHIMERA_AGAIN
        : CHIMERA_CHAIN(0), CHIMERA_CHAIN(1), CHIMERA_CHAIN(2), CHIMERA_CHAIN(3), CHIMERA_CHAIN(4),
          CHIMERA_CHAIN(5), CHIMERA_CHAIN(6), CHIMERA_CHAIN(7), CHIMERA_CHAIN(8), CHIMERA_CHAIN(9),
          CHIMERA_CHAIN(10), CHIMERA_CHAIN(11), [left] "+r"(left), [pairs] "+" CHIMERA_VECTOR(pairs)
        : [a] CHIMERA_VECTOR(a), [b] CHIMERA_VECTOR(b)
        : "cc");
  }
  *macs = rounds * kChains * static_cast<int64_t>(sizeof(Bytes));
  int64_t sum = 0;
  for (const Sums& chain : c) sum += SumOf(chain);
  return sum;
}

#undef CHIMERA_PRODUCT
#undef CHIMERA_VECTOR
#undef CHIMERA_AGAIN
#undef CHIMERA_CHAIN

#else

// The factors of the chains are equal, but the compiler cannot know.
int64_t Dot(int64_t rounds, int64_t* macs) {
  typedef uint16_t Shorts8 __attribute__((vector_size(16)));
  constexpr int kChains = 8;
  Shorts8 c[kChains] = {}, b[kChains];
  Shorts8 a = Shorts8{} + 3;
  for (Shorts8& factor : b) factor = Shorts8{} - 5;
  __asm__ volatile("" : "+m"(b));
  for (int64_t r = 0; r < rounds; ++r) {
    __asm__ volatile("" : "+m"(a));
#pragma GCC unroll 8
    for (int i = 0; i < kChains; ++i) c[i] += a * b[i];
  }
  *macs = rounds * kChains * 8;
  int64_t sum = 0;
  for (const Shorts8& chain : c) sum += SumOf(chain);
  return sum;
}

#endif

}  // namespace

extern const PeakKernels kPeakKernels;
const PeakKernels kPeakKernels = {Read, Dot};

}  // namespace CHIMERA_ISA
}  // namespace chimera
