#include "model/state_layout.h"

#include "layers/short_conv.h"
#include "model/layer_shapes.h"

namespace chimera {

size_t LayerStateFloats(const ModelConfig& config, LayerKind kind) {
  const auto heads = static_cast<size_t>(config.n_heads);
  const size_t delta = size_t{kConvState} * 3 * heads * kHeadDim + heads * kHeadState;
  switch (kind) {
    case LayerKind::kGatedDelta:
      return delta;
    case LayerKind::kMlstm:
      return heads * (kHeadState + kHeadDim + 1);
    case LayerKind::kTitans:
      return static_cast<size_t>(TitansRingFloats(TitansShapeOf(config)));
    case LayerKind::kSpanKnot:
      return delta + static_cast<size_t>(SpanKnotStateFloats(config.sk.sketch_bits));
  }
  return 0;
}

size_t LayerMemoryFloats(const ModelConfig& config, LayerKind kind) {
  if (kind != LayerKind::kTitans) return 0;
  return static_cast<size_t>(TitansMemoryFloats(TitansShapeOf(config)));
}

namespace {

size_t Aligned(size_t floats) { return (floats + kStateAlign - 1) / kStateAlign * kStateAlign; }

}  // namespace

StateLayout::StateLayout(const ModelConfig& config) {
  size_t once = 0;
  for (int i = 0; i < config.n_layers; ++i) {
    const LayerKind kind = config.layers[static_cast<size_t>(i)];
    memory_offsets_.push_back(once);
    memory_sizes_.push_back(LayerMemoryFloats(config, kind));
    once += Aligned(memory_sizes_.back());
    sizes_.push_back(LayerStateFloats(config, kind));
    looped_.push_back(config.loop.Contains(i));
  }
  for (size_t i = 0; i < sizes_.size(); ++i) once_ += looped_[i] ? 0 : Aligned(sizes_[i]);
  once_ += once;
  size_t inside = once_;
  for (size_t i = 0; i < sizes_.size(); ++i) {
    size_t& at = looped_[i] ? inside : once;
    offsets_.push_back(at);
    at += Aligned(sizes_[i]);
  }
  per_loop_ = inside - once_;
}

}  // namespace chimera
