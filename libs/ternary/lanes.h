// Small pieces that the product kernels share. Everything has internal linkage on purpose, as in
// tensor/vec.h. Free of Abseil.
#pragma once

#include <cstdint>
#include <cstring>

#include "tensor/vec.h"

namespace chimera {

CHIMERA_VEC int Smaller(int a, int b) { return a < b ? a : b; }

// Four int8 values of one token, as one lane of a byte dot product reads them.
CHIMERA_VEC int32_t LoadWord(const void* p) {
  int32_t word;
  std::memcpy(&word, p, 4);
  return word;
}

}  // namespace chimera
