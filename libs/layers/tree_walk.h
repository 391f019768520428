// Verifying a token tree with recurrent layers (math-inference-training A.4.1 to A.4.3): every node
// sees the state plain decoding would have at the end of its path, bit for bit, because the walk
// runs the step kernels, or their halves, in depth-first order. The committed state is only read; a
// window that is never committed leaves nothing behind. There is no buffer per depth: the walk
// holds one state, and rebuilds a node's state from the committed one when it turns back to it,
// from the factors each node left (TokenTree counts the updates). Commit replays one path.
//
// A window of one layer, n nodes, as libs/model runs it:
//   projections of all nodes          -> qkv rows [n][...]; keep the convolution's inputs
//   ShortConv().tree, norms, gates    -> q, k, v, gates, the same kernels as a step
//   GatedDeltaTreeWalk::Run           -> outputs [n][...], factors
//   later, when the leaf is known: GatedDeltaTreeWalk::Commit, CommitShortConv
// The walks borrow the tree and the factors and hold no memory of their own. Heads are independent:
// several threads may run ranges of heads of one walk, each with its own scratch. Thread-compatible
// otherwise.
#pragma once

#include <cstdint>

#include "layers/gated_delta.h"
#include "layers/mlstm.h"
#include "layers/token_tree.h"

namespace chimera {

// Activations of the nodes of a window: head h of node i at i * stride + 64 h, its gates at
// i * gate_stride + h.
struct GatedDeltaNodes {
  const float* q;  // q and k as the step wants them
  const float* k;
  const float* v;
  int64_t stride;
  const float* g;
  const float* beta;
  int64_t gate_stride;
};

class GatedDeltaTreeWalk {
 public:
  static constexpr int kScratchFloats = kHeadState;
  // Per head and node: k [64], u [64], g.
  static constexpr int kFactorFloats = 2 * kHeadDim + 1;
  static int64_t FactorFloats(int n_nodes, int n_heads) {
    return int64_t{n_nodes} * n_heads * kFactorFloats;
  }

  // factors [FactorFloats] of this layer; Run fills it, Commit reads it.
  GatedDeltaTreeWalk(const GatedDeltaKernels& kernels, const TokenTree& tree, float* factors)
      : kernels_(kernels), tree_(tree), factors_(factors) {}

  // Heads [head_begin, head_end). states: head h at h * 4096, unchanged. Writes o, node i at
  // i * o_stride + 64 h; o may be q, k or v of the nodes. scratch [kScratchFloats].
  void Run(const GatedDeltaNodes& nodes, int head_begin, int head_end, const float* states,
           float* o, int64_t o_stride, float* scratch) const;

  // Turns the committed states Run saw into those after the path of `leaf` (any node may be it).
  void Commit(int leaf, int head_begin, int head_end, float* states) const;

 private:
  float* Factor(int head, int node) const {
    return factors_ + (int64_t{head} * tree_.n_nodes() + node) * kFactorFloats;
  }
  void Write(int head, int node, float* state) const;

  const GatedDeltaKernels& kernels_;
  const TokenTree& tree_;
  float* factors_;
};

// As GatedDeltaNodes; i and f are capped gates.
struct MlstmNodes {
  const float* q;
  const float* k;
  const float* v;
  int64_t stride;
  const float* i;
  const float* f;
  int64_t gate_stride;
};

class MlstmTreeWalk {
 public:
  static constexpr int kScratchFloats = kMlstmSaved;
  // Per head and node: k [64], v [64], i, f.
  static constexpr int kFactorFloats = 2 * kHeadDim + 2;
  static int64_t FactorFloats(int n_nodes, int n_heads) {
    return int64_t{n_nodes} * n_heads * kFactorFloats;
  }

  MlstmTreeWalk(const MlstmKernels& kernels, const TokenTree& tree, float* factors)
      : kernels_(kernels), tree_(tree), factors_(factors) {}

  // As above. states: that of head 0, head h at c + 4096 h, n + 64 h, m + h; only read. h may be
  // q, k or v of the nodes. scratch [kScratchFloats].
  void Run(const MlstmNodes& nodes, int head_begin, int head_end, const MlstmState& states,
           float* h, int64_t h_stride, float* scratch) const;

  void Commit(int leaf, int head_begin, int head_end, const MlstmState& states) const;

 private:
  float* Factor(int head, int node) const {
    return factors_ + (int64_t{head} * tree_.n_nodes() + node) * kFactorFloats;
  }
  void Write(int head, int node, const MlstmState& state) const;

  const MlstmKernels& kernels_;
  const TokenTree& tree_;
  float* factors_;
};

// The inputs a convolution of width 4 has seen last once the path of `leaf` is committed: updates
// state, three rows of n channels at state_stride, oldest first, from the inputs x of the nodes,
// rows at x_stride.
void CommitShortConv(const TokenTree& tree, int leaf, const float* x, int64_t x_stride, int n,
                     float* state, int64_t state_stride);

}  // namespace chimera
