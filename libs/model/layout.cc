#include "model/layout.h"

#include "absl/strings/str_cat.h"
#include "layers/depth_router.h"
#include "model/ternary_switches.h"
#include "ternary/grouped_rows.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

// Collects the tensors of one layer under its prefix.
class LayerList {
 public:
  LayerList(int index, TensorKind matrix, std::vector<TensorSpec>* specs)
      : index_(index), matrix_(matrix), specs_(specs) {}

  void Matrix(const char* name, int rows, int cols) {
    specs_->push_back({LayerTensor(index_, name), matrix_, rows, cols, true});
  }
  void Float(const char* name, int rows, int cols, bool decay = false, float lr_scale = 1.0f) {
    specs_->push_back(
        {LayerTensor(index_, name), TensorKind::kFloat, rows, cols, decay, true, lr_scale});
  }
  void Fixed(const char* name, int rows, int cols) {
    specs_->push_back({LayerTensor(index_, name), TensorKind::kFloat, rows, cols, false, false});
  }

 private:
  int index_;
  TensorKind matrix_;
  std::vector<TensorSpec>* specs_;
};

// math-backbone 1.1; w_in stacks q, k, v and the output gate, conv stacks q, k, v.
void AddGatedDelta(const ModelConfig& c, LayerList* list) {
  const int width = c.n_heads * c.head_dim;
  list->Matrix("gd.w_in", 4 * width, c.d_model);
  list->Float("gd.conv", 3 * width, c.gd.conv_width);
  list->Float("gd.w_gates", 2 * c.n_heads, c.d_model, true);  // a, then b
  list->Float("gd.a_log", 1, c.n_heads);
  list->Float("gd.dt_bias", 1, c.n_heads);
  list->Float("gd.head_norm", 1, c.head_dim);
  list->Float("gd.out_norm", 1, width);
  list->Matrix("gd.w_out", c.d_model, width);
}

// math-backbone 2.1; w_in stacks q, k, v and the output gate.
void AddMlstm(const ModelConfig& c, LayerList* list) {
  const int width = c.n_heads * c.head_dim;
  list->Matrix("xm.w_in", 4 * width, c.d_model);
  list->Float("xm.w_gates", 2 * c.n_heads, c.d_model, true);  // input, then forget
  list->Float("xm.gate_bias", 1, 2 * c.n_heads);
  list->Float("xm.head_norm", 1, width);
  list->Float("xm.out_norm", 1, width);
  list->Matrix("xm.w_out", c.d_model, width);
}

// math-backbone 3.2; w_in stacks q, the memory's k, v and q, then the window's k and v.
void AddTitans(const ModelConfig& c, LayerList* list) {
  const int width = c.n_heads * c.head_dim, kv = c.tm.kv_heads * c.head_dim;
  list->Matrix("tm.w_in", 4 * width + 2 * kv, c.d_model);
  list->Float("tm.w_gates", 3 * c.n_heads, c.d_model, true);  // theta, eta, alpha
  list->Float("tm.gate_bias", 1, 3 * c.n_heads);
  list->Float("tm.w1", width, c.tm.mem_hidden);  // first weights of every head's memory
  list->Float("tm.w2", width, c.head_dim);
  list->Float("tm.persistent_k", c.tm.persistent_slots, kv);
  list->Float("tm.persistent_v", c.tm.persistent_slots, kv);
  list->Float("tm.block_norm", 1, width);
  list->Float("tm.head_norm", 1, c.head_dim);
  list->Float("tm.out_norm", 1, width);
  list->Matrix("tm.w_out", c.d_model, width);
}

// docs/layers/span_knot.md: beside the gated delta rule of phase 1.
void AddSpanKnot(const ModelConfig& c, LayerList* list) {
  const int width = c.n_heads * c.head_dim;
  list->Float("sk.w_sketch", 3 * c.sk.rank, c.d_model, true);  // state, continuation, role
  list->Float("sk.w_back", width, c.sk.rank, true);
  list->Float("sk.gate", 1, width);
}

void AddSwiglu(const char* const names[3], int rows, int d_model, LayerList* list) {
  list->Matrix(names[0], 2 * rows, d_model);  // gate, then up
  list->Float(names[1], 1, rows);
  list->Matrix(names[2], d_model, rows);
}

