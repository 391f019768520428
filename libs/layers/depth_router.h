// Guesses how many passes through the loop a token needs, before any is run: an MLP
// d_model -> 192 -> 6 with SiLU on the injected row e (math-backbone section 5; 492,870 parameters
// at d_model 2560). It reads what the prelude made of the tokens so far, so it is causal. Trained
// apart from the backbone, by train/depth_router_trainer.h. Free of Abseil.
#pragma once

#include <cstdint>
#include <vector>

#include "ternary/ternary.h"

namespace chimera {

inline constexpr int kDepthRouterHidden = 192;
inline constexpr int kDepthRouterDepths = 6;  // answers 1..6

// The float weights, as trained and stored. Value type.
struct DepthRouterParams {
  explicit DepthRouterParams(int d_model);

  int d_model;                     // a multiple of 64
  std::vector<float> hidden;       // [192][d_model]
  std::vector<float> hidden_bias;  // [192]
  std::vector<float> out;          // [6][192]
  std::vector<float> out_bias;     // [6]

  int64_t size() const;
};

// Buffers of a pass of up to n_max tokens, so that passes allocate nothing. Thread-compatible.
struct DepthRouterScratch {
  DepthRouterScratch(int d_model, int n_max);

  int n_max;
  std::vector<float> hidden;  // [n_max][192]
  std::vector<int8_t> q;
  std::vector<float> s;
  std::vector<int32_t> sums;
};

// The float form, for models without quantization. e [n][d_model] -> logits [n][6]; n up to
// scratch->n_max. The same bits on every instruction set, for any n.
void DepthRouterLogits(const DepthRouterParams& params, const float* e, int n,
                       DepthRouterScratch* scratch, float* logits);

// The form that serves: int8 rows, int8 activations, biases and SiLU in float. *Immutable*,
// thread-safe.
class DepthRouter {
 public:
  explicit DepthRouter(const DepthRouterParams& params);

  int d_model() const { return d_model_; }
  // As above, with the order of sums of ternary.h.
  void Logits(const float* e, int n, DepthRouterScratch* scratch, float* logits) const;
  // What its weights take in memory.
  int64_t bytes() const;

 private:
  int d_model_;
  std::vector<int8_t> hidden_, out_;
  std::vector<float> hidden_scale_, out_scale_, hidden_bias_, out_bias_;
};

// The depth 1..6 of the largest of six logits; ties to the smaller depth.
int LikeliestDepth(const float* logits);

// The depths the valve knows (section 5: low, medium, high): the smallest of 1, 2, 4 that is not
// below the depth, and 4 for everything deeper.
constexpr int CollapseDepth(int depth) { return depth <= 1 ? 1 : depth == 2 ? 2 : 4; }

}  // namespace chimera
