// The golden ternary cases (tests/golden/ternary.json), against the kernels and their twins.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "ternary/packing.h"
#include "ternary/ternary.h"
#include "ternary/ternary_naive.h"

namespace chimera {
namespace {

using Json = nlohmann::json;

const Json& Golden() {
  static const Json* const golden = [] {
    const std::string path = std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/ternary.json";
    const auto text = ReadFile(path, 4 << 20);
    return new Json(text.ok() ? Json::parse(*text, nullptr, false) : Json());
  }();
  return *golden;
}

void Flatten(const Json& data, std::vector<double>* out) {
  if (data.is_array()) {
    for (const Json& item : data) Flatten(item, out);
  } else {
    out->push_back(data.get<double>());
  }
}

template <typename T>
std::vector<T> Array(const Json& array) {
  std::vector<double> flat;
  Flatten(array.at("data"), &flat);
  return std::vector<T>(flat.begin(), flat.end());
}

int Dim(const Json& array, size_t axis) { return array.at("shape").at(axis).get<int>(); }

template <typename Got>
void ExpectNear(const std::vector<Got>& got, const std::vector<double>& want, double tolerance,
                const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_LE(std::fabs(static_cast<double>(got[i]) - want[i]),
              tolerance * (1.0 + std::fabs(want[i])))
        << what << " at " << i;
  }
}

struct Packed {
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales;
  TernaryView view;
};

Packed Quantize(const std::vector<float>& w, int rows, int cols) {
  Packed p;
  p.codes.resize(TernaryCodeBytes(rows, cols));
  p.scales.resize(TernaryScaleCount(rows, cols));
  QuantizeWeights(w.data(), rows, cols, p.codes.data(), p.scales.data());
  p.view = {p.codes.data(), p.scales.data(), rows, cols};
  return p;
}

std::vector<double> Scales(const TernaryView& w) {
  std::vector<double> mu;
  for (int r = 0; r < w.rows; ++r) {
    for (int g = 0; g < WeightGroups(w.cols); ++g) mu.push_back(naive::Mu<double>(w, r, g));
  }
  return mu;
}

std::vector<int> Trits(const TernaryView& w) {
  std::vector<int> trits;
  for (int r = 0; r < w.rows; ++r) {
    for (int c = 0; c < w.cols; ++c) trits.push_back(naive::Trit(w, r, c));
  }
  return trits;
}

// dX and dW as the trainer forms them: products with the dequantized matrices.
struct Gradients {
  std::vector<float> x, w;
};
Gradients Backward(const TernaryView& w, int n, const std::vector<float>& dy, const int8_t* q,
                   const float* s) {
  std::vector<float> dense(static_cast<size_t>(w.rows * w.cols)),
      seen(static_cast<size_t>(n * w.cols));
  DequantizeWeights(w, 0, RowTiles(w.rows), dense.data());
  DequantizeActivations(q, s, n, w.cols, seen.data());
  Gradients grad{std::vector<float>(seen.size()), std::vector<float>(dense.size())};
  for (int t = 0; t < n; ++t) {
    for (int r = 0; r < w.rows; ++r) {
      const float d = dy[static_cast<size_t>(t * w.rows + r)];
      for (int c = 0; c < w.cols; ++c) {
        const auto at_x = static_cast<size_t>(t * w.cols + c),
                   at_w = static_cast<size_t>(r * w.cols + c);
        grad.x[at_x] += d * dense[at_w];
        grad.w[at_w] += d * seen[at_x];
      }
    }
  }
  return grad;
}

// mu, t, s, q, partial sums and y of one case, from its matrix and its (normed) input.
void CheckForward(const Json& c, const std::vector<float>& x, const Packed& packed, int n,
                  std::vector<int8_t>* q, std::vector<float>* s) {
  const Json& out = c.at("out");
  const TernaryView& view = packed.view;
  const int rows = view.rows, cols = view.cols, blocks = cols / kActBlock;
  EXPECT_EQ(Scales(view), Array<double>(out.at("mu")));
  EXPECT_EQ(Trits(view), Array<int>(out.at("t")));
  q->resize(x.size());
  s->resize(static_cast<size_t>(n * blocks));
  std::vector<int32_t> sums(s->size()), partial;
  QuantizeActivations(x.data(), n, cols, q->data(), s->data(), sums.data());
  EXPECT_EQ(*q, Array<int8_t>(out.at("q")));
  ExpectNear(*s, Array<double>(out.at("s")), 1e-7, "s");
  for (int t = 0; t < n; ++t) {
    for (int r = 0; r < rows; ++r) {
      for (int b = 0; b < blocks; ++b) {
        partial.push_back(naive::BlockSum(view, r, b, q->data() + t * cols));
      }
    }
  }
  EXPECT_EQ(partial, Array<int32_t>(out.at("partial")));
  std::vector<float> y(static_cast<size_t>(n * rows));
  TernaryGemm(view, 0, RowTiles(rows), n, q->data(), s->data(), sums.data(), y.data(), rows);
  ExpectNear(y, Array<double>(out.at("y")), 1e-5, "y");
}

TEST(TernaryGolden, Bitlinear) {
  ASSERT_TRUE(Golden().is_object());
  const Json& c = Golden().at("cases").at("bitlinear");
  const int rows = Dim(c.at("in").at("w"), 0), cols = Dim(c.at("in").at("w"), 1);
  const int n = Dim(c.at("in").at("x"), 0);
  const Packed packed = Quantize(Array<float>(c.at("in").at("w")), rows, cols);
  std::vector<int8_t> q;
  std::vector<float> s;
  CheckForward(c, Array<float>(c.at("in").at("x")), packed, n, &q, &s);

  const auto dy = Array<float>(c.at("in").at("dy"));
  const Gradients got = Backward(packed.view, n, dy, q.data(), s.data());
  ExpectNear(got.x, Array<double>(c.at("grad").at("x")), 1e-5, "dx");
  ExpectNear(got.w, Array<double>(c.at("grad").at("w")), 1e-5, "dw");
  ExpectNear(naive::BackwardX(packed.view, n, dy.data()), Array<double>(c.at("grad").at("x")), 1e-5,
             "naive dx");
  ExpectNear(naive::BackwardW(rows, cols, n, dy.data(), q.data(), s.data()),
             Array<double>(c.at("grad").at("w")), 1e-5, "naive dw");

  // Requantizing what was dequantized keeps the trits and shrinks mu (ERRATA, B 8.6).
  std::vector<float> dense(static_cast<size_t>(rows * cols));
  DequantizeWeights(packed.view, 0, RowTiles(rows), dense.data());
  const Packed again = Quantize(dense, rows, cols);
  EXPECT_EQ(again.codes, packed.codes);
  EXPECT_EQ(Scales(again.view), Array<double>(c.at("out").at("mu_of_dequantised")));
}

TEST(TernaryGolden, NormThenBitlinear) {
  const Json& c = Golden().at("cases").at("norm_bitlinear");
  const int rows = Dim(c.at("in").at("w"), 0), cols = Dim(c.at("in").at("w"), 1);
  const int n = Dim(c.at("in").at("x"), 0);
  const auto x = Array<double>(c.at("in").at("x")), gamma = Array<double>(c.at("in").at("gamma"));
  std::vector<float> normed;
  for (int t = 0; t < n; ++t) {
    double squares = 0;
    for (int i = 0; i < cols; ++i)
      squares += x[static_cast<size_t>(t * cols + i)] * x[static_cast<size_t>(t * cols + i)];
    const double inv = 1.0 / std::sqrt(squares / cols + 1e-6);
    for (int i = 0; i < cols; ++i) {
      normed.push_back(static_cast<float>(x[static_cast<size_t>(t * cols + i)] * inv *
                                          gamma[static_cast<size_t>(i)]));
    }
  }
  const Packed packed = Quantize(Array<float>(c.at("in").at("w")), rows, cols);
  std::vector<int8_t> q;
  std::vector<float> s;
  CheckForward(c, normed, packed, n, &q, &s);
  const Gradients got =
      Backward(packed.view, n, Array<float>(c.at("in").at("dy")), q.data(), s.data());
  ExpectNear(got.w, Array<double>(c.at("grad").at("w")), 1e-5, "dw");
}

TEST(TernaryGolden, RowsInLanes) {
  const Json& c = Golden().at("cases").at("rows_in_lanes");
  const int rows = Dim(c.at("in").at("t"), 0), cols = Dim(c.at("in").at("t"), 1);
  // The trits themselves are a matrix whose groups requantize to the same trits.
  const Packed packed = Quantize(Array<float>(c.at("in").at("t")), rows, cols);
  EXPECT_EQ(packed.codes, Array<uint8_t>(c.at("out").at("bytes")));
  const auto bytes = Array<uint8_t>(c.at("out").at("bytes"));
  const auto q = Array<int8_t>(c.at("in").at("q"));
  const auto s = Array<float>(c.at("in").at("s"));
  const auto sums = Array<int32_t>(c.at("out").at("sum_q"));

  // The golden mu as halves, through the quantizer: constant rows of magnitude mu.
  const auto mu = Array<float>(c.at("in").at("mu"));
  std::vector<float> constant;
  for (int r = 0; r < rows; ++r) {
    for (int i = 0; i < cols; ++i)
      constant.push_back(mu[static_cast<size_t>(r * 2 + i / kWeightGroup)]);
  }
  const Packed scales = Quantize(constant, rows, cols);
  const TernaryView view = {bytes.data(), scales.scales.data(), rows, cols};
  std::vector<int32_t> partial;
  for (int r = 0; r < rows; ++r) {
    for (int b = 0; b < cols / kActBlock; ++b)
      partial.push_back(naive::BlockSum(view, r, b, q.data()));
  }
  EXPECT_EQ(partial, Array<int32_t>(c.at("out").at("partial")));
  EXPECT_EQ(Scales(view), Array<double>(c.at("in").at("mu")));
  std::vector<float> y(static_cast<size_t>(rows));
  TernaryGemv(view, 0, RowTiles(rows), q.data(), s.data(), sums.data(), y.data());
  ExpectNear(y, Array<double>(c.at("out").at("y")), 1e-5, "y");
}

TEST(TernaryGolden, Base3) {
  const Json& c = Golden().at("cases").at("base3");
  const auto bytes = Array<int>(c.at("bytes"));
  ASSERT_EQ(bytes.size(), 243u);
  for (int n = 0; n < 243; ++n) {
    const uint8_t digits[5] = {uint8_t(n / 81), uint8_t(n / 27 % 3), uint8_t(n / 9 % 3),
                               uint8_t(n / 3 % 3), uint8_t(n % 3)};
    uint8_t back[5];
    EXPECT_EQ(Base3Byte(digits), bytes[size_t(n)]) << n;
    Base3Digits(static_cast<uint8_t>(bytes[size_t(n)]), back);
    EXPECT_EQ(std::vector<uint8_t>(back, back + 5), std::vector<uint8_t>(digits, digits + 5)) << n;
  }
  // The golden row of 37, five to a byte, put where our tiles take those five from: byte i of it is
  // byte i % 4 of row 0 in tile i / 4.
  const std::vector<float> row = Array<float>(c.at("row"));
  const auto want = Array<uint8_t>(c.at("row_bytes"));
  ASSERT_EQ(row.size(), 37u);
  ASSERT_EQ(want.size(), 8u);
  std::vector<float> placed(64);
  const auto at = [](size_t i) { return i / 4 * 20 + i % 4; };
  for (size_t i = 0; i < row.size(); ++i) placed[at(i / 5) + i % 5 * 4] = row[i];
  const Packed packed = Quantize(placed, 1, 64);
  std::vector<uint8_t> got(Base3Bytes(1, 64));
  PackBase3(packed.codes.data(), 1, 64, got.data());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(got[i / 4 * 64 + i % 4], want[i]) << i;
}

TEST(TernaryGolden, Sherry) {
  const Json& c = Golden().at("cases").at("sherry");
  const auto states = Array<int>(c.at("states"));  // [index][flip][column]
  for (int state = 0; state < 32; ++state) {
    // The state in block 5 of a row of zeros, the index of an odd block.
    uint8_t packed[10] = {};
    packed[2] = static_cast<uint8_t>(state / 2 << 4);
    packed[4] = static_cast<uint8_t>(state % 2 << 5);
    std::vector<uint8_t> codes(TernaryCodeBytes(1, 64));
    UnpackSherry(packed, 1, 64, codes.data());
    const TernaryView view = {codes.data(), nullptr, 1, 64};
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(naive::Trit(view, 0, 20 + i), states[size_t(4 * state + i)]) << state;
    }
  }

