#include "layers/state_storage.h"

#include <bit>
#include <cstring>

#include "layers/head.h"
#include "layers/short_conv.h"
#include "tensor/kernels.h"

namespace chimera {

static_assert(std::endian::native == std::endian::little);

StateShape GatedDeltaStateShape(int n_heads) {
  const int64_t taps = int64_t{kConvState} * 3 * n_heads * kHeadDim;
  return {taps + int64_t{n_heads} * kHeadState, 0};
}

StateShape MlstmStateShape(int n_heads) {
  return {int64_t{n_heads} * (kHeadState + kHeadDim), n_heads};
}

void PackState(const StateShape& shape, const float* slab, uint8_t* bytes) {
  uint16_t block[256];
  for (int64_t at = 0; at < shape.n_rounded; at += 256) {
    const int64_t n = shape.n_rounded - at < 256 ? shape.n_rounded - at : 256;
    Kernels().to_bf16(slab + at, n, block);
    std::memcpy(bytes + 2 * at, block, static_cast<size_t>(2 * n));
  }
  std::memcpy(bytes + 2 * shape.n_rounded, slab + shape.n_rounded,
              static_cast<size_t>(4 * shape.n_exact));
}

void UnpackState(const StateShape& shape, const uint8_t* bytes, float* slab) {
  uint16_t block[256];
  for (int64_t at = 0; at < shape.n_rounded; at += 256) {
    const int64_t n = shape.n_rounded - at < 256 ? shape.n_rounded - at : 256;
    std::memcpy(block, bytes + 2 * at, static_cast<size_t>(2 * n));
    Kernels().from_bf16(block, n, slab + at);
  }
  std::memcpy(slab + shape.n_rounded, bytes + 2 * shape.n_rounded,
              static_cast<size_t>(4 * shape.n_exact));
}

void RoundState(const StateShape& shape, float* slab) {
  Kernels().round_bf16(slab, shape.n_rounded, slab);
}

}  // namespace chimera
