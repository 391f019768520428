// Small pieces that the product kernels share, and which int8 products their bodies are compiled
// with. Everything has internal linkage on purpose, as in tensor/vec.h. Free of Abseil.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/cpu.h"
#include "tensor/vec.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// One of these, or none: plain C++. The level says it, not the compiler's flags: the EVEX form of
// the 256-bit products is compiled with flags of AVX-512.
#if defined(CHIMERA_ISA_avx512)
#define CHIMERA_DOT_ZMM  // vpdpbusd, 16 rows
#elif defined(CHIMERA_ISA_avxvnni) || defined(CHIMERA_ISA_avxvnni_evex)
#define CHIMERA_DOT_YMM  // vpdpbusd, 8 rows
#elif defined(CHIMERA_ISA_avx2)
#define CHIMERA_PAIRS_YMM  // vpmaddubsw, 8 rows
#elif defined(CHIMERA_ISA_neondot)
#define CHIMERA_DOT_NEON  // sdot, 4 rows
#endif

namespace chimera {

CHIMERA_VEC int Smaller(int a, int b) { return a < b ? a : b; }
CHIMERA_VEC int Larger(int a, int b) { return a > b ? a : b; }

// Four int8 values of one token, as one lane of a byte dot product reads them.
CHIMERA_VEC int32_t LoadWord(const void* p) {
  int32_t word;
  std::memcpy(&word, p, 4);
  return word;
}

#if defined(CHIMERA_DOT_ZMM)

// sums += products of code with the four bytes at `word`, which are a part of the instruction.
// Compilers take two for it, and instructions are what a product of one token runs out of.
CHIMERA_VEC __m512i AddProducts(__m512i sums, __m512i code, const int8_t* word) {
  struct Word {
    int8_t bytes[4];
  };
  __asm__("vpdpbusd %2%{1to16%}, %1, %0"
          : "+v"(sums)
          : "v"(code), "m"(*reinterpret_cast<const Word*>(word)));
  return sums;
}

#endif

#if defined(__AVX512VBMI__)

// What a table holds at the lower six bits of every byte.
CHIMERA_VEC __m512i PickBytes(__m512i bytes, __m512i table) {
  return _mm512_maskz_permutexvar_epi8(~__mmask64{0}, bytes, table);
}

#endif

// Stops the compiler from folding a pointer into many addresses that do not fit the registers.
template <typename Value>
CHIMERA_VEC void KeepInRegister(const Value** p) {
  __asm__("" : "+r"(*p));
}

// Stops it from keeping vectors in registers that others need more.
CHIMERA_VEC void KeepInMemory(const F16* p) { __asm__ volatile("" : : "r"(p) : "memory"); }

// A pass over weights asks for the line it reads in 64 lines: the processor's own prefetching ends
// at every small page. An address beyond the end is fine.
inline constexpr int kPageBytes = 4096;
CHIMERA_VEC void Prefetch(const uint8_t* p) { __builtin_prefetch(p + kPageBytes); }

// The same for one stream of lines. Where the processor keeps ahead within pages it needs the first
// line of each only, and more are in its way.
struct LineHints {
  LineHints()
      : skipped(ReadsAheadInPages() ? kPageBytes - 64 : 0),
        bytes(ReadsAheadInPages() ? 2 * kPageBytes : kPageBytes) {}
  uintptr_t skipped;  // bits of an address that are zero where a line is asked for
  int64_t bytes;
};
CHIMERA_VEC void Prefetch(const uint8_t* p, const LineHints& hints) {
  if ((reinterpret_cast<uintptr_t>(p) & hints.skipped) == 0) __builtin_prefetch(p + hints.bytes);
}

// The same for the lines of kBytes bytes.
template <int kBytes>
CHIMERA_VEC void PrefetchLines(const uint8_t* p, const LineHints& hints) {
#pragma GCC unroll 16
  for (int line = 0; line < kBytes; line += 64) Prefetch(p + line, hints);
}

// The row tiles of one token: body<N>(tile, step) takes tile, tile + step .., N of them. Halves go
// side by side where kMost is 2: two streams of lines are read faster than one, but where the
// processor itself keeps ahead.
template <int kMost, typename Body>
CHIMERA_VEC void ForStreams(int begin, int end, const Body& body) {
  const int half = kMost == 1 || ReadsAheadInPages() ? 0 : (end - begin) / 2;
  for (int i = 0; i < half; ++i) body.template operator()<kMost>(begin + i, half);
  for (int tile = begin + 2 * half; tile < end; ++tile) body.template operator()<1>(tile, 1);
}

// 1.5 * 2^23: adding it to |x| < 2^22 rounds to the nearest even integer.
inline constexpr float kRoundMagic = 12582912.0f;

// LoadN and StoreN go through memcpy of a variable length; whole tiles must not.
CHIMERA_VEC F16 LoadRows(const float* p, int n) { return n == 16 ? Load(p) : LoadN(p, n); }
CHIMERA_VEC void StoreRows(float* p, F16 v, int n) {
  if (n == 16) {
    Store(p, v);
  } else {
    StoreN(p, v, n);
  }
}

}  // namespace chimera
