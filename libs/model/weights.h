// Views into a mapped weights.b158 (docs/formats/b158.md), one struct per layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "config/model_config.h"
#include "model/ternary_switches.h"
#include "ternary/ternary.h"

namespace chimera {

// The correction beside a ternary map (layers/low_rank.h); none when a is null.
struct LowRankView {
  const float* a = nullptr;      // [16][cols]
  const float* lanes = nullptr;  // B as LowRankLanes lays it
  float gate = 0;
};

// A linear map cols -> rows: packed ternary, or plain floats when quantization is off.
struct LinearView {
  TernaryView ternary{};
  const float* dense = nullptr;  // [rows][cols], null when ternary
  LowRankView low_rank{};        // added to a ternary map
  int rows = 0;
  int cols = 0;
};

// Shapes in model/layout.cc.
struct GatedDeltaWeights {
  LinearView w_in;  // q, k, v, output gate
  LinearView w_out;
  const float* conv = nullptr;     // [3 * width][4]
  const float* w_gates = nullptr;  // [2 * n_heads][d_model]: a, b
  const float* a_log = nullptr;
  const float* dt_bias = nullptr;
  const float* head_norm = nullptr;
  const float* out_norm = nullptr;
};

struct MlstmWeights {
  LinearView w_in;  // q, k, v, output gate
  LinearView w_out;
  const float* w_gates = nullptr;    // [2 * n_heads][d_model]: input, forget
  const float* gate_bias = nullptr;  // [2 * n_heads]
  const float* head_norm = nullptr;
  const float* out_norm = nullptr;
};

struct SwigluWeights {
  LinearView w_in;  // gate, up
  LinearView w_out;
  const float* out_norm = nullptr;
};

struct LayerWeights {
  LayerKind kind = LayerKind::kGatedDelta;
  const float* mixer_norm = nullptr;
  GatedDeltaWeights gd;  // filled when kind is kGatedDelta
  MlstmWeights xm;       // filled when kind is kMlstm
  const float* ffn_norm = nullptr;
  SwigluWeights ffn;
};

// Immutable after Map; owns the map and what was repacked from it, so views live as long as it
// does.
class Weights {
 public:
  // Maps and checks the file as docs/formats/b158.md lists. DATA_LOSS names the fault.
  static absl::StatusOr<Weights> Map(const std::string& path, const ModelConfig& config);
  Weights() = default;

  const std::vector<LayerWeights>& layers() const { return layers_; }
  const Int8RowsView& embedding() const { return embedding_; }       // quantised models
  const float* dense_embedding() const { return dense_embedding_; }  // [vocab][d_model] otherwise
  const float* final_norm() const { return final_norm_; }
  int64_t file_bytes() const { return static_cast<int64_t>(file_.bytes().size()); }

 private:
  MmapFile file_;
  RepackedTensors repacked_;
  std::vector<LayerWeights> layers_;
  Int8RowsView embedding_{};
  const float* dense_embedding_ = nullptr;
  const float* final_norm_ = nullptr;
};

}  // namespace chimera
