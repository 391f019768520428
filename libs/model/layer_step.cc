#include "model/layer_step.h"

#include <algorithm>
#include <cmath>

#include "base/parallel_range.h"
#include "layers/gated_delta.h"
#include "layers/mlstm.h"
#include "layers/short_conv.h"
#include "layers/swiglu.h"
#include "model/braid_state.h"
#include "model/dense.h"
#include "model/layer_shapes.h"
#include "model/layer_states.h"

namespace chimera {
namespace {

// Guesses of speed that only decide whether other threads are woken.
constexpr int64_t kHeadStepNs = 500;      // a step of one head of a recurrence
constexpr int64_t kPrepareNs = 4'000;     // what a token brings to a Titans layer
constexpr int64_t kHeadWriteNs = 10'000;  // a write of 16 tokens into one head's memory
constexpr int64_t kSketchNs = 30'000;     // each part of a sketch's step
constexpr int64_t kGateMacsPerNs = 10;    // float rows times a vector
constexpr int64_t kGatedFloatsPerNs = 2;  // SwiGLU
constexpr int64_t kAddedFloatsPerNs = 4;

// Rows of a sketch's projection that one thread takes at least.
constexpr int64_t kRowsTogether = 8;

int Width(const ModelConfig& c) { return c.n_heads * c.head_dim; }

int WidestHidden(const ModelConfig& c) {
  return std::max(c.d_ff, std::max(1, c.moe.n_shared) * c.moe.d_expert);
}

int WidestInput(const ModelConfig& c) { return std::max({c.d_model, WidestHidden(c), Width(c)}); }

bool Has(const ModelConfig& c, LayerKind kind) {
  return std::find(c.layers.begin(), c.layers.end(), kind) != c.layers.end();
}

// The second row stands in another window of the stream of the first.
bool NextWindow(const LayerRow& before, const LayerRow& row) {
  return row.at.state == before.at.state &&
         row.position / kTitansChunk != before.position / kTitansChunk;
}

// body(begin, end) for the rows of every stream, a few at a time: their projections stay in the
// second-level cache, and a head's state in the first-level one. A tree is never cut.
template <typename Body>
void ForRowsOfStreams(std::span<const LayerRow> rows, const Body& body) {
  constexpr size_t kAtOnce = 16;
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    const size_t most = rows[begin].tree != nullptr ? rows.size() : begin + kAtOnce;
    while (end < std::min(most, rows.size()) && rows[end].at.state == rows[begin].at.state) ++end;
    body(begin, end);
  }
}

int WidestProjection(const ModelConfig& c) {
  const int titans = Has(c, LayerKind::kTitans) ? TitansShapeOf(c).in_width() : 0;
  return std::max({4 * Width(c), 2 * WidestHidden(c), titans});
}

}  // namespace

void DeltaGates(const GatedDeltaWeights& w, int heads, int first, int count, float* qkv,
                float* gate) {
  const int width = heads * kHeadDim;
  float* q = qkv + first * kHeadDim;
  float* k = q + width;
  float* a = gate + first;
  float* b = a + heads;
  const float* a_log = w.a_log + first;
  const float* dt_bias = w.dt_bias + first;
  GatedDelta().l2norm(q, count, q, nullptr);
  if (w.rule == DeltaRule::kBeta) {
    GatedDelta().l2norm(k, count, k, nullptr);
    GatedDelta().gates(a, b, a_log, dt_bias, 1, count, a, b);
    return;
  }
  const float* decay = w.rule == DeltaRule::kEfla ? nullptr : a;
  const EflaGates in{decay, b, k, 3 * width, a_log, dt_bias, 1, count};
  Efla().gates(in, a, b, nullptr);
}

namespace {

// Rows [expert * rows, ...) of experts' matrices stacked in one.
LinearView RowsOf(const LinearView& stacked, int expert, int rows) {
  LinearView view = stacked;
  view.rows = rows;
  if (stacked.dense != nullptr) {
    view.dense = stacked.dense + int64_t{expert} * rows * stacked.cols;
  } else {
    view.ternary = ExpertRows(stacked.ternary, expert, rows);
  }
  return view;
}

}  // namespace

