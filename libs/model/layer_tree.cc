// The token-tree forms of a layer's serving step: layer_step.h, MixTree and CommitTree.
#include <algorithm>

#include "base/check.h"
#include "base/parallel_range.h"
#include "layers/gated_delta.h"
#include "layers/mlstm.h"
#include "layers/short_conv.h"
#include "layers/tree_walk.h"
#include "model/layer_shapes.h"
#include "model/layer_step.h"
#include "model/state_layout.h"

namespace chimera {
namespace {

// Parts of a GD or SK record: convolution inputs, factors, then sketches.
int64_t ConvFloats(const ModelConfig& c, int n) { return int64_t{n} * 3 * c.n_heads * kHeadDim; }
int64_t DeltaFloats(const ModelConfig& c, int n) {
  return ConvFloats(c, n) + GatedDeltaTreeWalk::FactorFloats(n, c.n_heads);
}

MlstmState MlstmStateAt(float* state, int heads) {
  float* vectors = state + int64_t{heads} * kHeadState;
  return {state, vectors, vectors + int64_t{heads} * kHeadDim};
}

}  // namespace

int64_t TreeRecordFloats(const ModelConfig& c, LayerKind kind, int n_nodes) {
  switch (kind) {
    case LayerKind::kGatedDelta:
      return DeltaFloats(c, n_nodes);
    case LayerKind::kSpanKnot:
      return DeltaFloats(c, n_nodes) + n_nodes * SpanKnotStateFloats(c.sk.sketch_bits);
    case LayerKind::kMlstm:
      return MlstmTreeWalk::FactorFloats(n_nodes, c.n_heads);
    case LayerKind::kTitans:
      return n_nodes * TitansNodeFloats(TitansShapeOf(c));
  }
  return 0;
}

void LayerStep::MixTree(const LayerWeights& layer, const TokenTree& tree, const LayerState& at,
                        const int64_t* positions, float* record, float* x) {
  const int n = tree.n_nodes();
  linear_.Norm(x, layer.mixer_norm, n, c_.d_model);
  switch (layer.kind) {
    case LayerKind::kMlstm:
      MlstmTree(layer.xm, tree, at.state, record);
      break;
    case LayerKind::kTitans:
      TitansTree(layer.tm, tree, at, positions, record);
      break;
    case LayerKind::kSpanKnot:
      GatedDeltaTree(layer.gd, tree, at.state, record);
      SketchTree(layer.sk, tree, at, record);
      break;
    case LayerKind::kGatedDelta:
      GatedDeltaTree(layer.gd, tree, at.state, record);
      break;
  }
  FinishMixer(layer, n, x);
}

void LayerStep::GatedDeltaTree(const GatedDeltaWeights& w, const TokenTree& tree,
                               const float* state, float* record) {
  const int heads = c_.n_heads, width = heads * kHeadDim, n = tree.n_nodes(), wide = 4 * width;
  ProjectIn(w.w_in, w.w_gates, 2 * heads, n);
  float* inputs = record;
  float* projected = projected_.data();
  for (int i = 0; i < n; ++i) {
    std::copy_n(projected + int64_t{i} * wide, 3 * width, inputs + int64_t{i} * 3 * width);
  }
  ShortConv().tree(inputs, 3 * width, w.conv, state, 3 * width, tree.parents(), n, 3 * width,
                   projected, wide);
  for (int i = 0; i < n; ++i) {
    DeltaGates(w, heads, 0, heads, projected + int64_t{i} * wide, gates_.data() + i * 2 * heads);
  }
  const GatedDeltaNodes nodes{projected, projected + width, projected + 2 * width,
                              wide,      gates_.data(),     gates_.data() + heads,
                              2 * heads};
  GatedDeltaTreeWalk(GatedDelta(), tree, record + ConvFloats(c_, n))
      .Run(nodes, 0, heads, state + kConvState * 3 * width, mixed_.data(), width, walk_.data());
  for (int i = 0; i < n; ++i) {
    float* out = mixed_.data() + int64_t{i} * width;
    GatedDelta().head_norm(out, projected + int64_t{i} * wide + 3 * width, w.head_norm, heads, out,
                           nullptr);
  }
}

void LayerStep::SketchTree(const SpanKnotWeights& w, const TokenTree& tree, const LayerState& at,
                           float* record) {
  const int n = tree.n_nodes();
  const int64_t floats = SpanKnotStateFloats(c_.sk.sketch_bits);
  const float* committed = at.state + LayerStateFloats(c_, LayerKind::kGatedDelta);
  float* sketches = record + DeltaFloats(c_, n);
  for (int i = 0; i < n; ++i) {
    const float* parent = tree.parent(i) < 0 ? committed : sketches + tree.parent(i) * floats;
    knot_->Step(w, *at.fields, linear_.normed() + int64_t{i} * c_.d_model, parent,
                sketches + i * floats, &sketches_[0], branches_.data());
    AddBranch(branches_.data(), i);
  }
}

void LayerStep::MlstmTree(const MlstmWeights& w, const TokenTree& tree, const float* state,
                          float* record) {
  const int heads = c_.n_heads, width = heads * kHeadDim, n = tree.n_nodes(), wide = 4 * width;
  ProjectIn(w.w_in, w.w_gates, 2 * heads, n);
  Mlstm().gate_cap(gates_.data(), w.gate_bias, n, 2 * heads, gates_.data());
  const float* projected = projected_.data();
  const MlstmNodes nodes{projected, projected + width, projected + 2 * width,
                         wide,      gates_.data(),     gates_.data() + heads,
                         2 * heads};
  // The walk only reads the committed state.
  MlstmTreeWalk(Mlstm(), tree, record)
      .Run(nodes, 0, heads, MlstmStateAt(const_cast<float*>(state), heads), mixed_.data(), width,
           walk_.data());
  for (int i = 0; i < n; ++i) {
    float* out = mixed_.data() + int64_t{i} * width;
    Mlstm().head_norm(out, projected + int64_t{i} * wide + 3 * width, w.head_norm, 1, heads, out,
                      nullptr);
  }
}

void LayerStep::TitansTree(const TitansWeights& w, const TokenTree& tree, const LayerState& at,
                           const int64_t* positions, float* record) {
  const TitansShape& shape = w.layer.shape;
  const int64_t floats = TitansNodeFloats(shape), first = positions[0];
  ProjectIn(w.w_in, w.w_gates, 3 * shape.n_heads, tree.n_nodes());
  BeginTitans(w, at, first);
  const auto in = [&](int i) { return projected_.data() + int64_t{i} * shape.in_width(); };
  for (int i = 0; i < tree.n_nodes(); ++i) {
    TitansPrepare(w.layer, positions[i], in(i), gates_.data() + int64_t{i} * 3 * shape.n_heads,
                  record + i * floats);
  }
  const int64_t cost_ns = int64_t{tree.n_nodes()} * shape.n_heads * kTitansHeadNs;
  ParallelRange(exec_, shape.kv_heads, cost_ns, [&](int64_t begin, int64_t end) {
    for (int i = 0; i < tree.n_nodes(); ++i) {
      int8_t path[kTreeNodesMax];
      const float* ancestors[kTreeNodesMax];
      const int n_path = tree.Path(i, path) - 1;
      for (int j = 0; j < n_path; ++j) ancestors[j] = record + path[j] * floats;
      const TitansQuery query = {.position = positions[i],
                                 .in = in(i),
                                 .memory = at.memory,
                                 .ring = at.state,
                                 .path = ancestors,
                                 .n_path = n_path};
      TitansAttend(w.layer, query, static_cast<int>(begin), static_cast<int>(end - begin),
                   record + i * floats, mixed_.data() + int64_t{i} * shape.width());
    }
  });
}

void LayerStep::CommitTree(const LayerWeights& layer, const TokenTree& tree, int leaf,
                           const LayerState& at, const int64_t* positions, float* record) const {
  const int heads = c_.n_heads, width = heads * kHeadDim, n = tree.n_nodes();
  switch (layer.kind) {
    case LayerKind::kSpanKnot: {
      const int64_t floats = SpanKnotStateFloats(c_.sk.sketch_bits);
      std::copy_n(record + DeltaFloats(c_, n) + leaf * floats, floats,
                  at.state + LayerStateFloats(c_, LayerKind::kGatedDelta));
      [[fallthrough]];
    }
    case LayerKind::kGatedDelta:
      GatedDeltaTreeWalk(GatedDelta(), tree, record + ConvFloats(c_, n))
          .Commit(leaf, 0, heads, at.state + kConvState * 3 * width);
      CommitShortConv(tree, leaf, record, 3 * width, 3 * width, at.state, 3 * width);
      return;
    case LayerKind::kMlstm:
      MlstmTreeWalk(Mlstm(), tree, record).Commit(leaf, 0, heads, MlstmStateAt(at.state, heads));
      return;
    case LayerKind::kTitans: {
      int8_t path[kTreeNodesMax];
      const int n_path = tree.Path(leaf, path);
      for (int j = 0; j < n_path; ++j) {
        TitansCommit(layer.tm.layer, at.use, positions[path[j]],
                     record + path[j] * TitansNodeFloats(layer.tm.layer.shape), at.memory,
                     at.state);
      }
      return;
    }
  }
}

}  // namespace chimera
