// The packings of files: exact both ways, one packing a matrix, faults refused; and the quantizer
// of Sherry against its twin on every instruction set.
#include "ternary/packing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/cpu.h"
#include "base/philox.h"
#include "ternary/ternary_kernels.h"
#include "ternary/ternary_naive.h"

namespace chimera {
namespace {

using Bytes = std::vector<uint8_t>;

std::vector<Isa> Faster() {
  std::vector<Isa> isas;
  for (Isa isa : kEveryIsa) {
    if (isa != Isa::kBaseline && Runs(isa)) isas.push_back(isa);
  }
  return isas;
}

std::vector<float> Noise(int rows, int cols, uint32_t stream) {
  const PhiloxStream random(5, RngPurpose::kWeightInit, stream);
  std::vector<float> w(static_cast<size_t>(rows) * static_cast<size_t>(cols));
  for (size_t i = 0; i < w.size(); ++i) w[i] = random.Uniform(i) - 0.5f;
  return w;
}

struct Matrix {
  Bytes codes;
  std::vector<uint16_t> scales;
  TernaryView view;

  bool operator==(const Matrix& other) const {
    return codes == other.codes && scales == other.scales;
  }
};

Matrix Empty(int rows, int cols) {
  Matrix m;
  m.codes.assign(TernaryCodeBytes(rows, cols), 0xee);
  m.scales.assign(TernaryScaleCount(rows, cols), 0xeeee);
  m.view = {m.codes.data(), m.scales.data(), rows, cols};
  return m;
}

Matrix Ternary(const std::vector<float>& w, int rows, int cols) {
  Matrix m = Empty(rows, cols);
  QuantizeWeights(w.data(), rows, cols, m.codes.data(), m.scales.data());
  return m;
}

Matrix Sherry(Isa isa, const std::vector<float>& w, int rows, int cols) {
  Matrix m = Empty(rows, cols);
  QuantizeFor(isa).sherry(w.data(), rows, cols, m.codes.data(), m.scales.data(), 0, RowTiles(rows));
  return m;
}

const std::vector<std::pair<int, int>> kShapes = {{1, 64},   {16, 64},  {17, 128},
                                                  {20, 192}, {33, 320}, {48, 704}};

TEST(Base3, RoundTripIsExactAndSmaller) {
  for (const auto& [rows, cols] : kShapes) {
    const Matrix m = Ternary(Noise(rows, cols, 1), rows, cols);
    Bytes packed(Base3Bytes(rows, cols)), back(m.codes.size(), 0xee);
    PackBase3(m.codes.data(), rows, cols, packed.data());
    ASSERT_TRUE(Base3MatrixValid(packed.data(), rows, cols));
    UnpackBase3(packed.data(), rows, cols, back.data());
    EXPECT_EQ(back, m.codes) << rows << " x " << cols;
    EXPECT_LE(static_cast<double>(packed.size()) * 8, 1.6 * RowTiles(rows) * 16 * (cols + 16));
  }
}

TEST(Base3, ThirteenBytesStandForNothing) {
  std::set<Bytes> seen;
  int valid = 0;
  for (int byte = 0; byte < 256; ++byte) {
    uint8_t digits[5];
    Base3Digits(static_cast<uint8_t>(byte), digits);
    const bool whole = Base3Byte(digits) == byte;
    EXPECT_EQ(Base3Valid(static_cast<uint8_t>(byte)), whole);
    valid += whole;
    if (!whole) continue;
    EXPECT_TRUE(seen.insert(Bytes(digits, digits + 5)).second) << byte;
  }
  EXPECT_EQ(valid, 243);
}

// Row r's byte of four: column 20 t + 4 k + j is digit k of byte 64 t + 4 r + j.
TEST(Base3, LaysRowsInLanes) {
  const int rows = 19, cols = 64;
  const Matrix m = Ternary(Noise(rows, cols, 8), rows, cols);
  Bytes packed(Base3Bytes(rows, cols));
  PackBase3(m.codes.data(), rows, cols, packed.data());
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < cols; ++c) {
      uint8_t digits[5];
      Base3Digits(packed[size_t(r / 16 * 256 + c / 20 * 64 + r % 16 * 4 + c % 4)], digits);
      ASSERT_EQ(digits[c % 20 / 4] - 1, naive::Trit(m.view, r, c)) << r << " " << c;
    }
  }
}