LayerState LayerStateOf(BraidState* state, int layer, int iteration, const SpanFields* fields) {
  return {state->layer(layer, iteration).data(), state->memory(layer).data(),
          iteration == 0 ? TitansUse::kWrite : TitansUse::kReadOnly, fields};
}

LayerStep::LayerStep(const ModelConfig& config, const SpanKnot* knot, int max_tokens,
                     ExecContext* exec)
    : c_(config),
      exec_(exec),
      linear_(config.quant.enabled, max_tokens, WidestInput(config), exec),
      expert_(config.quant.enabled, config.moe.n_routed > 0 ? kMoePicks * max_tokens : 0,
              std::max(config.d_model, config.moe.d_expert), exec),
      knot_(knot),
      block_linear_(config.quant.enabled, Has(config, LayerKind::kTitans) ? 1 : 0, Width(config),
                    exec) {
  const auto tokens = static_cast<size_t>(max_tokens);
  delta_.resize(tokens * static_cast<size_t>(c_.d_model));
  projected_.resize(tokens * static_cast<size_t>(WidestProjection(c_)));
  mixed_.resize(tokens * static_cast<size_t>(WidestInput(c_)));
  gates_.resize(tokens * static_cast<size_t>(3 * c_.n_heads));
  if (c_.moe.n_routed > 0) {
    const size_t picks = tokens * kMoePicks, d_expert = static_cast<size_t>(c_.moe.d_expert);
    expert_projected_.resize(picks * 2 * d_expert);
    expert_hidden_.resize(picks * d_expert);
    expert_out_.resize(picks * static_cast<size_t>(c_.d_model));
    expert_groups_.reserve(static_cast<size_t>(c_.moe.n_routed));
  }
  if (knot_ != nullptr) {
    sketches_.assign(size_t{kSketchRows}, SpanKnotScratch(knot_->shape()));
    branches_.resize(size_t{kSketchRows} * static_cast<size_t>(Width(c_)));
  }
  if (Has(c_, LayerKind::kTitans)) {
    const TitansShape shape = TitansShapeOf(c_);
    block_.resize(3 * static_cast<size_t>(shape.width()));
    block_rows_.resize(static_cast<size_t>(shape.in_width()));
    nodes_.resize(tokens * static_cast<size_t>(TitansNodeFloats(shape)));
  }
}

int64_t LayerStep::Bytes(const ModelConfig& c, int max_tokens) {
  int64_t floats = c.d_model + WidestProjection(c) + WidestInput(c) + 3 * c.n_heads;
  int64_t bytes = LinearStep::Bytes(max_tokens, WidestInput(c));
  if (c.moe.n_routed > 0) {
    floats += kMoePicks * (3 * int64_t{c.moe.d_expert} + c.d_model);
    bytes += LinearStep::Bytes(kMoePicks * max_tokens, std::max(c.d_model, c.moe.d_expert));
  }
  if (Has(c, LayerKind::kTitans)) floats += TitansNodeFloats(TitansShapeOf(c));
  return bytes + max_tokens * floats * int64_t{sizeof(float)};
}

void LayerStep::Mix(const LayerWeights& layer, std::span<const LayerRow> rows, float* x) {
  const int n = static_cast<int>(rows.size());
  linear_.Norm(x, layer.mixer_norm, n, c_.d_model);
  switch (layer.kind) {
    case LayerKind::kMlstm:
      MlstmMixer(layer.xm, rows);
      break;
    case LayerKind::kTitans:
      TitansMixer(layer.tm, rows);
      break;
    case LayerKind::kSpanKnot:
      GatedDeltaMixer(layer.gd, rows);
      SketchBranch(layer.sk, rows);
      break;
    case LayerKind::kGatedDelta:
      GatedDeltaMixer(layer.gd, rows);
      break;
  }
  FinishMixer(layer, n, x);
}

