// The shape of a verify window (math-inference-training A.4): up to 64 nodes whose parents come
// before them. A node's path is the committed text, then its ancestors, then the node; parent -1
// stands for the committed text itself, so node 0 always has it and others may.
// Free of Abseil: what the outside sends is asked about with Problem first.
#pragma once

#include <cstdint>

#include "base/check.h"

namespace chimera {

inline constexpr int kTreeNodesMax = 64;

// Immutable value of about 900 bytes; no allocation.
class TokenTree {
 public:
  // Null when parents [n_nodes] make a window, else what is wrong with them.
  static const char* Problem(const int32_t* parents, int n_nodes);

  // Problem must be null.
  TokenTree(const int32_t* parents, int n_nodes);

  int n_nodes() const { return n_nodes_; }
  int parent(int node) const { return parents_[Checked(node)]; }
  const int8_t* parents() const { return parents_; }
  bool is_leaf(int node) const { return leaf_[Checked(node)]; }
  // Number of proper ancestors inside the window.
  int depth(int node) const { return depth_[Checked(node)]; }
  bool is_chain() const { return depth_[n_nodes_ - 1] == n_nodes_ - 1; }

  // Bit j is set when node j is the node or an ancestor of it. Ascending bits are shallow to deep.
  uint64_t path_mask(int node) const { return path_[Checked(node)]; }
  bool IsAncestorOrSelf(int ancestor, int node) const {
    return (path_mask(node) >> Checked(ancestor) & 1) != 0;
  }
  // Writes the path, shallow to deep, into path [kTreeNodesMax]; returns its length, depth + 1.
  int Path(int node, int8_t* path) const;

  // All nodes, depth first: a parent before its children, the children without children of their
  // own before the others (they only read the state of the parent), else in index order.
  const int8_t* order() const { return order_; }

  // What a walk in this order pays (tree_walk.h): state updates and copies of the committed state.
  // A chain needs n_nodes - 1 updates and one copy; every further child with children adds the
  // updates that rebuild its parent's state.
  int walk_writes() const { return walk_writes_; }
  int walk_copies() const { return walk_copies_; }

 private:
  int Checked(int node) const {
    CHIMERA_DCHECK(node >= 0 && node < n_nodes_);
    return node;
  }
  void Order();
  void CountWalk();

  int n_nodes_;
  int walk_writes_ = 0;
  int walk_copies_ = 0;
  uint64_t path_[kTreeNodesMax];
  int8_t parents_[kTreeNodesMax];
  int8_t depth_[kTreeNodesMax];
  int8_t order_[kTreeNodesMax];
  bool leaf_[kTreeNodesMax];
};

}  // namespace chimera
