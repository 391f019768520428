// What a pass keeps beside its rows: memories as windows left them, and what a tree leaves for its
// commit. Internal to step.cc. Allocated in the constructors only.
#pragma once

#include <cstdint>
#include <vector>

#include "model/layer_shapes.h"
#include "model/layer_step.h"

namespace chimera {

inline constexpr int kWindow = 16;  // verify windows and memory writes end at its multiples
// Windows of one pass that may end before the pass does, over all streams.
inline constexpr int kWindowsKept = 4;

// Later iterations of a TM layer read the memory of the first one as their window left it, which
// a pass that goes on beyond the window has to keep.
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
  std::vector<float> copies_;
};

// What a window leaves in every layer and iteration until a path is committed.
struct TreeRecords {
  TreeRecords(const ModelConfig& c, int loops) : config(c) {
    ForLayers(c, loops, [&](int64_t n) { floats.emplace_back(static_cast<size_t>(n)); });
  }
  static int64_t Bytes(const ModelConfig& c, int loops) {
    int64_t all = 0;
    ForLayers(c, loops, [&](int64_t n) { all += n; });
    return all * int64_t{sizeof(float)};
  }
  float* At(int layer, int iteration) {
    const int looped = config.loop.last_layer - config.loop.first_layer + 1;
    const int index = iteration == 0 ? layer
                                     : config.n_layers + (iteration - 1) * looped +
                                           (layer - config.loop.first_layer);
    return floats[static_cast<size_t>(index)].data();
  }

  // each(floats of a record) for the layers of every iteration, in order.
  template <typename Each>
  static void ForLayers(const ModelConfig& c, int loops, const Each& each) {
    for (int iteration = 0; iteration < loops; ++iteration) {
      for (int i = 0; i < c.n_layers; ++i) {
        if (iteration > 0 && !c.loop.Contains(i)) continue;
        each(TreeRecordFloats(c, c.layers[static_cast<size_t>(i)], kTreeNodesMax));
      }
    }
  }

  const ModelConfig& config;
  std::vector<std::vector<float>> floats;
};

}  // namespace chimera