void LayerStep::FinishMixer(const LayerWeights& layer, int n, float* x) {
  const bool gd = layer.kind == LayerKind::kGatedDelta || layer.kind == LayerKind::kSpanKnot;
  const bool xm = layer.kind == LayerKind::kMlstm;
  const float* norm = gd ? layer.gd.out_norm : xm ? layer.xm.out_norm : layer.tm.out_norm;
  linear_.Norm(mixed_.data(), norm, n, Width(c_));
  linear_.Linear(gd ? layer.gd.w_out : xm ? layer.xm.w_out : layer.tm.w_out, n, delta_.data());
  AddDelta(n, x);
}

void LayerStep::Feed(const LayerWeights& layer, int n, float* x) {
  linear_.Norm(x, layer.ffn_norm, n, c_.d_model);
  if (layer.ffn_kind == FfnKind::kMoe) {
    MoeFfn(layer, n);
  } else {
    SwigluFfn(layer.ffn, n);
  }
  AddDelta(n, x);
}

void LayerStep::ProjectIn(const LinearView& w_in, const float* w_gates, int gates, int n) {
  linear_.Linear(w_in, n, projected_.data());
  const int d = c_.d_model;
  const int64_t cost_ns = int64_t{gates} * d * n / kGateMacsPerNs;
  ParallelRange(exec_, gates, cost_ns, [&](int64_t begin, int64_t end) {
    DenseRows(w_gates + begin * d, static_cast<int>(end - begin), d, linear_.normed(), n,
              gates_.data() + begin, gates);
  });
}

// Heads are independent from the convolution to the head norm: threads share them out.
void LayerStep::GatedDeltaMixer(const GatedDeltaWeights& w, std::span<const LayerRow> rows) {
  const int heads = c_.n_heads, n = static_cast<int>(rows.size());
  ProjectIn(w.w_in, w.w_gates, 2 * heads, n);
  ParallelRange(exec_, heads, int64_t{n} * heads * kHeadStepNs, [&](int64_t begin, int64_t end) {
    DeltaHeads(w, rows, static_cast<int>(begin), static_cast<int>(end - begin));
  });
  for (size_t t = 0; t < rows.size(); ++t) {
    if (rows[t].tree != nullptr) continue;  // perhaps nobody's text
    const float* gate = GatesOf(t);
    for (int h = 0; h < heads; ++h) {
      gate_sums_.alpha += std::exp(static_cast<double>(gate[h]));
      gate_sums_.beta += static_cast<double>(gate[heads + h]);
    }
    gate_sums_.count += heads;
  }
}

void LayerStep::DeltaHeads(const GatedDeltaWeights& w, std::span<const LayerRow> rows, int first,
                           int count) {
  const int heads = c_.n_heads, width = Width(c_), begin_at = first * kHeadDim;
  ForRowsOfStreams(rows, [&](size_t begin, size_t end) {
    const LayerRow& row = rows[begin];
    if (row.tree != nullptr) {
      TreeConv(w, row, begin, first, count);
    } else {
      for (int part = 0; part < 3; ++part) {
        const int at = part * width + begin_at;
        float* const x = QkvOf(begin) + at;
        ShortConv().steps(x, 4 * width, static_cast<int>(end - begin), w.conv + kConvWidth * at,
                          row.at.state + at, 3 * width, count * kHeadDim, x);
      }
    }
    for (size_t t = begin; t < end; ++t) DeltaGates(w, heads, first, count, QkvOf(t), GatesOf(t));
    if (row.tree != nullptr) {
      DeltaTree(row, begin, first, count);
    } else {
      for (int h = first; h < first + count; ++h) {
        float* const matrix = DeltaStates(c_, row.at.state) + h * kHeadState;
        for (size_t t = begin; t < end; ++t) {
          const float* q = QkvOf(t) + h * kHeadDim;
          GatedDelta().step(matrix, q, q + width, q + 2 * width, GatesOf(t)[h],
                            GatesOf(t)[heads + h], MixedOf(t) + h * kHeadDim);
        }
      }
    }
    for (size_t t = begin; t < end; ++t) {
      float* const own = MixedOf(t) + begin_at;
      GatedDelta().head_norm(own, QkvOf(t) + 3 * width + begin_at, w.head_norm, count, own,
                             nullptr);
    }
  });
}

