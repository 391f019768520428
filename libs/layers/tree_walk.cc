#include "layers/tree_walk.h"

#include <cstring>

#include "layers/short_conv.h"

namespace chimera {
namespace {

constexpr size_t kHeadBytes = kHeadDim * sizeof(float);

// Calls visit(node, at_root) in depth-first order; at_root tells that the node reads the committed
// state, else the scratch holds its parent's. reload() copies the committed state to the scratch,
// write(node) applies a node to it. Nodes without children are never applied.
template <typename Visit, typename Reload, typename Write>
void Walk(const TokenTree& tree, const Visit& visit, const Reload& reload, const Write& write) {
  int tip = -1;  // the node whose state the scratch holds
  for (int i = 0; i < tree.n_nodes(); ++i) {
    const int node = tree.order()[i];
    const int parent = tree.parent(node);
    if (parent >= 0 && parent != tip) {
      if (tip >= 0 && tree.parent(parent) == tip) {
        write(parent);
      } else {
        int8_t path[kTreeNodesMax];
        const int length = tree.Path(parent, path);
        reload();
        for (int j = 0; j < length; ++j) write(path[j]);
      }
      tip = parent;
    }
    visit(node, parent < 0);
  }
}

MlstmState HeadOf(const MlstmState& states, int head) {
  return {states.c + int64_t{head} * kHeadState, states.n + int64_t{head} * kHeadDim,
          states.m + head};
}

}  // namespace

void GatedDeltaTreeWalk::Write(int head, int node, float* state) const {
  const float* factor = Factor(head, node);
  kernels_.write(state, factor, factor + kHeadDim, factor[2 * kHeadDim]);
}

void GatedDeltaTreeWalk::Run(const GatedDeltaNodes& nodes, int head_begin, int head_end,
                             const float* states, float* o, int64_t o_stride,
                             float* scratch) const {
  for (int head = head_begin; head < head_end; ++head) {
    const float* state = states + int64_t{head} * kHeadState;
    Walk(
        tree_,
        [&](int node, bool at_root) {
          const int64_t at = node * nodes.stride + head * kHeadDim;
          const int64_t gate = node * nodes.gate_stride + head;
          float* factor = Factor(head, node);
          std::memcpy(factor, nodes.k + at, kHeadBytes);
          factor[2 * kHeadDim] = nodes.g[gate];
          kernels_.read(at_root ? state : scratch, nodes.q + at, nodes.k + at, nodes.v + at,
                        nodes.g[gate], nodes.beta[gate], o + node * o_stride + head * kHeadDim,
                        factor + kHeadDim);
        },
        [&] { std::memcpy(scratch, state, kHeadState * sizeof(float)); },
        [&](int node) { Write(head, node, scratch); });
  }
}

void GatedDeltaTreeWalk::Commit(int leaf, int head_begin, int head_end, float* states) const {
  int8_t path[kTreeNodesMax];
  const int length = tree_.Path(leaf, path);
  for (int head = head_begin; head < head_end; ++head) {
    float* state = states + int64_t{head} * kHeadState;
    for (int j = 0; j < length; ++j) Write(head, path[j], state);
  }
}

void MlstmTreeWalk::Write(int head, int node, const MlstmState& state) const {
  const float* factor = Factor(head, node);
  kernels_.write(state.c, state.n, state.m, factor, factor + kHeadDim, factor[2 * kHeadDim],
                 factor[2 * kHeadDim + 1]);
}

void MlstmTreeWalk::Run(const MlstmNodes& nodes, int head_begin, int head_end,
                        const MlstmState& states, float* h, int64_t h_stride,
                        float* scratch) const {
  const MlstmState held = {scratch, scratch + kHeadState, scratch + kHeadState + kHeadDim};
  for (int head = head_begin; head < head_end; ++head) {
    const MlstmState committed = HeadOf(states, head);
    Walk(
        tree_,
        [&](int node, bool at_root) {
          const int64_t at = node * nodes.stride + head * kHeadDim;
          const float i = nodes.i[node * nodes.gate_stride + head];
          const float f = nodes.f[node * nodes.gate_stride + head];
          float* factor = Factor(head, node);
          std::memcpy(factor, nodes.k + at, kHeadBytes);
          std::memcpy(factor + kHeadDim, nodes.v + at, kHeadBytes);
          factor[2 * kHeadDim] = i;
          factor[2 * kHeadDim + 1] = f;
          const MlstmState& from = at_root ? committed : held;
          kernels_.read(from.c, from.n, *from.m, nodes.q + at, nodes.k + at, nodes.v + at, i, f,
                        h + node * h_stride + head * kHeadDim);
        },
        [&] {
          std::memcpy(held.c, committed.c, kHeadState * sizeof(float));
          std::memcpy(held.n, committed.n, kHeadBytes);
          *held.m = *committed.m;
        },
        [&](int node) { Write(head, node, held); });
  }
}

void MlstmTreeWalk::Commit(int leaf, int head_begin, int head_end, const MlstmState& states) const {
  int8_t path[kTreeNodesMax];
  const int length = tree_.Path(leaf, path);
  for (int head = head_begin; head < head_end; ++head) {
    for (int j = 0; j < length; ++j) Write(head, path[j], HeadOf(states, head));
  }
}

void CommitShortConv(const TokenTree& tree, int leaf, const float* x, int64_t x_stride, int n,
                     float* state, int64_t state_stride) {
  int8_t path[kTreeNodesMax];
  const int length = tree.Path(leaf, path);
  const size_t bytes = static_cast<size_t>(n) * sizeof(float);
  // Row r of the new state is input r - 3 counted from the end of the path. Ascending: a row is
  // read before it is written.
  for (int r = 0; r < kConvState; ++r) {
    const int from = length - kConvState + r;
    const float* row =
        from >= 0 ? x + path[from] * x_stride : state + (kConvState + from) * state_stride;
    std::memcpy(state + r * state_stride, row, bytes);
  }
}

}  // namespace chimera
