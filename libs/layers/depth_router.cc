#include "layers/depth_router.h"

#include <algorithm>

#include "base/check.h"
#include "tensor/vec.h"

namespace chimera {
namespace {

static_assert(kDepthRouterHidden % kActBlock == 0);

// h = SiLU(h + bias) of n rows.
void Activate(const float* bias, int n, float* h) {
  for (int t = 0; t < n; ++t, h += kDepthRouterHidden) {
    for (int i = 0; i < kDepthRouterHidden; i += 16) {
      Store(h + i, Silu(Load(h + i) + Load(bias + i)));
    }
  }
}

void AddBias(const float* bias, int n, float* logits) {
  for (int i = 0; i < n * kDepthRouterDepths; ++i) {
    logits[i] = logits[i] + bias[i % kDepthRouterDepths];
  }
}

void Product(const float* w, int rows, int cols, const float* x, int n, float* y) {
  for (int t = 0; t < n; ++t) {
    for (int r = 0; r < rows; ++r) {
      y[t * rows + r] = Dot(w + int64_t{r} * cols, x + int64_t{t} * cols, cols);
    }
  }
}

void QuantizedRows(const std::vector<float>& w, int rows, int cols, std::vector<int8_t>* q,
                   std::vector<float>* scale) {
  q->resize(Int8RowBytes(rows, cols));
  scale->resize(Int8RowScaleCount(rows));
  QuantizeInt8Rows(w.data(), rows, cols, q->data(), scale->data());
}

}  // namespace

DepthRouterParams::DepthRouterParams(int width)
    : d_model(width),
      hidden(size_t{kDepthRouterHidden} * static_cast<size_t>(width)),
      hidden_bias(kDepthRouterHidden),
      out(size_t{kDepthRouterDepths} * kDepthRouterHidden),
      out_bias(kDepthRouterDepths) {
  CHIMERA_CHECK(width > 0 && width % kActBlock == 0 && width <= kTernaryMaxCols);
}

int64_t DepthRouterParams::size() const {
  return static_cast<int64_t>(hidden.size() + hidden_bias.size() + out.size() + out_bias.size());
}

DepthRouterScratch::DepthRouterScratch(int d_model, int tokens) : n_max(tokens) {
  const auto n = static_cast<size_t>(tokens);
  const auto wide = static_cast<size_t>(std::max(d_model, kDepthRouterHidden));
  hidden.resize(n * kDepthRouterHidden);
  q.resize(n * wide);
  s.resize(n * wide / kActBlock);
  sums.resize(s.size());
}

void DepthRouterLogits(const DepthRouterParams& params, const float* e, int n,
                       DepthRouterScratch* scratch, float* logits) {
  CHIMERA_CHECK(n >= 1 && n <= scratch->n_max);
  float* h = scratch->hidden.data();
  Product(params.hidden.data(), kDepthRouterHidden, params.d_model, e, n, h);
  Activate(params.hidden_bias.data(), n, h);
  Product(params.out.data(), kDepthRouterDepths, kDepthRouterHidden, h, n, logits);
  AddBias(params.out_bias.data(), n, logits);
}

DepthRouter::DepthRouter(const DepthRouterParams& params)
    : d_model_(params.d_model), hidden_bias_(params.hidden_bias), out_bias_(params.out_bias) {
  QuantizedRows(params.hidden, kDepthRouterHidden, d_model_, &hidden_, &hidden_scale_);
  QuantizedRows(params.out, kDepthRouterDepths, kDepthRouterHidden, &out_, &out_scale_);
}

void DepthRouter::Logits(const float* e, int n, DepthRouterScratch* scratch, float* logits) const {
  CHIMERA_CHECK(n >= 1 && n <= scratch->n_max);
  CHIMERA_CHECK(scratch->q.size() >= static_cast<size_t>(n) * static_cast<size_t>(d_model_));
  float* h = scratch->hidden.data();
  int8_t* q = scratch->q.data();
  float* s = scratch->s.data();
  int32_t* sums = scratch->sums.data();
  QuantizeActivations(e, n, d_model_, q, s, sums);
  Int8Gemm({hidden_.data(), hidden_scale_.data(), kDepthRouterHidden, d_model_}, 0,
           RowTiles(kDepthRouterHidden), n, q, s, h, kDepthRouterHidden);
  Activate(hidden_bias_.data(), n, h);
  QuantizeActivations(h, n, kDepthRouterHidden, q, s, sums);
  Int8Gemm({out_.data(), out_scale_.data(), kDepthRouterDepths, kDepthRouterHidden}, 0,
           RowTiles(kDepthRouterDepths), n, q, s, logits, kDepthRouterDepths);
  AddBias(out_bias_.data(), n, logits);
}

int64_t DepthRouter::bytes() const {
  const size_t floats =
      hidden_scale_.size() + out_scale_.size() + hidden_bias_.size() + out_bias_.size();
  return static_cast<int64_t>(hidden_.size() + out_.size() + floats * sizeof(float));
}

int LikeliestDepth(const float* logits) {
  return 1 + static_cast<int>(std::max_element(logits, logits + kDepthRouterDepths) - logits);
}

}  // namespace chimera
