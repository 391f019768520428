// Every kernel against its obvious twin, bit for bit, on every instruction set this CPU runs
// (math-backbone 8.6).
#include "ternary/ternary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/cpu.h"
#include "base/philox.h"
#include "ternary/packing.h"
#include "ternary/ternary_kernels.h"
#include "ternary/ternary_naive.h"

namespace chimera {
namespace {

constexpr float kGuard = -12345.5f;  // no product gives it; marks what must stay untouched

std::vector<Isa> Isas() {
  std::vector<Isa> isas;
  for (Isa isa : kEveryIsa) {
    if (Runs(isa)) isas.push_back(isa);
  }
  return isas;
}

std::vector<float> Random(size_t n, uint32_t stream) {
  const PhiloxStream random(7, RngPurpose::kWeightInit, stream);
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i) x[i] = (random.Uniform(i) - 0.5f) * 0.37f;
  return x;
}

size_t Size(int a, int b) { return static_cast<size_t>(a) * static_cast<size_t>(b); }

// A matrix in both formats and quantized tokens.
struct Problem {
  Problem(int rows, int cols, int n_tokens)
      : Problem(rows, cols, n_tokens, Random(Size(rows, cols), 1),
                Random(Size(n_tokens, cols), 2)) {}
  Problem(int rows, int cols, int n_tokens, std::vector<float> weights, std::vector<float> inputs)
      : n(n_tokens), w(std::move(weights)), x(std::move(inputs)) {
    codes.resize(TernaryCodeBytes(rows, cols));
    mu.resize(TernaryScaleCount(rows, cols));
    rows_q.resize(Int8RowBytes(rows, cols));
    row_scale.resize(Int8RowScaleCount(rows));
    q.resize(x.size());
    s.resize(x.size() / kActBlock);
    sums.resize(s.size());
    QuantizeWeights(w.data(), rows, cols, codes.data(), mu.data());
    QuantizeInt8Rows(w.data(), rows, cols, rows_q.data(), row_scale.data());
    QuantizeActivations(x.data(), n, cols, q.data(), s.data(), sums.data());
    ternary = {codes.data(), mu.data(), rows, cols};
    int8 = {rows_q.data(), row_scale.data(), rows, cols};
  }
  int rows() const { return ternary.rows; }
  int cols() const { return ternary.cols; }
  int tiles() const { return RowTiles(rows()); }
  const int8_t* Q(int t) const { return q.data() + Size(t, cols()); }
  const float* S(int t) const { return s.data() + Size(t, cols() / kActBlock); }

  std::vector<float> NaiveTernary() const {
    std::vector<float> y;
    for (int t = 0; t < n; ++t) {
      for (int r = 0; r < rows(); ++r) y.push_back(naive::TernaryDot(ternary, r, Q(t), S(t)));
    }
    return y;
  }
  std::vector<float> NaiveInt8() const {
    std::vector<float> y;
    for (int t = 0; t < n; ++t) {
      for (int r = 0; r < rows(); ++r) y.push_back(naive::Int8Dot(int8, r, Q(t), S(t)));
    }
    return y;
  }

