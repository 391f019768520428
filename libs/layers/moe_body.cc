// Routing and the weighted sum of experts, compiled once per instruction set; see moe.h.
#include "layers/moe.h"
#include "layers/native_vec.h"
#include "tensor/row_dots.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

void Scores(const float* x, const float* router, int64_t n_tokens, int n_experts, int d_model,
            float* scores) {
  RowDots(router, n_experts, x, static_cast<int>(n_tokens), d_model, scores, n_experts);
  for (int64_t t = 0; t < n_tokens; ++t, scores += n_experts) {
    for (int e = 0; e < n_experts; e += 16) {
      const int lanes = n_experts - e < 16 ? n_experts - e : 16;
      StoreLanes(scores + e, Sigmoid(LoadLanes(scores + e, lanes)), lanes);
    }
  }
}

// The expert with the largest s + bias, the first on ties, never `but`.
CHIMERA_VEC int Best(const float* s, const float* bias, int n_experts, int but) {
  int best = but == 0 ? 1 : 0;
  float top = s[best] + bias[best];
  for (int e = best + 1; e < n_experts; ++e) {
    const float score = s[e] + bias[e];
    if (e != but && score > top) {
      top = score;
      best = e;
    }
  }
  return best;
}

void Select(const float* scores, const float* bias, int64_t n_tokens, int n_experts, float scale,
            int32_t* picked, float* weights) {
  for (int64_t t = 0; t < n_tokens; ++t, scores += n_experts) {
    const int first = Best(scores, bias, n_experts, -1);
    const int second = Best(scores, bias, n_experts, first);
    const float sum = scores[first] + scores[second] + 1e-20f;
    picked[kMoePicks * t] = first;
    picked[kMoePicks * t + 1] = second;
    weights[kMoePicks * t] = scale * scores[first] / sum;
    weights[kMoePicks * t + 1] = scale * scores[second] / sum;
  }
}

void AddScaled(const float* x, float weight, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(y + i, Load(y + i) + Load(x + i) * weight);
  for (; i < n; ++i) y[i] = y[i] + x[i] * weight;
}

float AddScaledBackward(const float* x, float weight, const float* d_y, int64_t n, float* d_x) {
  const float along = Dot(d_y, x, static_cast<int>(n));
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(d_x + i, Load(d_y + i) * weight);
  for (; i < n; ++i) d_x[i] = d_y[i] * weight;
  return along;
}

}  // namespace

extern const MoeKernels kMoe;
const MoeKernels kMoe = {Scores, Select, AddScaled, AddScaledBackward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
