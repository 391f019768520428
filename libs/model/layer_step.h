// One layer of the serving plane: x += Mixer(x), x += FFN(x) for a few tokens of one stream, with
// the step kernels and no tape. The training form is model/network_layer.h.
#pragma once

#include <cstdint>
#include <vector>

#include "model/linear_step.h"
#include "model/weights.h"

namespace chimera {

// Sums over gates since they were last taken, for telemetry only.
struct GateSums {
  double alpha = 0;
  double beta = 0;
  int64_t count = 0;
};

// Scratch of a running stream: nothing allocates after the constructor. Thread-compatible.
class LayerStep {
 public:
  LayerStep(const ModelConfig& config, int max_tokens, ExecContext* exec);

  // x [n][d_model] is updated; state is this layer's slab of this iteration.
  void Run(const LayerWeights& layer, int n, float* state, float* x);

  LinearStep& linear() { return linear_; }
  GateSums& gate_sums() { return gate_sums_; }

 private:
  void GatedDeltaMixer(const GatedDeltaWeights& w, int n, float* state);
  void MlstmMixer(const MlstmWeights& w, int n, float* state);
  // The input is the normalised rows that linear_ holds, the output delta_.
  void SwigluFfn(const SwigluWeights& w, int n);
  void MoeFfn(const LayerWeights& layer, int n);
  void AddDelta(int n, float* x) const;

  const ModelConfig& c_;
  LinearStep linear_;
  std::vector<float> delta_;      // [n][d_model] what a branch adds
  std::vector<float> projected_;  // input projections of a branch
  std::vector<float> mixed_;      // before the output projection
  std::vector<float> gates_;
  // Experts: the rows of one of them, its hidden rows and its output.
  LinearStep expert_;
  std::vector<float> ffn_in_, expert_out_;
  MoeRoute route_;
  GateSums gate_sums_;
};

}  // namespace chimera