  int n;
  std::vector<float> w, x, s, row_scale;
  std::vector<uint8_t> codes;
  std::vector<uint16_t> mu;
  std::vector<int8_t> q, rows_q;
  std::vector<int32_t> sums;
  TernaryView ternary;
  Int8RowsView int8;
};

// Bits equal; ldy > rows, and nothing between the rows is touched.
void ExpectSame(const std::vector<float>& want, const std::vector<float>& got, int rows,
                int64_t ldy, const std::string& what) {
  for (size_t at = 0; at < got.size(); ++at) {
    const auto t = static_cast<int64_t>(at) / ldy, r = static_cast<int64_t>(at) % ldy;
    const float expected = r < rows ? want[static_cast<size_t>(t * rows + r)] : kGuard;
    ASSERT_EQ(std::memcmp(&expected, &got[at], sizeof(float)), 0)
        << what << " token " << t << " row " << r << ": " << expected << " against " << got[at];
  }
}

// Every path of both products.
void CheckProducts(const Problem& p) {
  const std::vector<float> want = p.NaiveTernary(), want8 = p.NaiveInt8();
  const int64_t ldy = p.rows() + 3;
  const auto size = static_cast<size_t>(ldy * p.n);
  const std::string shape = std::to_string(p.rows()) + " x " + std::to_string(p.cols()) +
                            " tokens " + std::to_string(p.n);
  for (Isa isa : Isas()) {
    std::vector<float> y(size, kGuard);
    for (TernaryGemmFunction* gemm : {TernaryFor(isa).gemm, TernaryFor(isa).gemm_beside}) {
      std::fill(y.begin(), y.end(), kGuard);
      gemm(p.ternary, 0, p.tiles(), p.n, p.q.data(), p.s.data(), p.sums.data(), y.data(), ldy);
      ExpectSame(want, y, p.rows(), ldy, std::string("ternary ") + IsaName(isa) + " " + shape);
    }
    std::fill(y.begin(), y.end(), kGuard);
    Int8For(isa).gemm(p.int8, 0, p.tiles(), p.n, p.q.data(), p.s.data(), y.data(), ldy);
    ExpectSame(want8, y, p.rows(), ldy, std::string("int8 ") + IsaName(isa) + " " + shape);
  }
  std::vector<float> y(size, kGuard);
  TernaryGemm(p.ternary, 0, p.tiles(), p.n, p.q.data(), p.s.data(), p.sums.data(), y.data(), ldy);
  ExpectSame(want, y, p.rows(), ldy, "ternary best " + shape);
  std::fill(y.begin(), y.end(), kGuard);
  Int8Gemm(p.int8, 0, p.tiles(), p.n, p.q.data(), p.s.data(), y.data(), ldy);
  ExpectSame(want8, y, p.rows(), ldy, "int8 best " + shape);
}

TEST(TernaryProducts, OddRows) {
  for (int rows = 1; rows <= 40; ++rows) CheckProducts(Problem(rows, 192, 3));
}

TEST(TernaryProducts, EveryTokenCount) {
  for (int n = 1; n <= 70; ++n) CheckProducts(Problem(20, 320, n));
}

TEST(TernaryProducts, EveryWidth) {
  for (int cols : {64, 128, 192, 320, 512, 576, 640, 704, 1728}) {
    for (int n : {1, 5, 16, 33}) CheckProducts(Problem(37, cols, n));
    CheckProducts(Problem(107, cols, 1));  // halves of three tiles, side by side, and one more
  }
}

TEST(TernaryProducts, ManyTiles) { CheckProducts(Problem(16 * 11, 256, 48)); }

TEST(TernaryProducts, ExtremeInputs) {
  const int rows = 18, cols = 320, n = 34;
  for (float sign : {1.0f, -1.0f}) {
    // Every q is +-127 and every trit of a row is equal, or alternates with the input.
    std::vector<float> w(Size(rows, cols)), x(Size(n, cols));
    for (size_t i = 0; i < w.size(); ++i) {
      const size_t row = i / size_t{cols};
      w[i] = row % 3 == 0 ? 1.0f : row % 3 == 1 ? -1.0f : (i % 2 == 0 ? 1.0f : -1.0f);
    }
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t token = i / size_t{cols};
      x[i] = token % 2 == 0 ? sign : (i % 2 == 0 ? sign : -sign);
    }
    const Problem p(rows, cols, n, w, x);
    for (int8_t q : p.q) ASSERT_EQ(std::abs(q), 127);
    EXPECT_EQ(naive::BlockSum(p.ternary, 0, 0, p.Q(0)), static_cast<int>(sign) * 64 * 127);
    CheckProducts(p);
  }
}

// A file may hold any byte: -128 weights still agree everywhere.
TEST(TernaryProducts, Int8MostNegative) {
  Problem p(16, 64, 17, std::vector<float>(16 * 64, 1.0f), std::vector<float>(17 * 64, -1.0f));
  std::fill(p.rows_q.begin(), p.rows_q.end(), int8_t{-128});
  CheckProducts(p);
}

TEST(TernaryProducts, ZeroInputs) {
  CheckProducts(Problem(17, 192, 18, std::vector<float>(17 * 192), Random(18 * 192, 3)));
  CheckProducts(Problem(17, 192, 18, Random(17 * 192, 3), std::vector<float>(18 * 192)));
}

