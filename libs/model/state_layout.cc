#include "model/state_layout.h"

#include "layers/head.h"
#include "layers/short_conv.h"

namespace chimera {

size_t LayerStateFloats(const ModelConfig& config, LayerKind kind) {
  const auto heads = static_cast<size_t>(config.n_heads);
  if (kind == LayerKind::kMlstm) return heads * (kHeadState + kHeadDim + 1);
  return size_t{kConvState} * 3 * heads * kHeadDim + heads * kHeadState;
}

StateLayout::StateLayout(const ModelConfig& config) {
  for (int i = 0; i < config.n_layers; ++i) {
    sizes_.push_back(LayerStateFloats(config, config.layers[static_cast<size_t>(i)]));
    looped_.push_back(config.loop.Contains(i));
    if (!looped_.back()) once_ += sizes_.back();
  }
  size_t outside = 0;
  size_t inside = once_;
  for (size_t i = 0; i < sizes_.size(); ++i) {
    size_t& at = looped_[i] ? inside : outside;
    offsets_.push_back(at);
    at += sizes_[i];
  }
  per_loop_ = inside - once_;
}

}  // namespace chimera
