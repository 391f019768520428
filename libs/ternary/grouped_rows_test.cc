// Rows of 6 and 4 bits: kernels against the naive twin, bit for bit, on every instruction set.
#include "ternary/grouped_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/philox.h"
#include "ternary/half.h"
#include "ternary/ternary_kernels.h"
#include "ternary/ternary_naive.h"

namespace chimera {
namespace {

constexpr float kGuard = -12345.5f;  // no product gives it; marks what must stay untouched

std::vector<Isa> Isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa <= BestIsa()) isas.push_back(isa);
  }
  return isas;
}

// Sums of uniforms: more small values than large ones, as in a trained row.
std::vector<float> Random(size_t n, uint32_t stream) {
  const PhiloxStream random(11, RngPurpose::kWeightInit, stream);
  std::vector<float> x(n);
  for (size_t i = 0; i < n; ++i) {
    x[i] = random.Uniform(3 * i) + random.Uniform(3 * i + 1) + random.Uniform(3 * i + 2) - 1.5f;
  }
  return x;
}

size_t Size(int a, int b) { return static_cast<size_t>(a) * static_cast<size_t>(b); }

struct Packed {
  Packed(const std::vector<float>& w, int rows, int cols, int bits)
      : codes(GroupedCodeBytes(bits, rows, cols), 0xee),
        scales(GroupedScaleCount(rows, cols), 0xeeee),
        view{codes.data(), scales.data(), rows, cols, bits} {
    QuantizeGroupedRows(w.data(), rows, cols, bits, codes.data(), scales.data());
  }
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales;
  GroupedRowsView view;
};

struct Tokens {
  Tokens(const std::vector<float>& x, int n_tokens, int cols)
      : n(n_tokens), q(x.size()), s(x.size() / kActBlock), sums(s.size()) {
    QuantizeActivations(x.data(), n, cols, q.data(), s.data(), sums.data());
  }
  int n;
  std::vector<int8_t> q;
  std::vector<float> s;
  std::vector<int32_t> sums;
};

void ExpectBits(float want, float got, const std::string& what) {
  ASSERT_EQ(std::memcmp(&want, &got, sizeof(want)), 0) << what << ": " << want << " is " << got;
}

// Every path of the product of this matrix and these tokens.
void CheckProducts(const GroupedRowsView& w, const Tokens& in) {
  const int64_t ldy = w.rows + 3, blocks = w.cols / kActBlock;
  std::vector<float> want(static_cast<size_t>(in.n * ldy), kGuard);
  for (int t = 0; t < in.n; ++t) {
    for (int r = 0; r < w.rows; ++r) {
      want[static_cast<size_t>(t * ldy + r)] =
          naive::GroupedDot<float>(w, r, in.q.data() + Size(t, w.cols), in.s.data() + t * blocks);
    }
  }
  const std::string shape = std::to_string(w.bits) + " bits, " + std::to_string(w.rows) + " x " +
                            std::to_string(w.cols) + ", tokens " + std::to_string(in.n);
  for (Isa isa : Isas()) {
    const std::string what = std::string(IsaName(isa)) + " " + shape;
    std::vector<float> y(want.size(), kGuard);
    GroupedFor(isa).gemm(w, 0, RowTiles(w.rows), in.n, in.q.data(), in.s.data(), in.sums.data(),
                         y.data(), ldy);
    for (size_t i = 0; i < y.size(); ++i) ExpectBits(want[i], y[i], what);
    if (isa == Isa::kAvx512 && HasAmxInt8()) {
      std::fill(y.begin(), y.end(), kGuard);
      Amx().grouped_gemm(w, 0, RowTiles(w.rows), in.n, in.q.data(), in.s.data(), y.data(), ldy);
      for (size_t i = 0; i < y.size(); ++i) ExpectBits(want[i], y[i], "amx " + shape);
    }

    std::vector<int32_t> tiles;
    for (int tile = RowTiles(w.rows) - 1; tile >= 0; tile -= 2) tiles.push_back(tile);
    std::vector<float> few(tiles.size() * kRowTile + 1, kGuard);
    GroupedFor(isa).gemv_tiles(w, tiles.data(), static_cast<int>(tiles.size()), in.q.data(),
                               in.s.data(), in.sums.data(), few.data());
    for (size_t i = 0; i < few.size(); ++i) {
      const int row = i / 16 < tiles.size() ? tiles[i / 16] * 16 + static_cast<int>(i % 16) : -1;
      if (row >= w.rows) {
        ASSERT_EQ(few[i], 0.0f) << what << " padded row";
      } else {
        ExpectBits(row < 0 ? kGuard : want[static_cast<size_t>(row)], few[i], what + " tiles");
      }
    }
  }
}

