// Views into a mapped weights.b158 (docs/formats/b158.md), one struct per layer.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/huge_pages.h"
#include "config/model_config.h"
#include "layers/efla.h"
#include "layers/moe.h"
#include "layers/span_knot.h"
#include "layers/titans.h"
#include "model/head.h"
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
  DeltaRule rule = DeltaRule::kBeta;
};

struct MlstmWeights {
  LinearView w_in;  // q, k, v, output gate
  LinearView w_out;
  const float* w_gates = nullptr;    // [2 * n_heads][d_model]: input, forget
  const float* gate_bias = nullptr;  // [2 * n_heads]
  const float* head_norm = nullptr;
  const float* out_norm = nullptr;
};

// Shapes in layers/titans.h.
struct TitansWeights {
  LinearView w_in;  // q, the memory's k, v and q, the window's k and v
  LinearView w_out;
  TitansLayer layer;
  const float* w_gates = nullptr;     // [3 * n_heads][d_model]: theta, eta, alpha
  const float* block_norm = nullptr;  // [d_model] of the mean of a block
  const float* out_norm = nullptr;
};

struct SwigluWeights {
  LinearView w_in;  // gate, up
  LinearView w_out;
  const float* out_norm = nullptr;
};

// Routed experts, their matrices stacked; the shared expert is LayerWeights::ffn.
struct MoeWeights {
  MoeRouter router;
  LinearView w_in;                  // [n_routed * 2 * d_expert][d_model]
  LinearView w_out;                 // [n_routed * d_model][d_expert]
  const float* out_norm = nullptr;  // [n_routed][d_expert]
};

struct LayerWeights {
  LayerKind kind = LayerKind::kGatedDelta;
  FfnKind ffn_kind = FfnKind::kDense;
  const float* mixer_norm = nullptr;
  GatedDeltaWeights gd;  // GD and SK
  SpanKnotWeights sk;    // SK
  MlstmWeights xm;       // XM
  TitansWeights tm;      // TM
  const float* ffn_norm = nullptr;
  SwigluWeights ffn;  // the dense feed-forward, or the shared expert
  MoeWeights moe;
};

// The looped block's injection (math-backbone 4.2); empty without loops.
struct LoopWeights {
  const float* norm = nullptr;
  std::vector<float> abar;  // [d_model] what stays of the state per loop
  std::vector<float> bbar;  // [d_model] gain of the input
};

// Whether Map reads every byte of the file, or leaves that to Check.
enum class PayloadChecks { kNow, kLater };

// Immutable after Map; owns the map and what was repacked from it, so views live as long as it
// does.
class Weights {
 public:
  // Maps and checks the file as docs/formats/b158.md lists. DATA_LOSS names the fault.
  // With kLater the header, the table and every shape are checked, and payloads are not touched.
  static absl::StatusOr<Weights> Map(const std::string& path, const ModelConfig& config,
                                     PayloadChecks checks = PayloadChecks::kNow);
  Weights() = default;

  // What Map left out: the checksum and the values of every payload. config and path are those of
  // Map. CANCELLED, within one tensor, when *stop (may be null) became true.
  absl::Status Check(const std::string& path, const ModelConfig& config,
                     const std::atomic<bool>* stop) const;

  const std::vector<LayerWeights>& layers() const { return layers_; }
  const LoopWeights& loop() const { return loop_; }
  const HeadView& head() const { return head_; }  // the embedding, tied
  const float* final_norm() const { return final_norm_; }
  // The bytes of a tensor as PayloadBytes lays them out; the name must be in ModelLayout.
  std::span<const uint8_t> payload(const std::string& name) const { return payloads_.at(name); }
  std::span<const uint8_t> file() const { return file_.bytes(); }
  int64_t file_bytes() const { return static_cast<int64_t>(file_.bytes().size()); }
  // Of the file, the share on huge pages, as far as it has been read (base/huge_pages.h).
  double huge_page_share() const { return HugePageShare(file().data(), file().size()); }

 private:
  MmapFile file_;
  std::map<std::string, std::span<const uint8_t>> payloads_;
  RepackedTensors repacked_;
  std::vector<LayerWeights> layers_;
  LoopWeights loop_;
  HeadView head_;
  const float* final_norm_ = nullptr;
};

}  // namespace chimera
