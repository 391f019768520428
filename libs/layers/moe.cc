#include "layers/moe.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace chimera {

void DispatchTokens(const int32_t* picked, const float* weights, int64_t n_tokens, int n_experts,
                    int align, const MoeDispatch& out) {
  std::fill_n(out.count, n_experts, 0);
  for (int64_t i = 0; i < kMoePicks * n_tokens; ++i) ++out.count[picked[i]];
  out.begin[0] = 0;
  for (int e = 0; e < n_experts; ++e) {
    out.begin[e + 1] = out.begin[e] + (out.count[e] + align - 1) / align * align;
    for (int32_t pad = out.begin[e] + out.count[e]; pad < out.begin[e + 1]; ++pad) {
      out.rows[pad] = -1;
      out.weights[pad] = 0.0f;
    }
    out.count[e] = 0;  // counted again below, as the share fills
  }
  for (int64_t t = 0; t < n_tokens; ++t) {
    int32_t* slots = out.slots + kMoePicks * t;
    for (int pick = 0; pick < kMoePicks; ++pick) {
      const int32_t expert = picked[kMoePicks * t + pick];
      const int32_t slot = out.begin[expert] + out.count[expert]++;
      out.rows[slot] = static_cast<int32_t>(t);
      out.weights[slot] = weights[kMoePicks * t + pick];
      slots[pick] = slot;
    }
    if (slots[0] > slots[1]) std::swap(slots[0], slots[1]);
  }
}

void MoeGather(const void* src, size_t row_bytes, const int32_t* rows, int64_t n, void* dst) {
  const char* from = static_cast<const char*>(src);
  char* to = static_cast<char*>(dst);
  for (int64_t i = 0; i < n; ++i, to += row_bytes) {
    if (rows[i] < 0) {
      std::memset(to, 0, row_bytes);
    } else {
      std::memcpy(to, from + static_cast<size_t>(rows[i]) * row_bytes, row_bytes);
    }
  }
}

void PickExperts(const MoeRouter& router, const float* x, int begin, int end, MoeRoute* route) {
  constexpr int kAtOnce = 16;
  CHIMERA_CHECK(begin >= 0 && begin < end && end <= kMoeTokensMax);
  CHIMERA_CHECK(router.n_experts >= kMoePicks && router.n_experts <= kMoeExpertsMax);
  float scores[kAtOnce * kMoeExpertsMax];
  for (int t = begin; t < end; t += kAtOnce) {
    const int n = std::min(kAtOnce, end - t);
    Moe().scores(x + int64_t{t} * router.d_model, router.weight, n, router.n_experts,
                 router.d_model, scores);
    Moe().select(scores, router.bias, n, router.n_experts, router.scale,
                 route->picked + kMoePicks * t, route->picked_weights + kMoePicks * t);
  }
}

void GroupPicks(const MoeRouter& router, int n_tokens, MoeRoute* route) {
  CHIMERA_CHECK(n_tokens >= 1 && n_tokens <= kMoeTokensMax);
  DispatchTokens(route->picked, route->picked_weights, n_tokens, router.n_experts, 1,
                 {route->begin, route->count, route->rows, route->weights, route->slots});
}

}  // namespace chimera