  const auto w = Array<float>(c.at("in").at("w"));
  std::vector<uint8_t> codes(TernaryCodeBytes(1, 128));
  std::vector<uint16_t> scales(TernaryScaleCount(1, 128));
  QuantizeSherry(w.data(), 1, 128, codes.data(), scales.data());
  const TernaryView view = {codes.data(), scales.data(), 1, 128};
  EXPECT_EQ(Trits(view), Array<int>(c.at("out").at("t")));
  const double scale = c.at("out").at("scale");
  EXPECT_NEAR(naive::Mu<double>(view, 0, 0), scale, scale * 0x1p-11) << "the nearest half";
  const auto wide = Array<double>(c.at("in").at("w"));
  int trits[128];
  EXPECT_NEAR(naive::SherryGroup(wide.data(), 128, trits), scale, 1e-15);
  EXPECT_EQ(std::vector<int>(trits, trits + 128), Array<int>(c.at("out").at("t")));

  std::vector<uint8_t> packed(SherryBytes(1, 128));
  ASSERT_EQ(packed.size(), 20u);  // 1.25 bits a weight
  PackSherry(codes.data(), 1, 128, packed.data());
  const auto index = Array<int>(c.at("out").at("index")), flip = Array<int>(c.at("out").at("flip"));
  for (size_t b = 0; b < 32; ++b) {
    const uint8_t* five = packed.data() + b / 8 * 5;
    EXPECT_EQ(five[b % 8 / 2] >> (b % 2 * 4) & 15, index[b]) << b;
    EXPECT_EQ(five[4] >> (b % 8) & 1, flip[b]) << b;
  }
}

}  // namespace
}  // namespace chimera