TEST(Base3, EveryFaultyByteIsRefusedAnywhere) {
  const int rows = 3, cols = 64;
  const Matrix m = Ternary(Noise(rows, cols, 2), rows, cols);
  Bytes good(Base3Bytes(rows, cols));
  PackBase3(m.codes.data(), rows, cols, good.data());
  ASSERT_EQ(good.size(), 256u);
  for (size_t at = 0; at < good.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      Bytes bad = good;
      bad[at] = static_cast<uint8_t>(byte);
      uint8_t digits[5];
      Base3Digits(bad[at], digits);
      // Of the last tile only the first quad of columns is real, of the rows three.
      const size_t real = at % 64 / 4 >= size_t(rows) ? 0 : at / 64 == 3 ? 1 : 5;
      bool fine = Base3Valid(bad[at]);
      for (size_t k = real; k < 5; ++k) fine = fine && digits[k] == 1;
      ASSERT_EQ(Base3MatrixValid(bad.data(), rows, cols), fine) << at << ": " << byte;
    }
  }
}

// The same products as from two-bit codes, bit for bit, whatever the bytes of a stranger hold.
TEST(Base3, ProductsAreThoseOfTwoBitCodesOnEveryInstructionSet) {
  for (const auto& [rows, cols] : std::vector<std::pair<int, int>>{
           {1, 64}, {16, 128}, {17, 192}, {20, 320}, {33, 448}, {48, 704}, {16, 2560}}) {
    const Matrix m = Ternary(Noise(rows, cols, 9), rows, cols);
    Bytes packed(Base3Bytes(rows, cols));
    PackBase3(m.codes.data(), rows, cols, packed.data());
    TernaryView base3 = m.view;
    base3.codes = packed.data();
    base3.packing = TritPacking::kBase3;
    for (int n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 70}) {
      std::vector<float> x = Noise(n, cols, 10);
      for (size_t i = 0; i < x.size(); i += 3) x[i] = x[i] > 0 ? 0.5f : -0.5f;  // many at +-127
      Bytes scratch(x.size());
      auto* q = reinterpret_cast<int8_t*>(scratch.data());
      std::vector<float> s(x.size() / kActBlock), want(size_t(n * rows)), got;
      std::vector<int32_t> sums(s.size());
      QuantizeActivations(x.data(), n, cols, q, s.data(), sums.data());
      TernaryFor(Isa::kBaseline)
          .gemm(m.view, 0, RowTiles(rows), n, q, s.data(), sums.data(), want.data(), rows);
      for (Isa isa : kEveryIsa) {
        if (!Runs(isa)) continue;
        got.assign(want.size(), -1);
        TernaryFor(isa, TritPacking::kBase3)
            .gemm(base3, 0, RowTiles(rows), n, q, s.data(), sums.data(), got.data(), rows);
        ASSERT_EQ(got, want) << IsaName(isa) << " " << rows << " x " << cols << ", " << n;
      }
      if (HasVbmi()) {
        got.assign(want.size(), -1);
        Base3Lookup().gemm(base3, 0, RowTiles(rows), n, q, s.data(), sums.data(), got.data(), rows);
        ASSERT_EQ(got, want) << "by lookup " << rows << " x " << cols << ", " << n;
      }
    }
    // Bytes that stand for no trits have digits all the same, equal everywhere.
    const PhiloxStream random(7, RngPurpose::kWeightInit, 0);
    for (size_t i = 0; i < packed.size(); ++i) packed[i] = static_cast<uint8_t>(random.Word(i));
    const std::vector<float> x = Noise(2, cols, 11);
    std::vector<int8_t> q(x.size());
    std::vector<float> s(x.size() / kActBlock), want(size_t(2 * rows)), got(want.size());
    std::vector<int32_t> sums(s.size());
    QuantizeActivations(x.data(), 2, cols, q.data(), s.data(), sums.data());
    const auto run = [&](Isa isa, int n, float* y) {
      TernaryFor(isa, TritPacking::kBase3)
          .gemm(base3, 0, RowTiles(rows), n, q.data(), s.data(), sums.data(), y, rows);
    };
    run(Isa::kBaseline, 2, want.data());
    for (Isa isa : Faster()) {
      for (int n : {1, 2}) {
        run(isa, n, got.data());
        ASSERT_TRUE(std::equal(got.begin(), got.begin() + n * rows, want.begin()));
      }
    }
    if (HasVbmi()) {
      Base3Lookup().gemm(base3, 0, RowTiles(rows), 1, q.data(), s.data(), sums.data(), got.data(),
                         rows);
      ASSERT_TRUE(std::equal(got.begin(), got.begin() + rows, want.begin())) << "by lookup";
    }
  }
}