// docs/layers/span_knot.md: the second phase reads the same normalised rows, and its output joins
// that of the first.
void LayerStep::SketchBranch(const SpanKnotWeights& w, std::span<const LayerRow> rows) {
  const int64_t n = static_cast<int64_t>(rows.size()), width = Width(c_);
  for (int64_t first = 0; first < n; first += kSketchRows) {
    const int64_t count = std::min<int64_t>(kSketchRows, n - first), cost_ns = count * kSketchNs;
    ParallelRanges(exec_, count, knot_->projections(), cost_ns, kRowsTogether,
                   [&](int64_t i, int64_t begin, int64_t end) {
                     const float* xn = linear_.normed() + (first + i) * c_.d_model;
                     knot_->Project(w, xn, static_cast<int>(begin), static_cast<int>(end),
                                    &sketches_[size_t(i)]);
                   });
    ParallelRange(exec_, count, cost_ns, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) knot_->Expand(&sketches_[size_t(i)]);
    });
    for (int64_t i = 0; i < count; ++i) {
      const LayerRow& row = rows[static_cast<size_t>(first + i)];
      const auto [before, after] = SketchesOf(row);
      knot_->Settle(*row.at.fields, before, after, &sketches_[size_t(i)]);
    }
    ParallelRange(exec_, count, cost_ns, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float* const branch = branches_.data() + i * width;
        knot_->FeedBack(w, &sketches_[size_t(i)], branch);
        AddBranch(branch, static_cast<int>(first + i));
      }
    });
  }
}

void LayerStep::AddBranch(const float* branch, int token) {
  float* out = mixed_.data() + int64_t{token} * Width(c_);
  for (int i = 0; i < Width(c_); ++i) out[i] = out[i] + branch[i];
}

// Rows of one stream and one window of 16 read the same memory and each other like the nodes of a
// tree, so threads share out them and their heads; windows of a stream go one after the other.
void LayerStep::TitansMixer(const TitansWeights& w, std::span<const LayerRow> rows) {
  ProjectIn(w.w_in, w.w_gates, 3 * w.layer.shape.n_heads, static_cast<int>(rows.size()));
  for (size_t begin = 0; begin < rows.size();) {
    size_t end = begin + 1;
    while (end < rows.size() && !NextWindow(rows[end - 1], rows[end])) ++end;
    TitansWindows(w, rows.subspan(begin, end - begin), static_cast<int>(begin));
    begin = end;
  }
}

