// What a pass keeps beside its rows: memories as windows left them. Internal to step.cc.
#pragma once

#include <cstdint>
#include <vector>

#include "base/huge_pages.h"
#include "model/layer_shapes.h"

namespace chimera {

// Windows of one pass that may end before the pass does, over all streams.
inline constexpr int kWindowsKept = 4;

// Later iterations of a TM layer read the memory of the first one as their window left it, which
// a pass that goes on beyond the window has to keep. Allocates in its constructor only.
class MemoryCopies {
 public:
  explicit MemoryCopies(const ModelConfig& c) : slots_(static_cast<size_t>(c.n_layers)) {
    int n = 0;
    for (int i = 0; i < c.n_layers; ++i) {
      if (Keeps(c, i)) slots_[static_cast<size_t>(i)] = ++n;
    }
    if (n > 0) floats_ = TitansMemoryFloats(TitansShapeOf(c));
    copies_.resize(static_cast<size_t>(Bytes(c)) / sizeof(float));
  }

  static int64_t Bytes(const ModelConfig& c) {
    int64_t floats = 0;
    for (int i = 0; i < c.n_layers; ++i) {
      if (Keeps(c, i)) floats += kWindowsKept * TitansMemoryFloats(TitansShapeOf(c));
    }
    return floats * int64_t{sizeof(float)};
  }

  bool needed() const { return floats_ > 0; }
  // Null when the layer keeps none.
  float* At(int layer, int window) {
    const int64_t slot = slots_[static_cast<size_t>(layer)];
    return slot == 0 ? nullptr : copies_.data() + ((slot - 1) * kWindowsKept + window) * floats_;
  }

 private:
  static bool Keeps(const ModelConfig& c, int layer) {
    return c.loop.enabled && c.loop.Contains(layer) &&
           c.layers[static_cast<size_t>(layer)] == LayerKind::kTitans;
  }

  int64_t floats_ = 0;
  std::vector<int64_t> slots_;  // of the layers: 0 is none
  BufferVector<float> copies_;
};

}  // namespace chimera
