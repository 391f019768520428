// fp16 <-> float in sixteen lanes, for weight scales. Integer arithmetic, so every instruction set
// agrees. Internal linkage: kernel bodies include it. Free of Abseil.
#pragma once

#include <cstdint>
#include <cstring>

#include "tensor/vec.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace chimera {

typedef uint16_t HalfLanes __attribute__((vector_size(32)));

// Finite halves, exactly.
CHIMERA_VEC F16 LoadHalf(const uint16_t* p) {
#if defined(__AVX512F__)
  return (F16)_mm512_maskz_cvtph_ps(0xffff,
                                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#else
  HalfLanes halves;
  std::memcpy(&halves, p, sizeof(halves));
  const I16 bits = __builtin_convertvector(halves, I16);
  // The exponent bias differs by 112; the product is exact, also for subnormal halves.
  const F16 magnitude = (F16)((bits & 0x7fff) << 13) * 0x1p112f;
  return (F16)((I16)magnitude | ((bits & 0x8000) << 16));
#endif
}

// Nearest even; 0 <= x <= 65504.
CHIMERA_VEC void StoreHalf(uint16_t* p, F16 x) {
  const I16 bits = (I16)x;
  const I16 normal = ((bits + 0xfff + ((bits >> 13) & 1)) >> 13) - (112 << 10);
  // One unit of a subnormal half is 2^-24, which is also one unit of a float near 0.5.
  const I16 subnormal = (I16)(x + 0.5f) - 0x3f000000;
  const I16 half = (x < 0x1p-14f) ? subnormal : normal;
  const HalfLanes halves = __builtin_convertvector(half, HalfLanes);
  std::memcpy(p, &halves, sizeof(halves));
}

}  // namespace chimera
