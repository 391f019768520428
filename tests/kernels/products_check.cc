#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "ternary/packing.h"
#include "ternary/ternary_kernels.h"
#include "ternary/ternary_naive.h"

namespace chimera {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

size_t Size(int a, int b) { return static_cast<size_t>(a) * static_cast<size_t>(b); }

// A matrix in every format, and quantized tokens: all by the level under test.
struct Problem {
  Problem(const QuantizeKernels& kernels, int n_rows, int n_cols, int n_tokens)
      : rows(n_rows),
        cols(n_cols),
        n(n_tokens),
        w(Noise(Size(rows, cols), 0.4f, 0.0f, static_cast<uint32_t>(rows))),
        x(Noise(Size(n, cols), 3.0f, 0.1f, static_cast<uint32_t>(cols))) {
    codes.resize(TernaryCodeBytes(rows, cols));
    mu.resize(TernaryScaleCount(rows, cols));
    rows_q.resize(Int8RowBytes(rows, cols));
    row_scale.resize(Int8RowScaleCount(rows));
    q.resize(x.size());
    s.resize(x.size() / kActBlock);
    sums.resize(s.size());
    // The second token is all extremes: every code is 127 or -127.
    for (int c = 0; n > 1 && c < cols; ++c)
      x[Size(1, cols) + Size(1, c)] = c % 3 == 0 ? -2.0f : 2.0f;
    kernels.weights(w.data(), rows, cols, codes.data(), mu.data(), 0, RowTiles(rows));
    kernels.int8_rows(w.data(), rows, cols, rows_q.data(), row_scale.data(), 0, RowTiles(rows));
    kernels.activations(x.data(), n, cols, q.data(), s.data(), sums.data());
    base3.resize(Base3Bytes(rows, cols));
    PackBase3(codes.data(), rows, cols, base3.data());
  }
  TernaryView two_bit_view() const { return {codes.data(), mu.data(), rows, cols}; }
  TernaryView base3_view() const {
    return {base3.data(), mu.data(), rows, cols, TritPacking::kBase3};
  }
  Int8RowsView int8_view() const { return {rows_q.data(), row_scale.data(), rows, cols}; }
  const int8_t* Q(int t) const { return q.data() + Size(t, cols); }
  const float* S(int t) const { return s.data() + Size(t, cols / kActBlock); }

