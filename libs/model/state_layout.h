// Where the recurrent state of each (layer, loop iteration) lies in a stream's block of floats
// (DESIGN D14): memories, prelude and coda, then the looped layers once per iteration. A stream
// with fewer loops has a prefix of the block of a stream with more.
#pragma once

#include <cstddef>
#include <vector>

#include "config/model_config.h"

namespace chimera {

// Floats of one layer's state in one iteration of the loop.
//   GD  the convolution inputs [3][3 * width], then n_heads matrices 64 x 64 (row = key dim)
//   XM  n_heads matrices 64 x 64, n_heads vectors n of 64, n_heads scalars m
//   TM  the ring (layers/titans.h); its memory lies apart, all iterations share it
//   SK  as GD, then the previous sketch (layers/span_knot.h)
size_t LayerStateFloats(const ModelConfig& config, LayerKind kind);
// Floats of a TM layer's memory, 0 for other kinds.
size_t LayerMemoryFloats(const ModelConfig& config, LayerKind kind);

// Every slab begins at a multiple of this many floats, a cache line.
inline constexpr size_t kStateAlign = 16;

// Immutable.
class StateLayout {
 public:
  explicit StateLayout(const ModelConfig& config);

  // First float of a layer in a loop iteration (0 for layers outside the loop).
  size_t Offset(int layer, int iteration) const {
    return offsets_[static_cast<size_t>(layer)] +
           (looped_[static_cast<size_t>(layer)] ? static_cast<size_t>(iteration) * per_loop_ : 0);
  }
  size_t Floats(int layer) const { return sizes_[static_cast<size_t>(layer)]; }
  // The memory of a TM layer.
  size_t MemoryOffset(int layer) const { return memory_offsets_[static_cast<size_t>(layer)]; }
  size_t MemoryFloats(int layer) const { return memory_sizes_[static_cast<size_t>(layer)]; }
  // Floats of a stream that may run up to `loops` iterations.
  size_t Total(int loops) const { return once_ + static_cast<size_t>(loops) * per_loop_; }
  // The part that belongs to one iteration of the loop: [first, first + size).
  size_t IterationBegin(int iteration) const {
    return once_ + static_cast<size_t>(iteration) * per_loop_;
  }
  size_t IterationFloats() const { return per_loop_; }

 private:
  std::vector<size_t> offsets_, sizes_, memory_offsets_, memory_sizes_;
  std::vector<bool> looped_;
  size_t once_ = 0;
  size_t per_loop_ = 0;
};

}  // namespace chimera