TEST(TernaryProducts, TilesAndTokensMayBeCut) {
  const Problem p(75, 320, 40);
  const std::vector<float> want = p.NaiveTernary(), want8 = p.NaiveInt8();
  const int64_t ldy = p.rows();
  std::vector<float> y(Size(p.n, p.rows()), kGuard), y8 = y;
  const int blocks = p.cols() / kActBlock;
  for (auto [tile, tile_end] : {std::pair{3, 5}, {0, 0}, {0, 1}, {1, 3}, {5, 5}}) {
    for (auto [t, n] : {std::pair{17, 23}, {0, 17}}) {
      TernaryGemm(p.ternary, tile, tile_end, n, p.Q(t), p.S(t), p.sums.data() + t * blocks,
                  y.data() + t * ldy, ldy);
      Int8Gemm(p.int8, tile, tile_end, n, p.Q(t), p.S(t), y8.data() + t * ldy, ldy);
    }
  }
  ExpectSame(want, y, p.rows(), ldy, "ternary in parts");
  ExpectSame(want8, y8, p.rows(), ldy, "int8 in parts");
  std::vector<float> one(Size(1, p.rows())), one8 = one;
  TernaryGemv(p.ternary, 0, p.tiles(), p.Q(0), p.S(0), p.sums.data(), one.data());
  Int8Gemv(p.int8, 0, p.tiles(), p.Q(0), p.S(0), one8.data());
  ExpectSame(want, one, p.rows(), ldy, "ternary gemv");
  ExpectSame(want8, one8, p.rows(), ldy, "int8 gemv");
}

TEST(TernaryProducts, ListedTiles) {
  const Problem p(40, 192, 1);
  const std::vector<float> want = p.NaiveInt8();
  const int32_t tiles[] = {2, 0, 2};
  for (Isa isa : Isas()) {
    std::vector<float> y(48, kGuard);
    Int8For(isa).gemv_tiles(p.int8, tiles, 3, p.q.data(), p.s.data(), y.data());
    for (int i = 0; i < 48; ++i) {
      const int row = tiles[i / 16] * 16 + i % 16;
      EXPECT_EQ(y[static_cast<size_t>(i)], row < 40 ? want[static_cast<size_t>(row)] : 0.0f);
    }
  }
  std::vector<float> y(16);
  Int8GemvTiles(p.int8, tiles, 1, p.q.data(), p.s.data(), y.data());
  EXPECT_EQ(y[0], want[32]);
}

// Also for fewer tokens than the products above give it, and more than share a pass.
TEST(TernaryProducts, AmxGivesTheSameBits) {
  if (!HasAmxInt8()) GTEST_SKIP() << "this CPU has no AMX int8 tiles";
  for (auto [rows, cols, n] : {std::tuple{16, 64, 1},
                               {33, 128, 3},
                               {50, 1728, 16},
                               {210, 448, 16},
                               {150, 320, 11},
                               {70, 192, 17},
                               {130, 576, 81},
                               {7, 320, 257},
                               {48, 64, 300}}) {
    const Problem p(rows, cols, n);
    const std::vector<float> want = p.NaiveTernary();
    std::vector<float> y(Size(n, rows), kGuard);
    Amx().ternary_gemm(p.ternary, 0, p.tiles(), n, p.q.data(), p.s.data(), y.data(), rows);
    ExpectSame(want, y, rows, rows, "amx ternary");
    std::vector<uint8_t> packed(Base3Bytes(rows, cols));
    PackBase3(p.codes.data(), rows, cols, packed.data());
    TernaryView base3 = p.ternary;
    base3.codes = packed.data();
    base3.packing = TritPacking::kBase3;
    std::fill(y.begin(), y.end(), kGuard);
    Amx().ternary_gemm(base3, 0, p.tiles(), n, p.q.data(), p.s.data(), y.data(), rows);
    ExpectSame(want, y, rows, rows, "amx base 3");
    Amx().int8_gemm(p.int8, 0, p.tiles(), n, p.q.data(), p.s.data(), y.data(), rows);
    ExpectSame(p.NaiveInt8(), y, rows, rows, "amx int8");
  }
}

// The float order costs little against exact sums in double.
TEST(TernaryProducts, CloseToDouble) {
  const Problem p(40, 1728, 3);
  std::vector<double> s(p.s.begin(), p.s.end());
  const std::vector<float> y = p.NaiveTernary();
  for (int t = 0; t < p.n; ++t) {
    for (int r = 0; r < p.rows(); ++r) {
      const double want = naive::TernaryDot(p.ternary, r, p.Q(t), s.data() + t * 27);
      EXPECT_LE(
          std::fabs(static_cast<double>(y[Size(t, p.rows()) + static_cast<size_t>(r)]) - want),
          1e-5 * (1 + std::fabs(want)));
    }
  }
}