// math-backbone 6.1; the experts' matrices are stacked.
void AddMoe(const ModelConfig& c, LayerList* list) {
  const MoeConfig& m = c.moe;
  // A step at the full rate moves every score at once, further than a bias can follow.
  list->Float("moe.router", m.n_routed, c.d_model, true, 0.1f);
  list->Fixed("moe.bias", 1, m.n_routed);  // moved by the balancer
  list->Matrix("moe.w_in", m.n_routed * 2 * m.d_expert, c.d_model);
  list->Float("moe.out_norm", m.n_routed, m.d_expert);
  list->Matrix("moe.w_out", m.n_routed * c.d_model, m.d_expert);
  if (m.n_shared > 0) {
    constexpr const char* kNames[] = {"moe.shared_in", "moe.shared_norm", "moe.shared_out"};
    AddSwiglu(kNames, m.n_shared * m.d_expert, c.d_model, list);
  }
}

void AddLayer(const ModelConfig& c, int i, LayerList* list) {
  list->Float("mixer_norm", 1, c.d_model);
  switch (c.layers[static_cast<size_t>(i)]) {
    case LayerKind::kMlstm:
      AddMlstm(c, list);
      break;
    case LayerKind::kTitans:
      AddTitans(c, list);
      break;
    case LayerKind::kSpanKnot:
      AddGatedDelta(c, list);
      AddSpanKnot(c, list);
      break;
    case LayerKind::kGatedDelta:
      AddGatedDelta(c, list);
      break;
  }
  list->Float("ffn_norm", 1, c.d_model);
  if (c.ffn[static_cast<size_t>(i)] == FfnKind::kMoe) return AddMoe(c, list);
  constexpr const char* kNames[] = {"ffn.w_in", "ffn.out_norm", "ffn.w_out"};
  AddSwiglu(kNames, c.d_ff, c.d_model, list);
}

TensorKind HeadKind(const QuantConfig& quant) {
  if (!quant.enabled) return TensorKind::kFloat;
  if (quant.head_bits == 6) return TensorKind::kGroupedRows6;
  return quant.head_bits == 4 ? TensorKind::kGroupedRows4 : TensorKind::kInt8Rows;
}

}  // namespace

std::string LayerTensor(int index, const char* rest) {
  return absl::StrCat("layers.", index, ".", rest);
}

std::vector<TensorSpec> ModelLayout(const ModelConfig& c) {
  const TensorKind matrix = c.quant.enabled ? TensorKind::kTernary : TensorKind::kFloat;
  const TensorKind rows = c.quant.enabled ? TensorKind::kInt8Rows : TensorKind::kFloat;
  std::vector<TensorSpec> specs;
  specs.push_back({"embedding", HeadKind(c.quant), c.vocab_size, c.d_model, false});
  for (int i = 0; i < c.n_layers; ++i) {
    LayerList list(i, matrix, &specs);
    AddLayer(c, i, &list);
  }
  if (c.loop.enabled) {
    // math-backbone 4.2 and 5: the injection, and the router of loop depth.
    for (const char* name : {"loop.norm", "loop.a_log", "loop.dt_bias", "loop.b"}) {
      specs.push_back({name, TensorKind::kFloat, 1, c.d_model, false});
    }
    // Fitted after training from the depths that tokens would have needed.
    const int hidden = kDepthRouterHidden, depths = kDepthRouterDepths;
    specs.push_back({"router.hidden", rows, hidden, c.d_model, false, false});
    specs.push_back({"router.hidden_bias", TensorKind::kFloat, 1, hidden, false, false});
    specs.push_back({"router.out", rows, depths, hidden, false, false});
    specs.push_back({"router.out_bias", TensorKind::kFloat, 1, depths, false, false});
  }
  specs.push_back({"final_norm", TensorKind::kFloat, 1, c.d_model, false});
  ApplyTernarySwitches(c.quant, &specs);
  return specs;
}

uint64_t PayloadBytes(TensorKind kind, int rows, int cols) {
  switch (kind) {
    case TensorKind::kFloat:
      return static_cast<uint64_t>(rows) * static_cast<uint64_t>(cols) * 4;
    case TensorKind::kTernary:
    case TensorKind::kTernaryBase3:
    case TensorKind::kTernarySherry:
      return TernaryPayloadBytes(kind, rows, cols);
    case TensorKind::kInt8Rows:
      return Int8RowBytes(rows, cols) + Int8RowScaleCount(rows) * 4;
    case TensorKind::kGroupedRows6:
    case TensorKind::kGroupedRows4:
      return GroupedCodeBytes(GroupedBits(kind), rows, cols) + GroupedScaleCount(rows, cols) * 2;
  }
  return 0;
}

}  // namespace chimera