// Rows of which no stream has two windows.
void LayerStep::TitansWindows(const TitansWeights& w, std::span<const LayerRow> rows,
                              int first_row) {
  const TitansShape& shape = w.layer.shape;
  const auto n = static_cast<int64_t>(rows.size());
  const int64_t floats = TitansNodeFloats(shape);
  const auto node = [&](int64_t i) {
    const LayerRow& row = rows[size_t(i)];
    return row.tree != nullptr ? row.record + row.node * floats : nodes_.data() + i * floats;
  };
  const auto first_of_stream = [&](int64_t i) {
    return i == 0 || rows[size_t(i)].at.state != rows[size_t(i - 1)].at.state;
  };
  for (int64_t i = 0; i < n; ++i) {
    if (first_of_stream(i)) BeginTitans(w, rows[size_t(i)].at, rows[size_t(i)].position);
  }
  const auto in = [&](int64_t i) { return projected_.data() + (first_row + i) * shape.in_width(); };
  ParallelRange(exec_, n, n * kPrepareNs, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      TitansPrepare(w.layer, rows[size_t(i)].position, in(i),
                    gates_.data() + (first_row + i) * 3 * shape.n_heads, node(i));
    }
  });
  const int64_t groups = shape.kv_heads, cost_ns = n * shape.n_heads * kTitansHeadNs;
  ParallelRange(exec_, n * groups, cost_ns, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t i = begin / groups, group = begin % groups;
      const int64_t count = std::min(groups - group, end - begin);
      begin += count;
      const LayerRow& row = rows[size_t(i)];
      int64_t first = i;
      while (!first_of_stream(first)) --first;
      const float* path[kTitansChunk];
      int n_path = 0;
      for (int64_t j = first; j < i; ++j) {
        const bool seen =
            row.tree == nullptr || row.tree->IsAncestorOrSelf(int(j - first), row.node);
        if (seen) path[n_path++] = node(j);
      }
      const TitansQuery query = {
          .position = row.position,
          .in = in(i),
          .memory = row.at.memory,
          .ring = row.at.state,
          .path = path,
          .n_path = n_path,
          .gauge = row.tree == nullptr && row.at.use != TitansUse::kReadOnly};
      TitansAttend(w.layer, query, static_cast<int>(group), static_cast<int>(count), node(i),
                   mixed_.data() + (first_row + i) * shape.width());
    }
  });
  for (int64_t i = 0; i < n; ++i) {
    const LayerRow& row = rows[size_t(i)];
    if (row.tree != nullptr) continue;
    TitansCommit(w.layer, row.at.use, row.position, node(i), row.at.memory, row.at.state);
    if (row.memory_copy != nullptr) {
      std::copy_n(row.at.memory, TitansMemoryFloats(shape), row.memory_copy);
    }
    if (row.surprise != nullptr) {
      const float last = TitansSurpriseOf(row.at.memory).last;
      *row.surprise += last * last;
    }
  }
}

void LayerStep::BeginTitans(const TitansWeights& w, const LayerState& at, int64_t position) {
  const TitansShape& shape = w.layer.shape;
  if (TitansWriteDue(at.use, position, at.memory)) {
    ParallelRange(exec_, shape.n_heads, shape.n_heads * kHeadWriteNs,
                  [&](int64_t begin, int64_t end) {
                    TitansWriteHeads(shape, static_cast<int>(begin), static_cast<int>(end - begin),
                                     at.memory);
                  });
    TitansWritten(at.memory);
  }
  TitansBegin(w.layer, at.use, position, at.memory, at.state);
  if (!TitansBlockDue(shape, position, at.state, block_.data())) return;
  block_linear_.Norm(block_.data(), w.block_norm, 1, shape.width());
  block_linear_.LinearTiles(w.w_in, 4 * shape.width() / kRowTile, RowTiles(w.w_in.rows), 1,
                            block_rows_.data(), w.w_in.rows);
  const float* k = block_rows_.data() + 4 * shape.width();
  TitansPutBlock(shape, k, k + shape.kv_width(), at.state);
}

void LayerStep::MlstmMixer(const MlstmWeights& w, std::span<const LayerRow> rows) {
  const int heads = c_.n_heads, n = static_cast<int>(rows.size());
  ProjectIn(w.w_in, w.w_gates, 2 * heads, n);
  Mlstm().gate_cap(gates_.data(), w.gate_bias, n, 2 * heads, gates_.data());
  ParallelRange(exec_, heads, int64_t{n} * heads * kHeadStepNs, [&](int64_t begin, int64_t end) {
    MlstmHeads(w, rows, static_cast<int>(begin), static_cast<int>(end - begin));
  });
}

void LayerStep::MlstmHeads(const MlstmWeights& w, std::span<const LayerRow> rows, int first,
                           int count) {
  const int heads = c_.n_heads, width = Width(c_), begin_at = first * kHeadDim;
  ForRowsOfStreams(rows, [&](size_t begin, size_t end) {
    if (rows[begin].tree != nullptr) {
      MlstmTree(rows[begin], begin, first, count);
    } else {
      const MlstmState state = MlstmStateAt(c_, rows[begin].at.state);
      for (int h = first; h < first + count; ++h) {
        for (size_t t = begin; t < end; ++t) {
          const float* q = QkvOf(t) + h * kHeadDim;
          Mlstm().step(state.c + h * kHeadState, state.n + h * kHeadDim, state.m + h, q, q + width,
                       q + 2 * width, GatesOf(t)[h], GatesOf(t)[heads + h],
                       MixedOf(t) + h * kHeadDim);
        }
      }
    }
    for (size_t t = begin; t < end; ++t) {
      float* const own = MixedOf(t) + begin_at;
      Mlstm().head_norm(own, QkvOf(t) + 3 * width + begin_at, w.head_norm + begin_at, 1, count, own,
                        nullptr);
    }
  });
}

