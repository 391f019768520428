// A verify window of one stream (math-inference-training A.4, DESIGN D4): a tree of drafts, and
// what its nodes leave in every layer and iteration of a pass, from which a path of it is committed
// once somebody knows which.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/huge_pages.h"
#include "layers/token_tree.h"
#include "model/braid_state.h"
#include "model/model.h"

namespace chimera {

// Windows and the writes of test-time memory end at its multiples (DESIGN D20).
inline constexpr int kWindowTokens = 16;

// Thread-compatible; the model must outlive it. Holds no memory before its first tree.
class Window {
 public:
  explicit Window(const Model& model) : model_(model) {}

  // Bytes of the records of so many nodes and loops.
  static int64_t Bytes(const ModelConfig& config, int n_nodes, int loops);

  // A window behind the text of a state, whatever the last one was; loops as in Stepper::Step.
  // Every node stands before the next position divisible by kWindowTokens. The only call that
  // allocates, and only for more nodes or loops than ever before.
  void Begin(const BraidState& state, const TokenTree& tree, int loops = 0);
  // Drops the window.
  void Close() { tree_.reset(); }
  // After a pass over all of its nodes (Stepper::Row): commits the path to one of them, that is,
  // makes the state what plain decoding of the path would have left, and closes the window.
  void Commit(BraidState* state, int leaf);

  bool open() const { return tree_.has_value(); }
  const TokenTree& tree() const { return *tree_; }
  int loops() const { return loops_; }
  int64_t position(int node) const { return position_ + tree_->depth(node); }
  // Room for what the nodes leave in a layer (TreeRecordFloats).
  float* Record(int layer, int iteration);

 private:
  const Model& model_;
  std::optional<TokenTree> tree_;
  int64_t position_ = 0;  // of the state
  int loops_ = 0;
  std::vector<int64_t> begins_;  // of the records in floats_, by iteration and layer
  BufferVector<float> floats_;
};

}  // namespace chimera
