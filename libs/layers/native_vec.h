// The widest float vector of the instruction set a body is compiled for, for loops whose lanes are
// independent columns: there the width never changes a result. For kernel bodies only.
#pragma once

#include "tensor/vec.h"

namespace chimera {

#if defined(CHIMERA_ISA_avx512)
#define CHIMERA_WIDTH 16
#elif defined(CHIMERA_ISA_avx2)
#define CHIMERA_WIDTH 8
#else
#define CHIMERA_WIDTH 4
#endif

namespace {

typedef float FV __attribute__((vector_size(4 * CHIMERA_WIDTH)));
constexpr int kWidth = CHIMERA_WIDTH;
// Four vectors of columns at a time: enough independent sums, few enough registers everywhere.
constexpr int kColumnVectors = 4;
constexpr int kColumnBlock = kColumnVectors * kWidth;

CHIMERA_VEC FV LoadV(const float* p) {
  FV v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
CHIMERA_VEC void StoreV(float* p, FV v) { std::memcpy(p, &v, sizeof(v)); }
CHIMERA_VEC FV SplatV(float x) { return x - FV{}; }

// LoadN and StoreN go through memcpy of a variable length; whole vectors must not.
CHIMERA_VEC F16 LoadLanes(const float* p, int lanes) {
  return lanes == 16 ? Load(p) : LoadN(p, lanes);
}
CHIMERA_VEC void StoreLanes(float* p, F16 v, int lanes) {
  if (lanes == 16) {
    Store(p, v);
  } else {
    StoreN(p, v, lanes);
  }
}

}  // namespace
}  // namespace chimera
