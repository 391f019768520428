// One layer of the serving plane: x += Mixer(x), x += FFN(x) for a few tokens of one stream, with
// the step kernels and no tape. The training form is model/network_layer.h.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/huge_pages.h"
#include "layers/token_tree.h"
#include "model/linear_step.h"
#include "model/weights.h"

namespace chimera {

class BraidState;

// Sums over gates since they were last taken, for telemetry only.
struct GateSums {
  double alpha = 0;
  double beta = 0;
  int64_t count = 0;
};

// Norms of q and k and the gates of heads [first, first + count) of one token, in place: qkv
// [3 * width], gate holds a, then b of all heads, and receives g, then beta.
void DeltaGates(const GatedDeltaWeights& w, int heads, int first, int count, float* qkv,
                float* gate);

// What a layer keeps of a stream.
struct LayerState {
  float* state = nullptr;   // this layer's slab of this iteration
  float* memory = nullptr;  // TM: the memory all iterations share
  TitansUse use = TitansUse::kWrite;
  const SpanFields* fields = nullptr;  // SK: what pulls on its sketch
};

// A layer's part of a stream's state; later iterations only read its memory.
LayerState LayerStateOf(BraidState* state, int layer, int iteration, const SpanFields* fields);

// A row of a pass, and the stream it belongs to.
struct LayerRow {
  LayerState at;
  int64_t position = 0;  // tokens of the stream before it
  // TM: receives the memory as this token leaves it, when the pass goes on beyond its window of 16
  // and later iterations will read it; else null.
  float* memory_copy = nullptr;
  // TM: the square of this token's surprise (TitansSurprise::last) is added to it; null where
  // nobody asks and in later iterations, which count nothing.
  float* surprise = nullptr;
  // Null of a token that the stream moves on by. A node of a token tree: the tree, which of its
  // nodes, and what all of them leave here until a path is committed, [TreeRecordFloats]. Nodes
  // read the committed state and leave it as it is, except that a TM layer applies what is due at
  // this position anyway; each gets the bits that plain decoding of its path would give.
  const TokenTree* tree = nullptr;
  int node = 0;
  float* record = nullptr;
};

// Floats that a token tree leaves in one layer and iteration: raw convolution inputs and factors of
// GD, factors of XM, nodes of TM, sketches of SK.
int64_t TreeRecordFloats(const ModelConfig& config, LayerKind kind, int n_nodes);

// Commits the path of a node of a tree that began at `position`: at is what the stream's own tokens
// would have left.
void CommitTree(const ModelConfig& config, const LayerWeights& layer, const TokenTree& tree,
                int leaf, const LayerState& at, int64_t position, float* record);

// Scratch of a pass: nothing allocates after the constructor. Thread-compatible.
class LayerStep {
 public:
  // knot: of SK layers, null without.
  LayerStep(const ModelConfig& config, const SpanKnot* knot, int max_tokens, ExecContext* exec);
  // Bytes of the buffers that grow with max_tokens.
  static int64_t Bytes(const ModelConfig& config, int max_tokens);

  // The first half of a layer, the mixer: x [rows][d_model] is updated. Rows may be of several
  // streams; those of one are in order, and tokens or all nodes of one tree.
  void Mix(const LayerWeights& layer, std::span<const LayerRow> rows, float* x);
  // The second half: x += FFN(x) for n rows.
  void Feed(const LayerWeights& layer, int n, float* x);

  LinearStep& linear() { return linear_; }
  GateSums& gate_sums() { return gate_sums_; }

 private:
  // A guess that only decides whether other threads are woken: what a head of a Titans layer reads
  // from memory and ring.
  static constexpr int64_t kTitansHeadNs = 4'000;

  // From the normalised rows that linear_ holds to what mixed_ holds, before the output projection.
  void GatedDeltaMixer(const GatedDeltaWeights& w, std::span<const LayerRow> rows);
  void DeltaHeads(const GatedDeltaWeights& w, std::span<const LayerRow> rows, int first, int count);
  void MlstmMixer(const MlstmWeights& w, std::span<const LayerRow> rows);
  void MlstmHeads(const MlstmWeights& w, std::span<const LayerRow> rows, int first, int count);
  void TitansMixer(const TitansWeights& w, std::span<const LayerRow> rows);
  void TitansWindows(const TitansWeights& w, std::span<const LayerRow> rows, int first_row);
  void SketchBranch(const SpanKnotWeights& w, std::span<const LayerRow> rows);
  // The same for all nodes of one tree, whose root is row i of the pass.
  void TreeConv(const GatedDeltaWeights& w, const LayerRow& root, size_t i, int first, int count);
  void DeltaTree(const LayerRow& root, size_t i, int first, int count);
  void MlstmTree(const LayerRow& root, size_t i, int first, int count);
  // Of an SK layer: what a row's sketch follows, and where it goes.
  std::pair<const float*, float*> SketchesOf(const LayerRow& row) const;

  // Of token t of a GD, SK or XM layer: q, k, v and the output gate, two gates a head, the output.
  float* QkvOf(size_t t) { return projected_.data() + t * 4 * width(); }
  float* GatesOf(size_t t) { return gates_.data() + t * 2 * static_cast<size_t>(c_.n_heads); }
  float* MixedOf(size_t t) { return mixed_.data() + t * width(); }
  size_t width() const { return static_cast<size_t>(c_.n_heads * c_.head_dim); }

  void ProjectIn(const LinearView& w_in, const float* w_gates, int gates, int n);
  // What is due before a token of a TM layer at its position.
  void BeginTitans(const TitansWeights& w, const LayerState& at, int64_t position);
  void AddBranch(const float* branch, int token);
  void FinishMixer(const LayerWeights& layer, int n, float* x);
  // The input is the normalised rows that linear_ holds, the output delta_.
  void SwigluFfn(const SwigluWeights& w, int n);
  void MoeFfn(const LayerWeights& layer, int n);
  void AddDelta(int n, float* x) const;

  const ModelConfig& c_;
  ExecContext* const exec_;
  LinearStep linear_;
  BufferVector<float> delta_;      // [n][d_model] what a branch adds
  BufferVector<float> projected_;  // input projections of a branch
  BufferVector<float> mixed_;      // before the output projection
  BufferVector<float> gates_;
  // Experts, a row for each pick, those of an expert together.
  LinearStep expert_;
  BufferVector<float> expert_projected_, expert_hidden_, expert_out_;
  std::vector<RowGroup> expert_groups_;
  MoeRoute route_;
  // SK: the shared codebook, and the branches of a few tokens.
  static constexpr int kSketchRows = 8;
  const SpanKnot* const knot_;
  std::vector<SpanKnotScratch> sketches_;
  BufferVector<float> branches_;
  // TM: a finished block and its projection, the nodes of the pass.
  LinearStep block_linear_;
  BufferVector<float> block_, block_rows_, nodes_;
  GateSums gate_sums_;
};

}  // namespace chimera