// Everything a quantizer table writes.
struct Quantized {
  std::vector<uint8_t> codes;
  std::vector<uint16_t> mu, w16, x16;
  std::vector<float> w, s, x, row_scale, row;
  std::vector<int8_t> q, rows;
  std::vector<int32_t> sums;

  Quantized(const QuantizeKernels& k, const Problem& p)
      : codes(p.codes.size(), 0xff),
        mu(p.mu.size(), 0xffff),
        w16(p.w.size()),
        x16(p.x.size()),
        w(p.w.size()),
        s(p.s.size()),
        x(p.x.size()),
        row_scale(p.row_scale.size(), -1.0f),
        row(Size(1, p.cols())),
        q(p.q.size()),
        rows(p.rows_q.size(), 1),
        sums(p.sums.size()) {
    k.weights(p.w.data(), p.rows(), p.cols(), codes.data(), mu.data(), 0, p.tiles());
    const TernaryView view = {codes.data(), mu.data(), p.rows(), p.cols()};
    k.weights_back(view, 0, p.tiles(), w.data());
    k.weights_back_bf16(view, 0, p.tiles(), w16.data());
    k.activations(p.x.data(), p.n, p.cols(), q.data(), s.data(), sums.data());
    k.activations_back(q.data(), s.data(), p.n, p.cols(), x.data());
    k.activations_back_bf16(q.data(), s.data(), p.n, p.cols(), x16.data());
    k.int8_rows(p.w.data(), p.rows(), p.cols(), rows.data(), row_scale.data(), 0, p.tiles());
    k.int8_row_back({rows.data(), row_scale.data(), p.rows(), p.cols()}, p.rows() - 1, row.data());
  }
  bool operator==(const Quantized&) const = default;
};

TEST(TernaryQuantizers, EqualOnEveryInstructionSet) {
  for (auto [rows, cols] : {std::pair{1, 64}, {16, 128}, {23, 192}, {40, 1728}}) {
    const Problem p(rows, cols, 5);
    const Quantized first(QuantizeFor(Isa::kBaseline), p);
    EXPECT_EQ(first.codes, p.codes);
    for (Isa isa : Isas()) EXPECT_TRUE(Quantized(QuantizeFor(isa), p) == first) << IsaName(isa);
  }
}

uint16_t Bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

TEST(TernaryQuantizers, WeightsFollowTheDefinition) {
  const int rows = 21, cols = 320;
  const Problem p(rows, cols, 1);
  const Quantized got(QuantizeFor(BestIsa()), p);
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < cols; ++c) {
      const size_t at = Size(r, cols) + static_cast<size_t>(c);
      const int first = c / kWeightGroup * kWeightGroup,
                width = std::min(kWeightGroup, cols - first);
      double sum = 0;
      for (int i = first; i < first + width; ++i)
        sum += std::fabs(p.w[Size(r, cols) + static_cast<size_t>(i)]);
      const double mean = sum / width + 1e-8,
                   mu = naive::Mu<double>(p.ternary, r, c / kWeightGroup);
      ASSERT_LE(std::fabs(mu - mean), mean * (0x1p-11 + 1e-6));  // half an fp16 step
      const double t =
          std::fmin(std::fmax(std::nearbyint(static_cast<double>(p.w[at]) / mu), -1.0), 1.0);
      ASSERT_EQ(naive::Trit(p.ternary, r, c), static_cast<int>(t));
      ASSERT_EQ(got.w[at], static_cast<float>(mu * t));
      ASSERT_EQ(got.w16[at], Bf16(got.w[at]));
    }
  }
  for (int r = rows; r < 32; ++r) {  // padding
    for (int c = 0; c < cols; ++c) ASSERT_EQ(naive::Trit(p.ternary, r, c), 0);
    for (int g = 0; g < WeightGroups(cols); ++g) ASSERT_EQ(naive::Mu<float>(p.ternary, r, g), 0.0f);
  }
}

