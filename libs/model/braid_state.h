// The recurrent state of one stream: fixed size from creation to end, nothing grows per token
// (DESIGN D8, FEATURES M9).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "config/model_config.h"

namespace chimera {

// Thread-compatible value; copying forks the stream.
class BraidState {
 public:
  explicit BraidState(const ModelConfig& config);

  void Reset();
  static int64_t Bytes(const ModelConfig& config);

  // State of one layer: for GD the convolution taps then H matrices 64 x 64 (row = key dim);
  // for XM H matrices 64 x 64, H vectors n of 64, H scalars m.
  std::span<float> layer(int index) {
    return std::span(floats_).subspan(
        offsets_[static_cast<size_t>(index)],
        offsets_[static_cast<size_t>(index) + 1] - offsets_[static_cast<size_t>(index)]);
  }
  std::span<const float> floats() const { return floats_; }

 private:
  std::vector<float> floats_;
  std::vector<size_t> offsets_;  // n_layers + 1
};

// Floats of one layer's state.
size_t LayerStateFloats(const ModelConfig& config, LayerKind kind);

}  // namespace chimera
