#include "hdc/hypervector.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/philox.h"
#include "gtest/gtest.h"
#include "hdc/bundle_counter.h"
#include "hdc/features.h"
#include "hdc/golden_hdc.h"

namespace chimera {
namespace {

HyperVector Draw(int32_t index) { return FeatureCodebook(1).Code(TokenFeature(index)); }

std::vector<HyperVector> DrawMany(int count) {
  std::vector<HyperVector> vectors;
  for (int i = 0; i < count; ++i) vectors.push_back(Draw(i));
  return vectors;
}

TEST(Hypervector, GoldenAlgebra) {
  const nlohmann::json golden = GoldenHdcCase("algebra");
  const FeatureCodebook codebook(golden["codebook_seed"].get<uint64_t>());
  EXPECT_EQ(HexOf(codebook.tie()), golden["tie_vector"].get<std::string>());
  std::vector<HyperVector> v;
  for (uint8_t c = 0; c < 5; ++c) {
    v.push_back(codebook.Code(Xxh3(std::string_view(reinterpret_cast<const char*>(&c), 1))));
    EXPECT_EQ(HexOf(v[c]), golden["v"][c].get<std::string>());
  }
  EXPECT_EQ(HexOf(Bind(v[0], v[1])), golden["bind_v0_v1"].get<std::string>());
  for (const auto& [k, want] : golden["rotate_left_v0"].items()) {
    EXPECT_EQ(HexOf(Rotate(v[0], std::stoi(k))), want.get<std::string>()) << k;
  }
  const std::span<const HyperVector> all(v);
  EXPECT_EQ(HexOf(Bundle(all.first(3), codebook.tie())),
            golden["bundle_v0_v1_v2"].get<std::string>());
  EXPECT_EQ(HexOf(Bundle(all.first(4), codebook.tie())),
            golden["bundle_v0_to_v3_with_ties"].get<std::string>());
  for (int i = 0; i < 5; ++i) {
    for (int j = 0; j < 5; ++j) {
      EXPECT_EQ(Hamming(v[i], v[j]), golden["hamming"]["data"][i][j].get<int>());
    }
  }
}

TEST(Hypervector, GoldenXxh3) {
  std::string bytes;
  for (int i = 0; i < 1024; ++i) bytes += static_cast<char>(i % 256);
  int cases = 0;
  const nlohmann::json golden = GoldenHdcCase("xxh3");
  for (const nlohmann::json& known : golden["known_answers"]) {
    const auto want = std::stoull(known["hash"].get<std::string>(), nullptr, 16);
    EXPECT_EQ(Xxh3(std::string_view(bytes).substr(0, known["length"].get<size_t>())), want);
    ++cases;
  }
  EXPECT_EQ(cases, 10);
}

TEST(Hypervector, BindIsItsOwnInverseAndKeepsDistance) {
  const HyperVector a = Draw(1), b = Draw(2), c = Draw(3);
  EXPECT_EQ(Bind(Bind(a, b), b), a);
  EXPECT_EQ(Hamming(Bind(a, c), Bind(b, c)), Hamming(a, b));
  EXPECT_EQ(Hamming(a, a), 0);
  EXPECT_NEAR(Hamming(a, Bind(a, b)), 4096, 300);
}

TEST(Hypervector, RotateMovesEveryBit) {
  const HyperVector a = Draw(1);
  for (const int64_t k : {0L, 1L, 64L, 127L, 8191L, 8192L, -1L, -8193L, 123456789L}) {
    const HyperVector r = Rotate(a, k);
    for (int i = 0; i < kHyperBits; i += 7) {
      const auto to = static_cast<int>(((i + k) % kHyperBits + kHyperBits) % kHyperBits);
      ASSERT_EQ(r.Bit(to), a.Bit(i)) << k << " " << i;
    }
    EXPECT_EQ(Rotate(r, -k), a) << k;
  }
}

TEST(Hypervector, BytesRoundTrip) {
  const HyperVector a = Draw(9);
  EXPECT_EQ(FromBytes(ToBytes(a)), a);
  EXPECT_EQ(ToBytes(a)[9], static_cast<uint8_t>(a.words[1] >> 8));
  EXPECT_EQ(VectorOfHex(HexOf(a)), a);
}

TEST(Hypervector, BundleAgreesWithItsMembersAtTheKnownRate) {
  // 0.5 + C(n-1, (n-1)/2) / 2^n (C.1).
  const std::vector<HyperVector> v = DrawMany(63);
  for (const auto& [n, rate] : {std::pair{3, 0.750}, {5, 0.688}, {31, 0.572}, {63, 0.551}}) {
    const HyperVector bundle = Bundle(std::span(v).first(static_cast<size_t>(n)), Draw(1000));
    EXPECT_NEAR(1.0 - Hamming(bundle, v[1]) / 8192.0, rate, 0.025) << n;
  }
}

// Sums of plain integers, the obvious twin of the bit-sliced planes.
struct NaiveCounter {
  std::vector<int> acc = std::vector<int>(kHyperBits, 0);
  void Add(const HyperVector& v, int weight) {
    for (int i = 0; i < kHyperBits; ++i) acc[i] += v.Bit(i) ? weight : -weight;
  }
};

TEST(BundleCounter, EqualsPlainSumsAtEveryLength) {
  BundleCounter counter;
  NaiveCounter naive;
  const HyperVector tie = Draw(5000);
  std::array<int32_t, kHyperBits> sums;
  for (int32_t n = 0; n < 700; ++n) {  // far beyond the 63 that six planes would hold
    if (n < 70 || n % 97 == 0) {
      counter.SignedSums(sums);
      const HyperVector majority = counter.Majority(tie);
      for (int i = 0; i < kHyperBits; ++i) {
        ASSERT_EQ(sums[i], naive.acc[i]) << n << " " << i;
        ASSERT_EQ(majority.Bit(i), naive.acc[i] == 0 ? tie.Bit(i) : naive.acc[i] > 0) << n;
      }
    }
    const int weight = n % 3 == 0 ? 1 : 2;
    const HyperVector v = n % 5 == 0 ? Draw(0) : Draw(n);  // a repeated member makes large counts
    counter.Add(v, weight);
    naive.Add(v, weight);
  }
}

TEST(BundleCounter, ResetForgets) {
  BundleCounter counter;
  for (int32_t n = 0; n < 9; ++n) counter.Add(Draw(n), 2);
  counter.Reset();
  EXPECT_EQ(counter.total_weight(), 0u);
  counter.Add(Draw(3), 1);
  EXPECT_EQ(counter.Majority(Draw(4)), Draw(3));
}

TEST(BundleCounter, LargestCountIsExact) {
  BundleCounter counter;
  HyperVector one{};
  one.words[0] = 1;
  for (int32_t n = 0; n < 200001; ++n) counter.Add(one, 1);
  std::array<int32_t, kHyperBits> sums;
  counter.SignedSums(sums);
  EXPECT_EQ(sums[0], 200001);
  EXPECT_EQ(sums[1], -200001);
}

}  // namespace
}  // namespace chimera
