// The token-tree forms of a layer's serving step: rows whose LayerRow has a tree, and CommitTree.
#include <algorithm>

#include "layers/gated_delta.h"
#include "layers/mlstm.h"
#include "layers/short_conv.h"
#include "layers/tree_walk.h"
#include "model/layer_shapes.h"
#include "model/layer_states.h"
#include "model/layer_step.h"

namespace chimera {
namespace {

// Parts of a GD or SK record: convolution inputs, factors, then sketches.
int64_t ConvFloats(const ModelConfig& c, int n) { return int64_t{n} * 3 * c.n_heads * kHeadDim; }
int64_t DeltaFloats(const ModelConfig& c, int n) {
  return ConvFloats(c, n) + GatedDeltaTreeWalk::FactorFloats(n, c.n_heads);
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

void LayerStep::TreeConv(const GatedDeltaWeights& w, const LayerRow& root, size_t i, int first,
                         int count) {
  const int n = root.tree->n_nodes();
  const auto width = static_cast<int64_t>(this->width());
  const int64_t channels = 3 * width, wide = 4 * width;
  for (int part = 0; part < 3; ++part) {
    const int64_t at = part * width + first * kHeadDim;
    float* const inputs = root.record + at;
    float* const x = QkvOf(i) + at;
    for (int node = 0; node < n; ++node) {
      std::copy_n(x + node * wide, count * kHeadDim, inputs + node * channels);
    }
    ShortConv().tree(inputs, channels, w.conv + kConvWidth * at, root.at.state + at, channels,
                     root.tree->parents(), n, count * kHeadDim, x, wide);
  }
}

void LayerStep::DeltaTree(const LayerRow& root, size_t i, int first, int count) {
  const int heads = c_.n_heads;
  const auto width = static_cast<int64_t>(this->width());
  const float* const q = QkvOf(i);
  const float* const gates = GatesOf(i);
  const GatedDeltaNodes nodes{q,     q + width,     q + 2 * width, 4 * width,
                              gates, gates + heads, 2 * heads};
  alignas(64) float walk[GatedDeltaTreeWalk::kScratchFloats];
  GatedDeltaTreeWalk(GatedDelta(), *root.tree, root.record + ConvFloats(c_, root.tree->n_nodes()))
      .Run(nodes, first, first + count, DeltaStates(c_, root.at.state), MixedOf(i), width, walk);
}

void LayerStep::MlstmTree(const LayerRow& root, size_t i, int first, int count) {
  const int heads = c_.n_heads;
  const auto width = static_cast<int64_t>(this->width());
  const float* const q = QkvOf(i);
  const float* const gates = GatesOf(i);
  const MlstmNodes nodes{q, q + width, q + 2 * width, 4 * width, gates, gates + heads, 2 * heads};
  alignas(64) float walk[MlstmTreeWalk::kScratchFloats];
  MlstmTreeWalk(Mlstm(), *root.tree, root.record)
      .Run(nodes, first, first + count, MlstmStateAt(c_, root.at.state), MixedOf(i), width, walk);
}

std::pair<const float*, float*> LayerStep::SketchesOf(const LayerRow& row) const {
  float* const committed = SketchAt(c_, row.at.state);
  if (row.tree == nullptr) return {committed, committed};
  const int64_t floats = SpanKnotStateFloats(c_.sk.sketch_bits);
  float* const sketches = row.record + DeltaFloats(c_, row.tree->n_nodes());
  const int parent = row.tree->parent(row.node);
  return {parent < 0 ? committed : sketches + parent * floats, sketches + row.node * floats};
}

void CommitTree(const ModelConfig& c, const LayerWeights& layer, const TokenTree& tree, int leaf,
                const LayerState& at, int64_t position, float* record) {
  const int heads = c.n_heads, n = tree.n_nodes();
  switch (layer.kind) {
    case LayerKind::kSpanKnot: {
      const int64_t floats = SpanKnotStateFloats(c.sk.sketch_bits);
      std::copy_n(record + DeltaFloats(c, n) + leaf * floats, floats, SketchAt(c, at.state));
      [[fallthrough]];
    }
    case LayerKind::kGatedDelta: {
      const int channels = 3 * heads * kHeadDim;
      GatedDeltaTreeWalk(GatedDelta(), tree, record + ConvFloats(c, n))
          .Commit(leaf, 0, heads, DeltaStates(c, at.state));
      CommitShortConv(tree, leaf, record, channels, channels, at.state, channels);
      return;
    }
    case LayerKind::kMlstm:
      MlstmTreeWalk(Mlstm(), tree, record).Commit(leaf, 0, heads, MlstmStateAt(c, at.state));
      return;
    case LayerKind::kTitans: {
      int8_t path[kTreeNodesMax];
      const int n_path = tree.Path(leaf, path);
      for (int j = 0; j < n_path; ++j) {
        TitansCommit(layer.tm.layer, at.use, position + j,
                     record + path[j] * TitansNodeFloats(layer.tm.layer.shape), at.memory,
                     at.state);
      }
      return;
    }
  }
}

}  // namespace chimera
