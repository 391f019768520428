// Mixture of experts, routing (math-backbone 6.1; arXiv 2408.15664): two of n_experts run a token.
//   l = Wr x,  s = sigmoid(l),  picks = top2(s + bias), ties to the lower index,
//   w_i = scale * s_i / (s_a + s_b + 1e-20),  y = shared(x) + sum over picks of w_i E_i(x)
// The bias steers the choice only (moe_balancer.h). An expert is a SwiGLU block,
// E(x) = Wd SubLN(SiLU(Wg x) * (Wu x)); the experts' matrices are stacked (ExpertRows below).
// Plain pointers, no allocation. Free of Abseil.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "ternary/ternary.h"

namespace chimera {

inline constexpr int kMoePicks = 2;         // experts of a token
inline constexpr int kMoeExpertsMax = 256;  // routed experts of a layer
inline constexpr int kMoeTokensMax = 256;   // tokens of one serving pass

// The same bits on every instruction set and for any cut into tokens. Tables are *immutable*.
struct MoeKernels {
  // x [n_tokens][d_model], router [n_experts][d_model] -> scores s [n_tokens][n_experts].
  void (*scores)(const float* x, const float* router, int64_t n_tokens, int n_experts, int d_model,
                 float* scores);
  // scores [n_tokens][n_experts], bias [n_experts] -> picked [n_tokens][2] with the better first,
  // two different experts whatever the scores hold, and weights [n_tokens][2] in that order.
  void (*select)(const float* scores, const float* bias, int64_t n_tokens, int n_experts,
                 float scale, int32_t* picked, float* weights);
  // y[i] = y[i] + weight * x[i], a product and a sum.
  void (*add_scaled)(const float* x, float weight, int64_t n, float* y);
  // d_x[i] = weight * d_y[i]; returns the sum of d_y[i] * x[i]. d_x may be x.
  float (*add_scaled_backward)(const float* x, float weight, const float* d_y, int64_t n,
                               float* d_x);
};

const MoeKernels& MoeFor(Isa isa);
const MoeKernels& Moe();  // the best for this CPU

// Tokens grouped by expert. A slot is one pick; expert e owns the slots from begin[e], tokens
// ascending; the first count[e] of them are real, the rest up to begin[e + 1] pads to `align`.
// A borrowed view of the caller's buffers.
struct MoeDispatch {
  int32_t* begin;  // [n_experts + 1]
  int32_t* count;  // [n_experts]
  int32_t* rows;   // [MoeSlots] token of a slot, -1 in padding
  float* weights;  // [MoeSlots] w of a slot, 0 in padding
  int32_t* slots;  // [n_tokens][2] the slots of a token, ascending: so is the expert
};

// Slots that DispatchTokens may use at most.
static constexpr int64_t MoeSlots(int64_t n_tokens, int n_experts, int align) {
  return kMoePicks * n_tokens + int64_t{n_experts} * (align - 1);
}

// Counting sort of what `select` gave. Each expert's share begins at a multiple of `align`.
// Adding experts' outputs in the order of their index makes y the same bits however tokens are
// grouped.
void DispatchTokens(const int32_t* picked, const float* weights, int64_t n_tokens, int n_experts,
                    int align, const MoeDispatch& out);

// Rows [expert * rows, (expert + 1) * rows) of experts' matrices stacked in one, as a matrix of its
// own: w_in [n_experts * 2 * d_expert][d_model] (gate rows, then up rows) with rows = 2 * d_expert,
// w_out [n_experts * d_model][d_expert] with rows = d_model. rows is a multiple of 16.
static inline TernaryView ExpertRows(const TernaryView& stacked, int expert, int rows) {
  const size_t tile = static_cast<size_t>(expert) * static_cast<size_t>(rows / kRowTile);
  const size_t groups = static_cast<size_t>(WeightGroups(stacked.cols));
  return {stacked.codes + tile * TileCodeBytes(stacked.packing, stacked.cols),
          stacked.scales + tile * groups * kRowTile, rows, stacked.cols, stacked.packing};
}

// dst[i] = src[rows[i]] for rows of row_bytes; a row of -1 is filled with zero bytes.
void MoeGather(const void* src, size_t row_bytes, const int32_t* rows, int64_t n, void* dst);

// One layer's router as it serves. A borrowed view.
struct MoeRouter {
  const float* weight = nullptr;  // [n_experts][d_model]
  const float* bias = nullptr;    // [n_experts]
  int n_experts = 0;              // 2..kMoeExpertsMax
  int d_model = 0;
  float scale = 1.0f;  // R
};

// Where up to kMoeTokensMax tokens go: allocate once, fill per pass. Expert e runs the tokens
// rows[begin[e]] .. rows[begin[e] + count[e] - 1]; afterwards each output is added to its row with
// weights[slot], experts ascending. Thread-compatible.
struct MoeRoute {
  int32_t begin[kMoeExpertsMax + 1];
  int32_t count[kMoeExpertsMax];
  int32_t rows[kMoePicks * kMoeTokensMax];
  float weights[kMoePicks * kMoeTokensMax];
  int32_t slots[kMoePicks * kMoeTokensMax];
  // As tokens picked them, before they are grouped.
  int32_t picked[kMoePicks * kMoeTokensMax];
  float picked_weights[kMoePicks * kMoeTokensMax];
};

// The picks of tokens [begin, end), which threads may share out: x [tokens][d_model] is the
// normalised input in float, before it is quantised; 0 <= begin < end <= kMoeTokensMax.
void PickExperts(const MoeRouter& router, const float* x, int begin, int end, MoeRoute* route);
// Groups the picks of tokens [0, n_tokens).
void GroupPicks(const MoeRouter& router, int n_tokens, MoeRoute* route);

}  // namespace chimera
