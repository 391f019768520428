#include "layers/depth_router.h"

#include <cmath>
#include <string>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/swiglu_naive.h"

namespace chimera {
namespace {

DepthRouterParams Random(int d_model) {
  DepthRouterParams p(d_model);
  p.hidden = Noise(int64_t(p.hidden.size()), 2 / std::sqrt(float(d_model)), 0, 1);
  p.hidden_bias = Noise(kDepthRouterHidden, 0.3f, 0, 2);
  p.out = Noise(int64_t(p.out.size()), 0.2f, 0, 3);
  p.out_bias = Noise(kDepthRouterDepths, 0.5f, 0, 4);
  return p;
}

// What int8 activations keep of a row.
Doubles Rounded(const Doubles& x) {
  const Floats f = ToFloats(x);
  std::vector<int8_t> q(x.size());
  Floats s(x.size() / kActBlock), back(x.size());
  std::vector<int32_t> sums(s.size());
  QuantizeActivations(f.data(), 1, int(x.size()), q.data(), s.data(), sums.data());
  DequantizeActivations(q.data(), s.data(), 1, int(x.size()), back.data());
  return ToDoubles(back);
}

// What int8 rows keep of a matrix.
Floats RoundedRows(const Floats& w, int rows, int cols) {
  std::vector<int8_t> q(Int8RowBytes(rows, cols));
  Floats scale(Int8RowScaleCount(rows)), back(w.size());
  QuantizeInt8Rows(w.data(), rows, cols, q.data(), scale.data());
  for (int r = 0; r < rows; ++r) {
    DequantizeInt8Row({q.data(), scale.data(), rows, cols}, r, &back[size_t(r * cols)]);
  }
  return back;
}

Doubles NaiveLogits(const DepthRouterParams& p, const float* row, bool round) {
  Doubles e(row, row + p.d_model), h(kDepthRouterHidden), logits(kDepthRouterDepths);
  if (round) e = Rounded(e);
  for (size_t i = 0; i < h.size(); ++i) {
    double sum = p.hidden_bias[i];
    for (size_t c = 0; c < e.size(); ++c) sum += p.hidden[i * e.size() + c] * e[c];
    h[i] = NaiveSilu(sum);
  }
  if (round) h = Rounded(h);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = p.out_bias[i];
    for (size_t j = 0; j < h.size(); ++j) logits[i] += p.out[i * h.size() + j] * h[j];
  }
  return logits;
}

// |got - want|_2 / |want|_2
double RelativeError(const Floats& got, const Doubles& want) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return std::sqrt(error / norm);
}

TEST(DepthRouterTest, HasTheParametersOfTheConfiguration) {
  EXPECT_EQ(DepthRouterParams(2560).size(), 492'870);
  // Int8 weights, ten rows of padding under the six, floats for scales and biases.
  EXPECT_EQ(DepthRouter(DepthRouterParams(2560)).bytes(),
            192 * 2560 + 16 * 192 + 4 * (192 + 16 + 192 + 6));
}

TEST(DepthRouterTest, FloatFormMatchesTheTwinAndInt8TheTwinOfRoundedNumbers) {
  for (const int d : {64, 192, 320}) {
    const DepthRouterParams params = Random(d);
    DepthRouterParams rounded = params;
    rounded.hidden = RoundedRows(params.hidden, kDepthRouterHidden, d);
    rounded.out = RoundedRows(params.out, kDepthRouterDepths, kDepthRouterHidden);
    const DepthRouter router(params);
    const int n = 21;
    const Floats e = Noise(n * d, 1.7f, 0, 9);
    DepthRouterScratch scratch(d, n);
    Floats exact(size_t(n * 6)), served(exact);
    DepthRouterLogits(params, e.data(), n, &scratch, exact.data());
    router.Logits(e.data(), n, &scratch, served.data());
    Doubles want, want_served;
    for (int t = 0; t < n; ++t) {
      const Doubles row = NaiveLogits(params, &e[size_t(t * d)], false);
      const Doubles row_served = NaiveLogits(rounded, &e[size_t(t * d)], true);
      want.insert(want.end(), row.begin(), row.end());
      want_served.insert(want_served.end(), row_served.begin(), row_served.end());
    }
    ExpectClose(exact, want, 1e-5, "float");
    // A hidden value on a rounding edge may fall to the other side: norms, not elements.
    EXPECT_LT(RelativeError(served, want_served), 1e-3);
    EXPECT_LT(RelativeError(served, want), 3e-2) << "what int8 costs";
    EXPECT_GT(RelativeError(served, want), 1e-4) << "quantization must act";
    RecordProperty("int8_error_" + std::to_string(d), std::to_string(RelativeError(served, want)));
  }
}

TEST(DepthRouterTest, ATokenDoesNotDependOnItsCompany) {
  const int d = 128, n = 40;  // more than one group of 16
  const DepthRouterParams params = Random(d);
  const DepthRouter router(params);
  const Floats e = Noise(n * d, 1, 0, 5);
  DepthRouterScratch scratch(d, n);
  Floats all(size_t(n * 6)), alone(all), all_float(all), alone_float(all);
  router.Logits(e.data(), n, &scratch, all.data());
  DepthRouterLogits(params, e.data(), n, &scratch, all_float.data());
  for (int t = 0; t < n; ++t) {
    router.Logits(&e[size_t(t * d)], 1, &scratch, &alone[size_t(t * 6)]);
    DepthRouterLogits(params, &e[size_t(t * d)], 1, &scratch, &alone_float[size_t(t * 6)]);
  }
  ExpectSame(alone, all, "int8");
  ExpectSame(alone_float, all_float, "float");
}

TEST(DepthRouterTest, DepthsAndTheirCollapse) {
  const float tie[6] = {1, 3, 3, 0, 3, 2}, last[6] = {0, 0, 0, 0, 0, 1};
  EXPECT_EQ(LikeliestDepth(tie), 2);
  EXPECT_EQ(LikeliestDepth(last), 6);
  const int want[7] = {0, 1, 2, 4, 4, 4, 4};
  for (int depth = 1; depth <= 6; ++depth) EXPECT_EQ(CollapseDepth(depth), want[depth]);
}

}  // namespace
}  // namespace chimera