TEST(SherryPacking, RoundTripIsExact) {
  for (const auto& [rows, cols] : kShapes) {
    const Matrix m = Sherry(BestIsa(), Noise(rows, cols, 3), rows, cols);
    Bytes packed(SherryBytes(rows, cols)), back(m.codes.size(), 0xee);
    EXPECT_EQ(packed.size() * 32, size_t(rows) * size_t(cols) * 5);  // 1.25 bits a weight
    PackSherry(m.codes.data(), rows, cols, packed.data());
    UnpackSherry(packed.data(), rows, cols, back.data());
    EXPECT_EQ(back, m.codes) << rows << " x " << cols;
  }
}

// Every byte string is a matrix, and packing gives it back: no state is lost or doubled.
TEST(SherryPacking, EveryByteStringIsAMatrix) {
  const int rows = 5, cols = 192;
  const PhiloxStream random(6, RngPurpose::kWeightInit, 1);
  Bytes packed(SherryBytes(rows, cols));
  for (size_t i = 0; i < packed.size(); ++i) packed[i] = static_cast<uint8_t>(random.Word(i));
  Bytes codes(TernaryCodeBytes(rows, cols)), again(packed.size());
  UnpackSherry(packed.data(), rows, cols, codes.data());
  PackSherry(codes.data(), rows, cols, again.data());
  EXPECT_EQ(again, packed);
}

TEST(SherryQuantizer, FollowsItsTwinOnEveryInstructionSet) {
  for (const auto& [rows, cols] : kShapes) {
    const std::vector<float> w = Noise(rows, cols, 4);
    const Matrix first = Sherry(Isa::kBaseline, w, rows, cols);
    for (Isa isa : Faster()) EXPECT_TRUE(Sherry(isa, w, rows, cols) == first) << IsaName(isa);
    for (int r = 0; r < rows; ++r) {
      for (int g = 0; g < WeightGroups(cols); ++g) {
        const int begin = g * kWeightGroup, width = std::min(kWeightGroup, cols - begin);
        const std::vector<double> wide(w.begin() + r * cols + begin,
                                       w.begin() + r * cols + begin + width);
        std::vector<int> trits(static_cast<size_t>(width));
        const double scale = naive::SherryGroup(wide.data(), width, trits.data());
        EXPECT_NEAR(naive::Mu<double>(first.view, r, g), scale, scale * 0x1.01p-11);
        for (int c = 0; c < width; ++c) {
          ASSERT_EQ(naive::Trit(first.view, r, begin + c), trits[size_t(c)]) << r << " " << c;
        }
      }
    }
    for (int r = rows; r < RowTiles(rows) * kRowTile; ++r) {
      EXPECT_EQ(naive::Mu<float>(first.view, r, 0), 0.0f);
      for (int c = 0; c < cols; ++c) ASSERT_EQ(naive::Trit(first.view, r, c), 0);
    }
  }
}

// Whatever the weights, every block has exactly one zero and the scale is finite.
TEST(SherryQuantizer, WildValues) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (float wild : {0.0f, -0.0f, nan, inf, -inf, 3e38f, 1e-42f}) {
    for (int share : {1, 2, 3}) {  // every weight, every second, every third
      std::vector<float> w = Noise(2, 128, 5);
      for (size_t i = 0; i < w.size(); i += size_t(share)) w[i] = wild;
      const Matrix first = Sherry(Isa::kBaseline, w, 2, 128);
      for (Isa isa : Faster()) EXPECT_TRUE(Sherry(isa, w, 2, 128) == first) << wild;
      for (int r = 0; r < 2; ++r) {
        EXPECT_TRUE(std::isfinite(naive::Mu<float>(first.view, r, 0)));
        for (int b = 0; b < 128; b += 4) {
          int zeros = 0;
          for (int i = b; i < b + 4; ++i) zeros += naive::Trit(first.view, r, i) == 0;
          ASSERT_EQ(zeros, 1) << wild << " share " << share;
        }
      }
    }
  }
}

TEST(SherryQuantizer, TilesMayBeCut) {
  const std::vector<float> w = Noise(50, 128, 6);
  const Matrix whole = Sherry(BestIsa(), w, 50, 128);
  Matrix parts = Empty(50, 128);
  for (int tile = 0; tile < RowTiles(50); ++tile) {
    QuantizeSherry(w.data(), 50, 128, parts.codes.data(), parts.scales.data(), tile, tile + 1);
  }
  EXPECT_TRUE(parts == whole);
}

// Sherry is not the absmean quantizer: it keeps three weights of four.
TEST(SherryQuantizer, DiffersFromAbsmean) {
  const std::vector<float> w = Noise(16, 128, 7);
  EXPECT_NE(Sherry(BestIsa(), w, 16, 128).codes, Ternary(w, 16, 128).codes);
}

}  // namespace
}  // namespace chimera
