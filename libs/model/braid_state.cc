#include "model/braid_state.h"

#include <algorithm>

#include "layers/head.h"
#include "layers/short_conv.h"

namespace chimera {

size_t LayerStateFloats(const ModelConfig& config, LayerKind kind) {
  const auto heads = static_cast<size_t>(config.n_heads);
  if (kind == LayerKind::kGatedDelta) {
    return size_t{kConvState} * 3 * heads * kHeadDim + heads * kHeadState;
  }
  return heads * (kHeadState + kHeadDim + 1);
}

BraidState::BraidState(const ModelConfig& config) {
  offsets_.push_back(0);
  for (LayerKind kind : config.layers) {
    offsets_.push_back(offsets_.back() + LayerStateFloats(config, kind));
  }
  floats_.resize(offsets_.back());
}

void BraidState::Reset() { std::fill(floats_.begin(), floats_.end(), 0.0f); }

int64_t BraidState::Bytes(const ModelConfig& config) {
  size_t floats = 0;
  for (LayerKind kind : config.layers) floats += LayerStateFloats(config, kind);
  return static_cast<int64_t>(floats * sizeof(float));
}

}  // namespace chimera