TEST(TernaryQuantizers, ActivationsFollowTheDefinition) {
  const Problem p(1, 320, 7);
  const Quantized got(QuantizeFor(BestIsa()), p);
  for (size_t b = 0; b < p.s.size(); ++b) {
    int8_t q[kActBlock];
    ASSERT_EQ(got.s[b], naive::QuantizeBlock(p.x.data() + b * kActBlock, q));
    int32_t sum = 0;
    for (size_t i = 0; i < kActBlock; ++i) {
      const size_t at = b * kActBlock + i;
      ASSERT_EQ(got.q[at], q[i]);
      ASSERT_EQ(got.x[at], static_cast<float>(q[i]) * got.s[b]);
      ASSERT_EQ(got.x16[at], Bf16(got.x[at]));
      sum += q[i];
    }
    ASSERT_EQ(got.sums[b], sum);
  }
}

TEST(TernaryQuantizers, Int8RowsFollowTheDefinition) {
  const Problem p(19, 192, 1);
  for (int r = 0; r < 32; ++r) {
    if (r >= 19) {
      EXPECT_EQ(p.row_scale[static_cast<size_t>(r)], 0.0f);
      for (int c = 0; c < 192; ++c) ASSERT_EQ(naive::Int8Of(p.int8, r, c), 0);
      continue;
    }
    float peak = 0;
    for (int c = 0; c < 192; ++c)
      peak = std::fmax(peak, std::fabs(p.w[Size(r, 192) + static_cast<size_t>(c)]));
    const float scale = p.row_scale[static_cast<size_t>(r)];
    ASSERT_EQ(scale, peak / 127);
    std::vector<float> back(192);
    DequantizeInt8Row(p.int8, r, back.data());
    for (int c = 0; c < 192; ++c) {
      const int q = naive::Int8Of(p.int8, r, c);
      ASSERT_EQ(
          q, static_cast<int>(std::nearbyint(p.w[Size(r, 192) + static_cast<size_t>(c)] / scale)));
      ASSERT_EQ(back[static_cast<size_t>(c)], scale * static_cast<float>(q));
    }
  }
}

TEST(TernaryQuantizers, TritsSurviveRequantizing) {
  const Problem p(33, 320, 1);
  std::vector<float> dense(p.w.size());
  DequantizeWeights(p.ternary, 0, p.tiles(), dense.data());
  EXPECT_EQ(Problem(33, 320, 1, dense, p.x).codes, p.codes);
}

TEST(TernaryQuantizers, TilesMayBeCut) {
  const Problem p(40, 192, 1);
  std::vector<uint8_t> codes(p.codes.size());
  std::vector<uint16_t> mu(p.mu.size());
  std::vector<int8_t> rows(p.rows_q.size());
  std::vector<float> scale(p.row_scale.size()), dense(p.w.size()), whole(p.w.size());
  for (int tile : {2, 0, 1}) {
    QuantizeWeights(p.w.data(), 40, 192, codes.data(), mu.data(), tile, tile + 1);
    QuantizeInt8Rows(p.w.data(), 40, 192, rows.data(), scale.data(), tile, tile + 1);
    DequantizeWeights(p.ternary, tile, tile + 1, dense.data());
  }
  DequantizeWeights(p.ternary, 0, 3, whole.data());
  EXPECT_EQ(codes, p.codes);
  EXPECT_EQ(mu, p.mu);
  EXPECT_EQ(rows, p.rows_q);
  EXPECT_EQ(scale, p.row_scale);
  EXPECT_EQ(dense, whole);
}

TEST(TernaryQuantizers, DoublingTheInputKeepsQ) {
  const Problem p(1, 320, 4);
  std::vector<float> twice = p.x;
  for (float& x : twice) x *= 2;
  const Problem doubled(1, 320, 4, p.w, twice);
  EXPECT_EQ(doubled.q, p.q);
  EXPECT_EQ(doubled.sums, p.sums);
  for (size_t i = 0; i < p.s.size(); ++i) EXPECT_EQ(doubled.s[i], 2 * p.s[i]);
}

// A zero group has mu = 0, only zero trits and no NaN anywhere; so has a zero block.
TEST(TernaryQuantizers, ZeroGroup) {
  std::vector<float> w = Random(4 * 320, 5), x = Random(2 * 320, 6);
  std::fill(w.begin() + 128, w.begin() + 256, 0.0f);
  std::fill(x.begin() + 64, x.begin() + 128, 0.0f);
  const Problem p(4, 320, 2, w, x);
  EXPECT_EQ(naive::Mu<float>(p.ternary, 0, 1), 0.0f);
  for (int c = 128; c < 256; ++c) EXPECT_EQ(naive::Trit(p.ternary, 0, c), 0);
  EXPECT_EQ(p.s[1], 1e-8f);
  EXPECT_EQ(p.sums[1], 0);
  for (float y : p.NaiveTernary()) EXPECT_TRUE(std::isfinite(y));
  CheckProducts(p);
}

