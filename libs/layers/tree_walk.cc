#include "layers/tree_walk.h"

#include <cstring>

#include "layers/short_conv.h"

namespace chimera {
namespace {

constexpr size_t kHeadBytes = kHeadDim * sizeof(float);

// Visits the nodes depth first. Nodes without children call read(node, at_root): at_root tells that
// the node reads the committed state, else the scratch holds its parent's. Others call step(node),
// which turns the parent's state in the scratch into theirs. reload() copies the committed state to
// the scratch, write(node) applies a node that was stepped before.
template <typename Read, typename Step, typename Reload, typename Write>
void Walk(const TokenTree& tree, const Read& read, const Step& step, const Reload& reload,
          const Write& write) {
  constexpr int kNothing = -2;
  int tip = kNothing;  // the node whose state the scratch holds, -1 the committed one
  for (int i = 0; i < tree.n_nodes(); ++i) {
    const int node = tree.order()[i];
    const int parent = tree.parent(node);
    const bool leaf = tree.is_leaf(node);
    if (leaf && parent < 0) {
      read(node, true);
      continue;
    }
    if (parent != tip) {
      reload();
      int8_t path[kTreeNodesMax];
      const int length = parent < 0 ? 0 : tree.Path(parent, path);
      for (int j = 0; j < length; ++j) write(path[j]);
      tip = parent;
    }
    if (leaf) {
      read(node, false);
    } else {
      step(node);
      tip = node;
    }
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
    const auto read = [&](int node, bool at_root) {
      const int64_t at = node * nodes.stride + head * kHeadDim;
      const int64_t gate = node * nodes.gate_stride + head;
      float* factor = Factor(head, node);
      std::memcpy(factor, nodes.k + at, kHeadBytes);
      factor[2 * kHeadDim] = nodes.g[gate];
      kernels_.read(at_root ? state : scratch, nodes.q + at, nodes.k + at, nodes.v + at,
                    nodes.g[gate], nodes.beta[gate], o + node * o_stride + head * kHeadDim,
                    factor + kHeadDim);
    };
    const auto write = [&](int node) { Write(head, node, scratch); };
    const auto step = [&](int node) {  // in halves, for the step does not give u away
      read(node, false);
      write(node);
    };
    Walk(
        tree_, read, step, [&] { std::memcpy(scratch, state, kHeadState * sizeof(float)); }, write);
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
    const auto keep = [&](int node, int64_t at) {
      float* factor = Factor(head, node);
      std::memcpy(factor, nodes.k + at, kHeadBytes);
      std::memcpy(factor + kHeadDim, nodes.v + at, kHeadBytes);
      factor[2 * kHeadDim] = nodes.i[node * nodes.gate_stride + head];
      factor[2 * kHeadDim + 1] = nodes.f[node * nodes.gate_stride + head];
      return factor;
    };
    const auto read = [&](int node, bool at_root) {
      const int64_t at = node * nodes.stride + head * kHeadDim;
      const float* factor = keep(node, at);
      const MlstmState& from = at_root ? committed : held;
      kernels_.read(from.c, from.n, *from.m, nodes.q + at, nodes.k + at, nodes.v + at,
                    factor[2 * kHeadDim], factor[2 * kHeadDim + 1],
                    h + node * h_stride + head * kHeadDim);
    };
    const auto step = [&](int node) {
      const int64_t at = node * nodes.stride + head * kHeadDim;
      const float* factor = keep(node, at);
      kernels_.step(held.c, held.n, held.m, nodes.q + at, nodes.k + at, nodes.v + at,
                    factor[2 * kHeadDim], factor[2 * kHeadDim + 1],
                    h + node * h_stride + head * kHeadDim);
    };
    const auto reload = [&] {
      std::memcpy(held.c, committed.c, kHeadState * sizeof(float));
      std::memcpy(held.n, committed.n, kHeadBytes);
      *held.m = *committed.m;
    };
    Walk(tree_, read, step, reload, [&](int node) { Write(head, node, held); });
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
