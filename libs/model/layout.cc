#include "model/layout.h"

#include "absl/strings/str_cat.h"
#include "model/ternary_switches.h"
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
  void Float(const char* name, int rows, int cols, bool decay = false) {
    specs_->push_back({LayerTensor(index_, name), TensorKind::kFloat, rows, cols, decay});
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

}  // namespace

std::string LayerTensor(int index, const char* rest) {
  return absl::StrCat("layers.", index, ".", rest);
}

std::vector<TensorSpec> ModelLayout(const ModelConfig& c) {
  const TensorKind matrix = c.quant.enabled ? TensorKind::kTernary : TensorKind::kFloat;
  const TensorKind rows = c.quant.enabled ? TensorKind::kInt8Rows : TensorKind::kFloat;
  std::vector<TensorSpec> specs;
  specs.push_back({"embedding", rows, c.vocab_size, c.d_model, false});
  for (int i = 0; i < c.n_layers; ++i) {
    LayerList list(i, matrix, &specs);
    list.Float("mixer_norm", 1, c.d_model);
    if (c.layers[static_cast<size_t>(i)] == LayerKind::kGatedDelta) AddGatedDelta(c, &list);
    if (c.layers[static_cast<size_t>(i)] == LayerKind::kMlstm) AddMlstm(c, &list);
    list.Float("ffn_norm", 1, c.d_model);
    list.Matrix("ffn.w_in", 2 * c.d_ff, c.d_model);  // gate, then up
    list.Float("ffn.out_norm", 1, c.d_ff);
    list.Matrix("ffn.w_out", c.d_model, c.d_ff);
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
  }
  return 0;
}

}  // namespace chimera