// Values a diverged run may hold: no undefined behaviour, codes stay in range, mu stays finite.
TEST(TernaryQuantizers, WildValues) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (float wild : {nan, inf, -inf, 3e38f, 1e-45f, 7e4f}) {
    std::vector<float> w = Random(16 * 64, 8), x = Random(64, 9);
    w[5] = wild;
    x[7] = wild;
    const Problem p(16, 64, 1, w, x);
    for (uint8_t code : p.codes) ASSERT_EQ(code & (code >> 1) & 0x55, 0);
    for (uint16_t mu : p.mu) ASSERT_NE(mu & 0x7c00, 0x7c00);
    for (int8_t q : p.q) ASSERT_NE(q, -128);
    const Quantized first(QuantizeFor(Isa::kBaseline), p);
    for (Isa isa : Isas()) {
      const Quantized other(QuantizeFor(isa), p);
      EXPECT_EQ(other.codes, first.codes) << wild << " " << IsaName(isa);
      EXPECT_EQ(other.mu, first.mu) << wild << " " << IsaName(isa);
      EXPECT_EQ(other.q, first.q) << wild << " " << IsaName(isa);
      EXPECT_EQ(other.s, first.s) << wild << " " << IsaName(isa);
    }
  }
}

// Quotients at halves and a few units in the last place beside them: there one that is not rounded
// as a division rounds it gives another integer.
TEST(TernaryQuantizers, QuotientsBesideHalvesRoundLikeDivisions) {
  constexpr int kBlocks = 64, kCols = kBlocks * 64;
  const std::vector<float> random = Random(512, 10);
  for (float base : random) {
    const float peak = std::ldexp(1.0f + std::fabs(base), static_cast<int>(base * 40));
    for (float most : {peak, std::nextafter(peak, 0.0f)}) {
      const float scale = most / 127;
      std::vector<float> x(kCols);
      for (int i = 0; i < kCols; ++i) {
        const float half = static_cast<float>(i / 2 % 254 - 127) + 0.5f;
        x[Size(i, 1)] = half * scale;
        const float towards = i % 2 != 0 ? 2 * x[Size(i, 1)] : 0.0f;
        for (int step = 0; step < i / 512 % 3; ++step) {
          x[Size(i, 1)] = std::nextafter(x[Size(i, 1)], towards);
        }
      }
      for (int b = 0; b < kBlocks; ++b) x[Size(b, 64)] = most;
      std::vector<int8_t> want(kCols);
      for (int b = 0; b < kBlocks; ++b) {
        naive::QuantizeBlock(x.data() + b * 64, want.data() + b * 64);
      }
      for (Isa isa : Isas()) {
        std::vector<int8_t> q(kCols);
        std::vector<float> s(kBlocks);
        std::vector<int32_t> sums(kBlocks);
        QuantizeFor(isa).activations(x.data(), 1, kCols, q.data(), s.data(), sums.data());
        ASSERT_EQ(q, want) << IsaName(isa) << " " << most;
      }
    }
  }
}

// Scales of every size: what fp16 gives back is the nearest half.
TEST(TernaryQuantizers, ScalesRoundToTheNearestHalf) {
  for (float mu = 1e-9f; mu < 2e5f; mu *= 1.37f) {
    const Problem p(1, 64, 1, std::vector<float>(64, mu), std::vector<float>(64));
    const double want = std::fmin(static_cast<double>(mu + 1e-8f), 65504.0);
    const auto got = p.mu[0];
    const double error = std::fabs(naive::HalfValue<double>(got) - want);
    for (int step : {-1, 1}) {
      const int other = got + step;
      if (other < 0 || other >= 0x7c00) continue;
      const double gap = std::fabs(naive::HalfValue<double>(static_cast<uint16_t>(other)) - want);
      EXPECT_LE(error, gap * (1 + 1e-6)) << mu;
    }
  }
}

}  // namespace
}  // namespace chimera