  const int rows, cols, n;
  Floats w, x, s, row_scale;
  std::vector<uint8_t> codes, base3;
  std::vector<uint16_t> mu;
  std::vector<int8_t> q, rows_q;
  std::vector<int32_t> sums;
};

// The float of which the upper half of the bits is `half`.
double Bf16Value(uint16_t half) {
  const uint32_t bits = uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

void CheckActivations(const QuantizeKernels& kernels, const Problem& p, Check* check) {
  std::vector<int8_t> q(p.q.size());
  Floats s(p.s.size());
  std::vector<int32_t> sums(p.sums.size());
  for (size_t b = 0; b < s.size(); ++b) {
    int8_t* block = q.data() + b * kActBlock;
    s[b] = naive::QuantizeBlock(p.x.data() + b * kActBlock, block);
    for (int i = 0; i < kActBlock; ++i) sums[b] += block[i];
  }
  check->Same("activation codes", p.q, q);
  check->Same("activation scales", p.s, s);
  check->Same("activation sums", p.sums, sums);
  Floats back(p.x.size()), want(p.x.size());
  std::vector<uint16_t> halves(p.x.size());
  kernels.activations_back(p.q.data(), p.s.data(), p.n, p.cols, back.data());
  kernels.activations_back_bf16(p.q.data(), p.s.data(), p.n, p.cols, halves.data());
  for (size_t i = 0; i < want.size(); ++i)
    want[i] = p.s[i / kActBlock] * static_cast<float>(p.q[i]);
  check->Same("activations back", back, want);
  Floats wide(halves.size());
  for (size_t i = 0; i < halves.size(); ++i) wide[i] = static_cast<float>(Bf16Value(halves[i]));
  check->Close("activations back in bf16", wide, Wide(want), 1.0 / 256);
}

void CheckWeights(const QuantizeKernels& kernels, const Problem& p, Check* check) {
  const TernaryView view = p.two_bit_view();
  Doubles mean;
  Floats got_mean;
  std::vector<int8_t> got, want;
  for (int r = p.rows; r < RowTiles(p.rows) * kRowTile; ++r) {
    for (int c = 0; c < p.cols; ++c) {
      got.push_back(static_cast<int8_t>(naive::Trit(view, r, c)));
      want.push_back(0);
    }
  }
  for (int r = 0; r < p.rows; ++r) {
    for (int g = 0; g < WeightGroups(p.cols); ++g) {
      const int first = g * kWeightGroup, last = std::min(first + kWeightGroup, p.cols);
      double sum = 0;
      const float mu = naive::Mu<float>(view, r, g);
      for (int c = first; c < last; ++c) {
        const float w = p.w[Size(r, p.cols) + Size(1, c)];
        sum += std::abs(w);
        got.push_back(static_cast<int8_t>(naive::Trit(view, r, c)));
        const float rounded = std::nearbyint(w / mu);
        want.push_back(static_cast<int8_t>(std::clamp(rounded, -1.0f, 1.0f)));
      }
      got_mean.push_back(mu);
      mean.push_back(sum / (last - first));
    }
  }
  check->Same("trits", got, want);
  check->Close("weight scales", got_mean, mean, 1.0 / 2048);
  Floats back(p.w.size());
  std::vector<uint16_t> halves(p.w.size());
  kernels.weights_back(view, 0, RowTiles(p.rows), back.data());
  kernels.weights_back_bf16(view, 0, RowTiles(p.rows), halves.data());
  Floats exact(p.w.size()), wide(p.w.size());
  for (int r = 0; r < p.rows; ++r) {
    for (int c = 0; c < p.cols; ++c) {
      const size_t at = Size(r, p.cols) + Size(1, c);
      const auto trit = static_cast<float>(naive::Trit(view, r, c));
      exact[at] = naive::Mu<float>(view, r, c / kWeightGroup) * trit;
      wide[at] = static_cast<float>(Bf16Value(halves[at]));
    }
  }
  check->Close("weights back", back, Wide(exact), 0.0);
  check->Close("weights back in bf16", wide, Wide(exact), 1.0 / 256);
}

void CheckSherry(const QuantizeKernels& kernels, const Problem& p, Check* check) {
  std::vector<uint8_t> codes(p.codes.size());
  std::vector<uint16_t> mu(p.mu.size());
  kernels.sherry(p.w.data(), p.rows, p.cols, codes.data(), mu.data(), 0, RowTiles(p.rows));
  const TernaryView view = {codes.data(), mu.data(), p.rows, p.cols};
  std::vector<int> got, want;
  Floats got_mu;
  Doubles want_mu;
  for (int r = 0; r < p.rows; ++r) {
    for (int g = 0; g < WeightGroups(p.cols); ++g) {
      const int first = g * kWeightGroup, width = std::min(kWeightGroup, p.cols - first);
      const Floats& w = p.w;
      const auto from = w.begin() + static_cast<int64_t>(Size(r, p.cols)) + first;
      const Doubles group(from, from + width);
      int trits[kWeightGroup];
      want_mu.push_back(naive::SherryGroup(group.data(), width, trits));
      got_mu.push_back(naive::Mu<float>(view, r, g));
      for (int c = 0; c < width; ++c) {
        want.push_back(trits[c]);
        got.push_back(naive::Trit(view, r, first + c));
      }
    }
  }
  check->Same("Sherry trits", got, want);
  check->Close("Sherry scales", got_mu, want_mu, 1.0 / 2048);
}

void CheckInt8Rows(const QuantizeKernels& kernels, const Problem& p, Check* check) {
  std::vector<int> got, want;
  Floats scale(p.row_scale.size()), back(Size(p.rows, p.cols)), exact(back.size());
  for (int r = 0; r < p.rows; ++r) {
    float peak = 0;
    for (int c = 0; c < p.cols; ++c) {
      peak = std::max(peak, std::abs(p.w[Size(r, p.cols) + Size(1, c)]));
    }
    const float s = std::max(peak / 127, 1e-12f);
    scale[Size(1, r)] = s;
    kernels.int8_row_back(p.int8_view(), r, &back[Size(r, p.cols)]);
    for (int c = 0; c < p.cols; ++c) {
      const size_t at = Size(r, p.cols) + Size(1, c);
      got.push_back(naive::Int8Of(p.int8_view(), r, c));
      want.push_back(static_cast<int>(std::clamp(std::nearbyint(p.w[at] / s), -127.0f, 127.0f)));
      exact[at] = s * static_cast<float>(got.back());
    }
  }
  check->Same("int8 rows", got, want);
  check->Same("int8 row scales", p.row_scale, scale);
  check->Same("int8 rows back", back, exact);
}

struct Shape {
  int rows, cols, tokens;
};
constexpr Shape kShapes[] = {{37, 192, 3}, {16, 64, 1}, {20, 320, 19}, {5, 1728, 8}, {70, 576, 5}};

}  // namespace

void CheckQuantizers(Check* check) {
  const QuantizeKernels& kernels = QuantizeFor(check->isa());
  for (const Shape& shape : kShapes) {
    const Problem p(kernels, shape.rows, shape.cols, shape.tokens);
    CheckActivations(kernels, p, check);
    CheckWeights(kernels, p, check);
    CheckSherry(kernels, p, check);
    CheckInt8Rows(kernels, p, check);
    std::vector<uint8_t> again(p.codes.size());
    UnpackBase3(p.base3.data(), p.rows, p.cols, again.data());
    check->Same("base-3 bytes back", again, p.codes);
  }
}

void CheckProducts(Check* check) {
  const Isa isa = check->isa();
  for (const Shape& shape : kShapes) {
    const Problem p(QuantizeFor(isa), shape.rows, shape.cols, shape.tokens);
    const int tiles = RowTiles(p.rows);
    Floats want, want8;
    for (int t = 0; t < p.n; ++t) {
      for (int r = 0; r < p.rows; ++r) {
        want.push_back(naive::TernaryDot(p.two_bit_view(), r, p.Q(t), p.S(t)));
        want8.push_back(naive::Int8Dot(p.int8_view(), r, p.Q(t), p.S(t)));
      }
    }
    // Every number of tokens a pass over the weights takes at once, and one that cuts.
    for (int n = 1; n <= p.n; n = n < 8 ? n + 1 : p.n + (n == p.n)) {
      const Floats first(want.begin(), want.begin() + static_cast<int64_t>(Size(n, p.rows)));
      const Floats first8(want8.begin(), want8.begin() + static_cast<int64_t>(Size(n, p.rows)));
      Floats y(first.size());
      TernaryFor(isa).gemm(p.two_bit_view(), 0, tiles, n, p.q.data(), p.s.data(), p.sums.data(),
                           y.data(), p.rows);
      check->Same("two-bit product", y, first);
      std::fill(y.begin(), y.end(), 0.0f);
      TernaryFor(isa).gemm_beside(p.two_bit_view(), 0, tiles, n, p.q.data(), p.s.data(),
                                  p.sums.data(), y.data(), p.rows);
      check->Agree("two-bit product in the other shape", y, first);
      std::fill(y.begin(), y.end(), 0.0f);
      TernaryFor(isa, TritPacking::kBase3)
          .gemm(p.base3_view(), 0, tiles, n, p.q.data(), p.s.data(), p.sums.data(), y.data(),
                p.rows);
      check->Same("base-3 product", y, first);
      if (isa == Isa::kAvx512 && HasVbmi()) {
        std::fill(y.begin(), y.end(), 0.0f);
        Base3Lookup().gemm(p.base3_view(), 0, tiles, n, p.q.data(), p.s.data(), p.sums.data(),
                           y.data(), p.rows);
        check->Agree("base-3 product by lookup", y, first);
      }
      std::fill(y.begin(), y.end(), 0.0f);
      Int8For(isa).gemm(p.int8_view(), 0, tiles, n, p.q.data(), p.s.data(), y.data(), p.rows);
      check->Same("int8 product", y, first8);
    }
    const int32_t last = tiles - 1;
    Floats listed(kRowTile), tail(kRowTile);
    Int8For(isa).gemv_tiles(p.int8_view(), &last, 1, p.q.data(), p.s.data(), listed.data());
    std::copy(want8.begin() + last * kRowTile, want8.begin() + p.rows, tail.begin());
    check->Same("int8 listed tiles", listed, tail);
  }
}

}  // namespace chimera
