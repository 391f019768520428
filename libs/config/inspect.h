// What a configuration really describes: the layer map, parameter counts and bytes from the
// dimensions (math-backbone 0.2, 1.1, 2.1, 3.2, 4.2, 6.1), beside the labels the file carries.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"

namespace chimera {

enum class LoopPart { kNone, kPrelude, kLoop, kCoda };

struct LayerRow {
  int index = 0;
  LayerKind mixer = LayerKind::kGatedDelta;
  FfnKind ffn = FfnKind::kDense;
  LoopPart part = LoopPart::kNone;
  int64_t mixer_parameters = 0;
  int64_t ffn_parameters = 0;
};

// Counts of single weights. total = ternary + embedding + floats, also = embedding + mixers + ffn +
// moe + norms + loop + hgf.
struct ParameterCounts {
  int64_t total = 0;
  int64_t embedding = 0;   // tied with the head, counted once
  int64_t mixers = 0;      // projections, gates, convolutions, norms inside the mixer, memories
  int64_t ffn = 0;         // dense layers
  int64_t moe = 0;         // routed and shared experts, routers
  int64_t norms = 0;       // block norms and the final one
  int64_t loop = 0;        // injection
  int64_t hgf = 0;         // low-rank corrections beside ternary maps (inspect_ternary.cc)
  int64_t ternary = 0;     // in ternary matrices (0 with quantization off)
  int64_t floats = 0;      // everything that is neither ternary nor the embedding
  int64_t moe_active = 0;  // of moe, what one token touches in one pass over the layers
  int64_t active = 0;      // touched by one token at one loop, without the embedding
  int64_t active_with_head = 0;   // the same plus the full head
  std::vector<int64_t> executed;  // by loop count 1..loops_max: weights executed, without the head
};

struct ByteCounts {
  int64_t ternary = 0;       // in memory, 2.125 bits a weight: 2-bit codes, a 16-bit scale per 128
  int64_t ternary_file = 0;  // in weights.b158: the same, or 1.725 in base 3, 1.375 as Sherry
  int64_t embedding = 0;     // int8, or fewer bits with scales; float32 with quantization off
  int64_t floats = 0;        // float32
  int64_t weights = 0;       // the sum of those in memory
  int64_t stream_state = 0;  // recurrent state of one stream at the default loop count, bf16
};

// One line of the label table: what the file says, what the dimensions say.
struct LabelRow {
  std::string key;
  std::string label;
  std::string measured;  // empty: this part is not built yet, nothing to measure
};

struct ModelReport {
  std::string name;
  std::string version;
  ModelConfig model;
  std::vector<LayerRow> layers;
  ParameterCounts parameters;
  ByteCounts bytes;
  std::vector<LabelRow> labels;
  int claimed_keys = 0;
  int note_keys = 0;
  int pending_keys = 0;
  std::string trainable;  // empty, or why today's trainer refuses the model
};

// Weights of the corrections of one layer; routed experts have none;
// 0 unless quantization.hgf_correction is on. Maps that read one vector count as one.
int64_t CountCorrections(const ModelConfig& model, int layer);
// Bits a ternary weight takes in the file, with its share of the scale, and in memory: Sherry is
// unpacked when it is loaded.
double FileBitsPerTernary(const QuantConfig& quant);
double ServedBitsPerTernary(const QuantConfig& quant);

ParameterCounts CountParameters(const ModelConfig& model);
ByteCounts CountBytes(const ModelConfig& model);

absl::StatusOr<ModelReport> BuildReport(const Config& config);
std::string RenderReport(const ModelReport& report);  // tables for a terminal
std::string RenderReportJson(
    const ModelReport& report);  // keys: parameters, bytes, pending_keys ...

}  // namespace chimera
