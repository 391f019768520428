#include "model/window.h"

#include "base/check.h"
#include "model/layer_step.h"

namespace chimera {
namespace {

// each(layer, iteration) where a pass of so many loops runs one, in order.
template <typename Each>
void ForLayers(const ModelConfig& c, int loops, const Each& each) {
  for (int iteration = 0; iteration < loops; ++iteration) {
    for (int i = 0; i < c.n_layers; ++i) {
      if (iteration == 0 || c.loop.Contains(i)) each(i, iteration);
    }
  }
}

int64_t RecordFloats(const ModelConfig& c, int layer, int n_nodes) {
  return TreeRecordFloats(c, c.layers[static_cast<size_t>(layer)], n_nodes);
}

}  // namespace

int64_t Window::Bytes(const ModelConfig& c, int n_nodes, int loops) {
  int64_t floats = 0;
  ForLayers(c, loops, [&](int i, int) { floats += RecordFloats(c, i, n_nodes); });
  return floats * int64_t{sizeof(float)};
}

void Window::Begin(const BraidState& state, const TokenTree& tree, int loops) {
  const ModelConfig& c = model_.shape();
  loops_ = loops == 0 ? state.loops() : loops;
  CHIMERA_CHECK(loops_ >= 1 && loops_ <= state.loops());
  tree_ = tree;
  position_ = state.position();
  for (int i = 0; i < tree.n_nodes(); ++i) {
    CHIMERA_CHECK(position_ % kWindowTokens + tree.depth(i) < kWindowTokens);
  }
  int64_t floats = 0;
  begins_.assign(static_cast<size_t>(loops_ * c.n_layers), 0);
  ForLayers(c, loops_, [&](int i, int iteration) {
    begins_[static_cast<size_t>(iteration * c.n_layers + i)] = floats;
    floats += RecordFloats(c, i, tree.n_nodes());
  });
  if (static_cast<size_t>(floats) <= floats_.size()) return;
  BufferVector<float>().swap(floats_);  // the old ones go first
  floats_.resize(static_cast<size_t>(floats));
}

float* Window::Record(int layer, int iteration) {
  return floats_.data() + begins_[static_cast<size_t>(iteration * model_.shape().n_layers + layer)];
}

void Window::Commit(BraidState* state, int leaf) {
  CHIMERA_CHECK(open() && leaf >= 0 && leaf < tree_->n_nodes() && state->position() == position_);
  const ModelConfig& c = model_.shape();
  ForLayers(c, loops_, [&](int i, int iteration) {
    const LayerState at = LayerStateOf(state, i, iteration, nullptr);
    CommitTree(c, model_.weights().layers()[static_cast<size_t>(i)], *tree_, leaf, at, position_,
               Record(i, iteration));
  });
  state->set_position(position(leaf) + 1);
  Close();
}

}  // namespace chimera