TEST(GroupedProducts, EveryShapeAndTokenCount) {
  for (int bits : {4, 6}) {
    for (const auto& [rows, cols] : {std::pair{1, 64}, {16, 64}, {37, 192}, {70, 320}}) {
      const Packed w(Random(Size(rows, cols), 1), rows, cols, bits);
      for (int n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 70}) {
        CheckProducts(w.view, Tokens(Random(Size(n, cols), 2), n, cols));
      }
    }
  }
}

// The largest sums there are: no kernel may lose a bit of them.
TEST(GroupedProducts, ExtremeInputs) {
  const int rows = 18, cols = 128, n = 3;
  for (int bits : {4, 6}) {
    for (int sign : {1, -1}) {
      std::vector<float> w(Size(rows, cols)), x(Size(n, cols));
      for (size_t i = 0; i < w.size(); ++i) w[i] = (i / cols % 2 == 0 ? 1.0f : -1.0f) * 0.25f;
      for (size_t i = 0; i < x.size(); ++i) {
        const size_t token = i / cols;
        x[i] = static_cast<float>(token == 2 && i % 2 == 0 ? -sign : sign);
      }
      const Packed packed(w, rows, cols, bits);
      const Tokens tokens(x, n, cols);
      const int top = bits == 4 ? kLevelMax4 : kLevelMax6;
      ASSERT_EQ(naive::BlockSum(packed.view, 0, 0, tokens.q.data()), sign * top * 127 * 64);
      CheckProducts(packed.view, tokens);
    }
  }
}

// A file may hold any byte and any finite scale.
TEST(GroupedProducts, EveryByteIsAMatrix) {
  const int rows = 33, cols = 192, n = 5;
  const Tokens tokens(Random(Size(n, cols), 3), n, cols);
  const PhiloxStream random(13, RngPurpose::kDataShuffle, 0);
  for (int bits : {4, 6}) {
    Packed w(Random(Size(rows, cols), 1), rows, cols, bits);
    for (size_t i = 0; i < w.codes.size(); ++i) w.codes[i] = static_cast<uint8_t>(random.Word(i));
    for (size_t i = 0; i < w.scales.size(); ++i) {
      const uint32_t half = random.Word(w.codes.size() + i) & 0xffff;
      w.scales[i] = static_cast<uint16_t>((half & 0x7c00) == 0x7c00 ? half & 0x83ff : half);
    }
    for (int r = rows; r < 48; ++r) {  // padded rows stay zero
      for (int b = 0; b < cols / 64; ++b) {
        w.scales[static_cast<size_t>((r / 16 * (cols / 64) + b) * 16 + r % 16)] = 0;
      }
    }
    CheckProducts(w.view, tokens);
    for (Isa isa : Isas()) {
      std::vector<float> row(cols);
      for (int r = 0; r < rows; ++r) {
        GroupedFor(isa).row_back(w.view, r, row.data());
        for (int c = 0; c < cols; ++c) {
          const float level = static_cast<float>(naive::LevelOf(w.view, r, c));
          ExpectBits(naive::GroupedMu<float>(w.view, r, c / 64) * level,
                     row[static_cast<size_t>(c)], "row back");
        }
      }
    }
  }
}

TEST(GroupedProducts, TilesMayBeCut) {
  const int rows = 100, cols = 128, n = 9;
  const Tokens in(Random(Size(n, cols), 4), n, cols);
  for (int bits : {4, 6}) {
    const Packed w(Random(Size(rows, cols), 1), rows, cols, bits);
    std::vector<float> whole(Size(n, rows)), cut(Size(n, rows));
    GroupedGemm(w.view, 0, 7, n, in.q.data(), in.s.data(), in.sums.data(), whole.data(), rows);
    for (const auto& [begin, end] : {std::pair{0, 2}, {2, 3}, {3, 7}}) {
      GroupedGemm(w.view, begin, end, n, in.q.data(), in.s.data(), in.sums.data(), cut.data(),
                  rows);
    }
    EXPECT_EQ(whole, cut);
    Packed parts(Random(Size(rows, cols), 1), rows, cols, bits);
    std::fill(parts.codes.begin(), parts.codes.end(), 0xaa);
    const std::vector<float> again = Random(Size(rows, cols), 1);
    for (const auto& [begin, end] : {std::pair{0, 3}, {3, 7}}) {
      QuantizeGroupedRows(again.data(), rows, cols, bits, parts.codes.data(), parts.scales.data(),
                          begin, end);
    }
    EXPECT_EQ(parts.codes, w.codes);
    EXPECT_EQ(parts.scales, w.scales);
  }
}

// Squared error of a group at a scale; the same 16 lanes as every float sum.
float ErrorAt(int bits, const float* w, float mu) {
  float lanes[16] = {};
  for (int i = 0; i < kActBlock; ++i) {
    int level = 0;
    naive::NearestLevel(bits, w[i] / mu, &level);
    const float off = w[i] - mu * static_cast<float>(level);
    lanes[i % 16] = lanes[i % 16] + off * off;
  }
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
  }
  return lanes[0];
}

