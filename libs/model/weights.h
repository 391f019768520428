// Views into a mapped weights.b158 (docs/formats/b158.md), one struct per layer.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "config/model_config.h"
#include "ternary/ternary.h"

namespace chimera {

// A linear map d_in -> d_out: packed ternary, or plain floats when quantization is off.
struct LinearView {
  TernaryView ternary;
  const float* dense = nullptr;  // [rows][cols], null when ternary
  int rows = 0;
  int cols = 0;
};

struct GatedDeltaWeights {
  LinearView wq, wk, wv, wg, wo;
  const float *conv_q, *conv_k, *conv_v;  // [H*64][4]
  const float *wa, *wb;                   // [H][d_model]
  const float *a_log, *dt_bias;           // [H]
  const float* head_norm;                 // [64]
  const float* out_norm;                  // [H*64], SubLN in front of wo
};

struct MlstmWeights {
  LinearView wq, wk, wv, wg, wo;
  const float *wi, *wf;                   // [H][d_model]
  const float *bi, *bf;                   // [H]
  const float* head_norm;                 // [H*64]
  const float* out_norm;                  // [H*64]
};

struct SwigluWeights {
  LinearView gate, up, down;
  const float* down_norm;                 // [d_ff], SubLN in front of down
};

struct LayerWeights {
  LayerKind kind = LayerKind::kGatedDelta;
  const float* mixer_norm = nullptr;      // [d_model]
  const float* ffn_norm = nullptr;        // [d_model]
  GatedDeltaWeights gd;                   // filled when kind is kGatedDelta
  MlstmWeights xm;                        // filled when kind is kMlstm
  SwigluWeights ffn;
};

// Immutable after Map; owns the map.
class Weights {
 public:
  // Maps and checks the file: header, table, bounds, shapes equal to the config's, finite scales.
  static absl::StatusOr<Weights> Map(const std::string& path, const ModelConfig& config);
  Weights() = default;

  const std::vector<LayerWeights>& layers() const { return layers_; }
  const Int8RowsView& embedding() const { return embedding_; }       // quantised models
  const float* dense_embedding() const { return dense_embedding_; }  // [vocab][d_model] otherwise
  const float* final_norm() const { return final_norm_; }            // [d_model]
  int64_t file_bytes() const { return static_cast<int64_t>(file_.bytes().size()); }

 private:
  MmapFile file_;
  std::vector<LayerWeights> layers_;
  Int8RowsView embedding_{};
  const float* dense_embedding_ = nullptr;
  const float* final_norm_ = nullptr;
};

}  // namespace chimera
