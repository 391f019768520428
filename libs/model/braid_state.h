// The recurrent state of one stream: fixed size from creation to end, nothing grows per token
// (DESIGN D8, D14, FEATURES M9). The files that hold one: model/snapshot.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/huge_pages.h"
#include "config/model_config.h"
#include "model/state_layout.h"

namespace chimera {

// Thread-compatible value; copying forks the stream.
class BraidState {
 public:
  // loops: the most iterations a token of this stream may run, 1..loop.loops_max; 0: the default.
  explicit BraidState(const ModelConfig& config, int loops = 0);

  void Reset();
  // Bytes of such a state.
  static int64_t Bytes(const ModelConfig& config, int loops = 0);

  std::span<float> layer(int index, int iteration) {
    return floats().subspan(layout_->Offset(index, iteration), layout_->Floats(index));
  }
  // The memory of a TM layer, which all iterations share; empty for other kinds.
  std::span<float> memory(int index) {
    return floats().subspan(layout_->MemoryOffset(index), layout_->MemoryFloats(index));
  }
  std::span<const float> floats() const { return {lines_[0].v, lines_.size() * kStateAlign}; }
  std::span<float> floats() { return {lines_[0].v, lines_.size() * kStateAlign}; }
  int loops() const { return loops_; }
  // Tokens run since Reset; the Stepper counts them.
  int64_t position() const { return position_; }
  void set_position(int64_t position) { position_ = position; }

 private:
  std::shared_ptr<const StateLayout> layout_;
  int loops_;
  int64_t position_ = 0;
  // Slabs begin at cache lines: a step is up to 1.4 times as slow on matrices that do not.
  struct alignas(kStateAlign * sizeof(float)) Line {
    float v[kStateAlign];
  };
  BufferVector<Line> lines_;
};

}  // namespace chimera