float RoundedHalf(float x) {
  uint16_t halves[16];
  StoreHalf(halves, Splat(x));
  return LoadHalf(halves)[0];
}

TEST(GroupedQuantizer, EqualsItsTwinOnEveryInstructionSet) {
  const int rows = 19, cols = 192;
  std::vector<float> w = Random(Size(rows, cols), 5);
  std::fill_n(w.begin() + 3 * cols + 64, 64, 0.0f);     // a group of zeros
  std::fill_n(w.begin() + 4 * cols, 64, 1e-9f);         // its scale is 0 as a half
  for (int i = 0; i < 64; ++i) w[size_t(i)] *= 1e-6f;   // subnormal halves
  for (int i = 64; i < 128; ++i) w[size_t(i)] *= 3e5f;  // scales beyond the midst
  for (int bits : {4, 6}) {
    const int top = bits == 4 ? kLevelMax4 : kLevelMax6;
    for (Isa isa : Isas()) {
      std::vector<uint8_t> codes(GroupedCodeBytes(bits, rows, cols));
      std::vector<uint16_t> scales(GroupedScaleCount(rows, cols));
      GroupedFor(isa).quantize(w.data(), rows, cols, bits, codes.data(), scales.data(), 0, 2);
      const GroupedRowsView view{codes.data(), scales.data(), rows, cols, bits};
      for (int r = 0; r < 32; ++r) {
        for (int b = 0; b < cols / 64; ++b) {
          const float* group = w.data() + r * cols + b * 64;
          const float got = naive::GroupedMu<float>(view, r, b);
          float mu = 0, least = 0, peak = 0;
          for (int i = 0; r < rows && i < 64; ++i) peak = std::fmax(peak, std::fabs(group[i]));
          for (int i = 0; i < 16; ++i) {
            const float scale =
                RoundedHalf(std::fmin(peak / float(top) * (float(40 - i) / 40.0f), 65504.0f));
            if (scale == 0) break;
            const float error = ErrorAt(bits, group, scale);
            if (i == 0 || error < least) {
              least = error;
              mu = scale;
            }
          }
          ASSERT_EQ(got, mu) << IsaName(isa) << " row " << r << " block " << b;
          for (int c = 0; c < 64; ++c) {
            int level = 0;
            if (mu > 0) naive::NearestLevel(bits, group[c] / mu, &level);
            ASSERT_EQ(naive::LevelOf(view, r, b * 64 + c), level) << r << ", " << b * 64 + c;
          }
        }
      }
    }
  }
}

TEST(GroupedQuantizer, ErrorsAreThoseOfTheBits) {
  const int rows = 64, cols = 256;
  const std::vector<float> w = Random(Size(rows, cols), 6);
  std::vector<float> back(cols);
  for (const auto& [bits, worst] : {std::pair{4, 0.10}, {6, 0.03}}) {
    const Packed packed(w, rows, cols, bits);
    double off = 0, all = 0;
    for (int r = 0; r < rows; ++r) {
      DequantizeGroupedRow(packed.view, r, back.data());
      for (int c = 0; c < cols; ++c) {
        const double value = w[Size(r, cols) + size_t(c)], d = back[size_t(c)] - value;
        off += d * d;
        all += value * value;
      }
    }
    EXPECT_LT(std::sqrt(off / all), worst) << bits;
    EXPECT_GT(std::sqrt(off / all), worst / 4) << bits << " bits cannot be that exact";
  }
}

TEST(GroupedQuantizer, StrangeValuesGiveAMatrix) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> w(Size(16, 64), 0.5f);
  w[3] = std::nanf("");
  w[64] = kInfinity;
  w[128] = -kInfinity;
  w[192] = 3e38f;
  for (int bits : {4, 6}) {
    const Packed packed(w, 16, 64, bits);
    for (uint16_t half : packed.scales) ASSERT_NE(half & 0x7c00, 0x7c00) << "finite";
    std::vector<float> back(64);
    DequantizeGroupedRow(packed.view, 0, back.data());
    EXPECT_EQ(back[3], 0.0f) << "NaN counts as 0";
    EXPECT_NEAR(back[4], 0.5f, 0.01f);
    const float top = static_cast<float>(bits == 4 ? kLevelMax4 : kLevelMax6) * 65504.0f;
    DequantizeGroupedRow(packed.view, 1, back.data());
    EXPECT_EQ(back[0], top);
    DequantizeGroupedRow(packed.view, 2, back.data());
    EXPECT_EQ(back[0], -top);
    DequantizeGroupedRow(packed.view, 3, back.data());
    EXPECT_EQ(back[0], top);
  }
}

}  // namespace
}  // namespace chimera