void LayerStep::SwigluFfn(const SwigluWeights& w, int n) {
  const int d_ff = w.w_in.rows / 2;
  linear_.Linear(w.w_in, n, projected_.data());
  ParallelRange(exec_, n, int64_t{n} * d_ff / kGatedFloatsPerNs, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* gate = projected_.data() + t * 2 * d_ff;
      Swiglu().forward(gate, gate + d_ff, d_ff, mixed_.data() + t * d_ff);
    }
  });
  linear_.Norm(mixed_.data(), w.out_norm, n, d_ff);
  linear_.Linear(w.w_out, n, delta_.data());
}

// math-backbone 6.1. An expert runs the tokens that picked it, all experts at once; outputs are
// added to the shared expert's in the order of the experts' index.
void LayerStep::MoeFfn(const LayerWeights& layer, int n) {
  const MoeWeights& w = layer.moe;
  const int d = c_.d_model, d_expert = c_.moe.d_expert, picks = kMoePicks * n;
  const int64_t router_ns = int64_t{n} * w.router.n_experts * d / kGateMacsPerNs;
  ParallelRange(exec_, n, router_ns, [&](int64_t begin, int64_t end) {
    PickExperts(w.router, linear_.normed(), static_cast<int>(begin), static_cast<int>(end),
                &route_);
  });
  GroupPicks(w.router, n, &route_);
  expert_.Gather(linear_, route_.rows, picks, d);
  if (layer.ffn.out_norm != nullptr) {
    SwigluFfn(layer.ffn, n);
  } else {
    std::fill_n(delta_.begin(), int64_t{n} * d, 0.0f);
  }
  const auto experts_of = [&](const LinearView& stacked, int rows) {
    expert_groups_.clear();
    for (int e = 0; e < w.router.n_experts; ++e) {
      if (route_.count[e] == 0) continue;
      expert_groups_.push_back({RowsOf(stacked, e, rows), route_.begin[e], route_.count[e]});
    }
    return std::span<const RowGroup>(expert_groups_);
  };
  expert_.LinearGroups(experts_of(w.w_in, 2 * d_expert), expert_projected_.data());
  const int64_t gated = int64_t{picks} * d_expert;
  ParallelRange(exec_, picks, gated / kGatedFloatsPerNs, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int32_t* const ends = route_.begin + 1;
      const int64_t e = std::upper_bound(ends, ends + w.router.n_experts, i) - ends;
      const float* gate = expert_projected_.data() + i * 2 * d_expert;
      float* const hidden = expert_hidden_.data() + i * d_expert;
      Swiglu().forward(gate, gate + d_expert, d_expert, hidden);
      expert_.NormRow(hidden, w.out_norm + e * d_expert, static_cast<int>(i), d_expert);
    }
  });
  expert_.LinearGroups(experts_of(w.w_out, d), expert_out_.data());
  ParallelRange(exec_, n, int64_t{picks} * d / kAddedFloatsPerNs, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int pick = 0; pick < kMoePicks; ++pick) {
        const int64_t slot = route_.slots[kMoePicks * t + pick];
        Moe().add_scaled(expert_out_.data() + slot * d, route_.weights[slot], d,
                         delta_.data() + t * d);
      }
    }
  });
}

void LayerStep::AddDelta(int n, float* x) const {
  const int64_t floats = int64_t{n} * c_.d_model;
  ParallelRange(exec_, floats, floats / kAddedFloatsPerNs, [&](int64_t begin, int64_t end) {
    Moe().add_scaled(delta_.data() + begin, 1.0f, end - begin, x + begin);
  });
}

}  // namespace chimera
