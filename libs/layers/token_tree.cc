#include "layers/token_tree.h"

namespace chimera {

const char* TokenTree::Problem(const int32_t* parents, int n_nodes) {
  if (n_nodes < 1) return "a window holds at least one node";
  if (n_nodes > kTreeNodesMax) return "a window holds at most 64 nodes";
  for (int i = 0; i < n_nodes; ++i) {
    if (parents[i] < -1) return "a parent is -1 or a node of the window";
    if (parents[i] >= i) return "a parent comes before its children";
  }
  return nullptr;
}

TokenTree::TokenTree(const int32_t* parents, int n_nodes) : n_nodes_(n_nodes) {
  CHIMERA_CHECK(Problem(parents, n_nodes) == nullptr);
  for (int i = 0; i < n_nodes; ++i) {
    const int p = parents[i];
    parents_[i] = static_cast<int8_t>(p);
    leaf_[i] = true;
    depth_[i] = 0;
    path_[i] = uint64_t{1} << i;
    if (p < 0) continue;
    leaf_[p] = false;
    depth_[i] = static_cast<int8_t>(depth_[p] + 1);
    path_[i] |= path_[p];
  }
  Order();
  CountWalk();
}

int TokenTree::Path(int node, int8_t* path) const {
  const int length = depth(node) + 1;
  for (int at = length - 1; at >= 0; --at) {
    path[at] = static_cast<int8_t>(node);
    node = parents_[node];
  }
  return length;
}

void TokenTree::Order() {
  // A stack of nodes whose children are due; -1 is the committed text. What is pushed last is
  // visited first: inner children in descending order. Leaves are visited at once.
  int8_t stack[kTreeNodesMax + 1] = {-1};
  int height = 1, visited = 0;
  while (height > 0) {
    const int at = stack[--height];
    if (at >= 0) order_[visited++] = static_cast<int8_t>(at);
    for (int i = at + 1; i < n_nodes_; ++i) {
      if (parents_[i] == at && leaf_[i]) order_[visited++] = static_cast<int8_t>(i);
    }
    for (int i = n_nodes_ - 1; i > at; --i) {
      if (parents_[i] == at && !leaf_[i]) stack[height++] = static_cast<int8_t>(i);
    }
  }
  CHIMERA_CHECK(visited == n_nodes_);
}

void TokenTree::CountWalk() {
  int tip = -2;  // the node whose state the walk holds; -1 the committed one, -2 none
  for (int i = 0; i < n_nodes_; ++i) {
    const int node = order_[i], p = parents_[node];
    if (p != tip && !(leaf_[node] && p < 0)) {
      ++walk_copies_;
      walk_writes_ += p < 0 ? 0 : depth_[p] + 1;
      tip = p;
    }
    if (leaf_[node]) continue;
    ++walk_writes_;
    tip = node;
  }
}

}  // namespace chimera
