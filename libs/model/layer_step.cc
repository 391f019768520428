#include "model/layer_step.h"

#include <algorithm>

#include "layers/gated_delta.h"
#include "layers/mlstm.h"
#include "layers/short_conv.h"
#include "layers/swiglu.h"
#include "layers/tree_walk.h"
#include "model/dense.h"
#include "model/layer_shapes.h"
#include "model/state_layout.h"
#include "tensor/vec.h"

namespace chimera {
namespace {

int Width(const ModelConfig& c) { return c.n_heads * c.head_dim; }

int WidestHidden(const ModelConfig& c) {
  return std::max(c.d_ff, std::max(1, c.moe.n_shared) * c.moe.d_expert);
}

int WidestInput(const ModelConfig& c) { return std::max({c.d_model, WidestHidden(c), Width(c)}); }

bool Has(const ModelConfig& c, LayerKind kind) {
  return std::find(c.layers.begin(), c.layers.end(), kind) != c.layers.end();
}

int WidestProjection(const ModelConfig& c) {
  const int titans = Has(c, LayerKind::kTitans) ? TitansShapeOf(c).in_width() : 0;
  return std::max({4 * Width(c), 2 * WidestHidden(c), titans});
}

}  // namespace

void DeltaGates(const GatedDeltaWeights& w, int heads, float* qkv, float* gate) {
  const int width = heads * kHeadDim;
  if (w.rule == DeltaRule::kBeta) {
    GatedDelta().l2norm(qkv, 2 * heads, qkv, nullptr);
    GatedDelta().gates(gate, gate + heads, w.a_log, w.dt_bias, 1, heads, gate, gate + heads);
    return;
  }
  GatedDelta().l2norm(qkv, heads, qkv, nullptr);
  const EflaGates in{w.rule == DeltaRule::kEfla ? nullptr : gate,
                     gate + heads,
                     qkv + width,
                     3 * width,
                     w.a_log,
                     w.dt_bias,
                     1,
                     heads};
  Efla().gates(in, gate, gate + heads, nullptr);
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

LayerStep::LayerStep(const ModelConfig& config, const SpanKnot* knot, int max_tokens,
                     ExecContext* exec)
    : c_(config),
      linear_(config.quant.enabled, max_tokens, WidestInput(config), exec),
      expert_(config.quant.enabled, config.moe.n_routed > 0 ? max_tokens : 0, WidestInput(config),
              exec),
      knot_(knot),
      block_linear_(config.quant.enabled, Has(config, LayerKind::kTitans) ? 1 : 0, Width(config),
                    exec) {
  const auto tokens = static_cast<size_t>(max_tokens);
  delta_.resize(tokens * static_cast<size_t>(c_.d_model));
  projected_.resize(tokens * static_cast<size_t>(WidestProjection(c_)));
  mixed_.resize(tokens * static_cast<size_t>(WidestInput(c_)));
  gates_.resize(tokens * static_cast<size_t>(3 * c_.n_heads));
  walk_.resize(MlstmTreeWalk::kScratchFloats);
  if (c_.moe.n_routed > 0) {
    for (auto* rows : {&ffn_in_, &expert_out_}) {
      rows->resize(tokens * static_cast<size_t>(c_.d_model));
    }
  }
  if (knot_ != nullptr) {
    sketch_.emplace(knot_->shape());
    branch_.resize(static_cast<size_t>(Width(c_)));
  }
  if (Has(c_, LayerKind::kTitans)) {
    const TitansShape shape = TitansShapeOf(c_);
    block_.resize(3 * static_cast<size_t>(shape.width()));
    block_rows_.resize(static_cast<size_t>(shape.in_width()));
    node_.resize(static_cast<size_t>(TitansNodeFloats(shape)));
  }
}

void LayerStep::Run(const LayerWeights& layer, std::span<const LayerRow> rows, float* x) {
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
  Ffn(layer, n, x);
}

void LayerStep::FinishMixer(const LayerWeights& layer, int n, float* x) {
  const bool gd = layer.kind == LayerKind::kGatedDelta || layer.kind == LayerKind::kSpanKnot;
  const bool xm = layer.kind == LayerKind::kMlstm;
  const float* norm = gd ? layer.gd.out_norm : xm ? layer.xm.out_norm : layer.tm.out_norm;
  linear_.Norm(mixed_.data(), norm, n, Width(c_));
  linear_.Linear(gd ? layer.gd.w_out : xm ? layer.xm.w_out : layer.tm.w_out, n, delta_.data());
  AddDelta(n, x);
}

void LayerStep::Ffn(const LayerWeights& layer, int n, float* x) {
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
  DenseRows(w_gates, gates, c_.d_model, linear_.normed(), n, gates_.data());
}

void LayerStep::GatedDeltaMixer(const GatedDeltaWeights& w, std::span<const LayerRow> rows) {
  const int heads = c_.n_heads, width = Width(c_), n = static_cast<int>(rows.size());
  ProjectIn(w.w_in, w.w_gates, 2 * heads, n);
  for (int t = 0; t < n; ++t) {
    float* state = rows[static_cast<size_t>(t)].at.state;
    float* matrices = state + kConvState * 3 * width;
    float* qkv = projected_.data() + int64_t{t} * 4 * width;
    float* gate = gates_.data() + t * 2 * heads;
    float* out = mixed_.data() + int64_t{t} * width;
    ShortConv().step(qkv, w.conv, state, 3 * width, 3 * width, qkv);
    DeltaGates(w, heads, qkv, gate);
    for (int h = 0; h < heads; ++h) {
      gate_sums_.alpha += static_cast<double>(Exp1(gate[h]));
      gate_sums_.beta += static_cast<double>(gate[heads + h]);
      const float* at = qkv + h * kHeadDim;
      GatedDelta().step(matrices + h * kHeadState, at, at + width, at + 2 * width, gate[h],
                        gate[heads + h], out + h * kHeadDim);
    }
    GatedDelta().head_norm(out, qkv + 3 * width, w.head_norm, heads, out, nullptr);
  }
  gate_sums_.count += int64_t{n} * heads;
}

// docs/layers/span_knot.md: the second phase reads the same normalised rows, and its output joins
// that of the first.
void LayerStep::SketchBranch(const SpanKnotWeights& w, std::span<const LayerRow> rows) {
  for (int t = 0; t < static_cast<int>(rows.size()); ++t) {
    const LayerState& at = rows[static_cast<size_t>(t)].at;
    float* sketch = at.state + LayerStateFloats(c_, LayerKind::kGatedDelta);
    knot_->Step(w, *at.fields, linear_.normed() + int64_t{t} * c_.d_model, sketch, sketch,
                &*sketch_, branch_.data());
    AddBranch(t);
  }
}

void LayerStep::AddBranch(int token) {
  float* out = mixed_.data() + int64_t{token} * Width(c_);
  for (int i = 0; i < Width(c_); ++i) out[i] = out[i] + branch_[static_cast<size_t>(i)];
}

void LayerStep::TitansMixer(const TitansWeights& w, std::span<const LayerRow> rows) {
  const TitansShape& shape = w.layer.shape;
  const int n = static_cast<int>(rows.size());
  ProjectIn(w.w_in, w.w_gates, 3 * shape.n_heads, n);
  auto project = [&](const float* mean, float* k, float* v) { ProjectBlock(w, mean, k, v); };
  for (int t = 0; t < n; ++t) {
    const auto& [at, position] = rows[static_cast<size_t>(t)];
    TitansStep(w.layer, at.use, position, projected_.data() + int64_t{t} * shape.in_width(),
               gates_.data() + int64_t{t} * 3 * shape.n_heads, project, block_.data(), node_.data(),
               at.memory, at.state, mixed_.data() + int64_t{t} * shape.width());
  }
}

void LayerStep::ProjectBlock(const TitansWeights& w, const float* mean, float* k, float* v) {
  const TitansShape& shape = w.layer.shape;
  block_linear_.Norm(mean, w.block_norm, 1, shape.width());
  block_linear_.LinearTiles(w.w_in, 4 * shape.width() / kRowTile, RowTiles(w.w_in.rows), 1,
                            block_rows_.data(), w.w_in.rows);
  const float* rows = block_rows_.data() + 4 * shape.width();
  std::copy_n(rows, shape.kv_width(), k);
  std::copy_n(rows + shape.kv_width(), shape.kv_width(), v);
}

void LayerStep::MlstmMixer(const MlstmWeights& w, std::span<const LayerRow> rows) {
  const int heads = c_.n_heads, width = Width(c_), n = static_cast<int>(rows.size());
  ProjectIn(w.w_in, w.w_gates, 2 * heads, n);
  for (int t = 0; t < n; ++t) {
    float* state = rows[static_cast<size_t>(t)].at.state;
    float* vectors = state + heads * kHeadState;
    float* frames = vectors + heads * kHeadDim;
    const float* qkv = projected_.data() + int64_t{t} * 4 * width;
    float* gate = gates_.data() + t * 2 * heads;
    float* out = mixed_.data() + int64_t{t} * width;
    Mlstm().gate_cap(gate, w.gate_bias, 1, 2 * heads, gate);
    for (int h = 0; h < heads; ++h) {
      const float* at = qkv + h * kHeadDim;
      Mlstm().step(state + h * kHeadState, vectors + h * kHeadDim, frames + h, at, at + width,
                   at + 2 * width, gate[h], gate[heads + h], out + h * kHeadDim);
    }
    Mlstm().head_norm(out, qkv + 3 * width, w.head_norm, 1, heads, out, nullptr);
  }
}

void LayerStep::SwigluFfn(const SwigluWeights& w, int n) {
  const int d_ff = w.w_in.rows / 2;
  linear_.Linear(w.w_in, n, projected_.data());
  for (int t = 0; t < n; ++t) {
    const float* gate = projected_.data() + int64_t{t} * 2 * d_ff;
    Swiglu().forward(gate, gate + d_ff, d_ff, mixed_.data() + int64_t{t} * d_ff);
  }
  linear_.Norm(mixed_.data(), w.out_norm, n, d_ff);
  linear_.Linear(w.w_out, n, delta_.data());
}

// math-backbone 6.1. An expert runs the tokens that picked it; outputs are added to the shared
// expert's in the order of the experts' index.
void LayerStep::MoeFfn(const LayerWeights& layer, int n) {
  const MoeWeights& w = layer.moe;
  const int d = c_.d_model, d_expert = c_.moe.d_expert;
  std::copy_n(linear_.normed(), int64_t{n} * d, ffn_in_.data());
  RouteTokens(w.router, ffn_in_.data(), n, &route_);
  if (layer.ffn.out_norm != nullptr) {
    SwigluFfn(layer.ffn, n);
  } else {
    std::fill_n(delta_.begin(), int64_t{n} * d, 0.0f);
  }
  for (int e = 0; e < w.router.n_experts; ++e) {
    const int rows = route_.count[e], first = route_.begin[e];
    if (rows == 0) continue;
    for (int i = 0; i < rows; ++i) {
      std::copy_n(ffn_in_.data() + int64_t{route_.rows[first + i]} * d, d,
                  mixed_.data() + int64_t{i} * d);
    }
    expert_.Load(mixed_.data(), rows, d);
    expert_.Linear(RowsOf(w.w_in, e, 2 * d_expert), rows, projected_.data());
    for (int i = 0; i < rows; ++i) {
      const float* gate = projected_.data() + int64_t{i} * 2 * d_expert;
      Swiglu().forward(gate, gate + d_expert, d_expert, mixed_.data() + int64_t{i} * d_expert);
    }
    expert_.Norm(mixed_.data(), w.out_norm + int64_t{e} * d_expert, rows, d_expert);
    expert_.Linear(RowsOf(w.w_out, e, d), rows, expert_out_.data());
    for (int i = 0; i < rows; ++i) {
      Moe().add_scaled(expert_out_.data() + int64_t{i} * d, route_.weights[first + i], d,
                       delta_.data() + int64_t{route_.rows[first + i]} * d);
    }
  }
}

void LayerStep::AddDelta(int n, float* x) const {
  for (int i = 0; i < n * c_.d_model; ++i) x[i] = x[i] + delta_[static_cast<size_t>(i)];
}

}  // namespace chimera
