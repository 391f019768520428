// Every level equals the naive twins bit for bit, and the laws of the algebra hold on each of them.
#include "hdc/hyper_kernels.h"

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "base/philox.h"
#include "gtest/gtest.h"
#include "hdc/bundle_counter.h"
#include "hdc/features.h"
#include "hdc/hyper_naive.h"
#include "hdc/hypervector.h"
#include "hdc/sketch.h"

namespace chimera {
namespace {

HyperVector Draw(int32_t index) { return FeatureCodebook(7).Code(TokenFeature(index)); }

// Random vectors, and those where counters run over: all ones, none, single bits at the ends.
std::vector<HyperVector> Vectors() {
  std::vector<HyperVector> v;
  for (int32_t i = 0; i < 6; ++i) v.push_back(Draw(i));
  v.push_back(HyperVector{});
  v.emplace_back().words.fill(~uint64_t{0});
  v.push_back(HyperVector{});
  v.back().words[127] = uint64_t{1} << 63;
  v.push_back(HyperVector{});
  v.back().words[0] = 1;
  return v;
}

const uint64_t* Words(const HyperVector& v) { return v.words.data(); }

HyperVector VectorOf(const NaiveBits& bits) {
  HyperVector v;
  std::copy(bits.begin(), bits.end(), v.words.begin());
  return v;
}

class HyperLevels : public testing::TestWithParam<const HyperKernels*> {
 protected:
  const HyperKernels& kernels() const { return *GetParam(); }

  HyperVector Bind(const HyperVector& a, const HyperVector& b) const {
    HyperVector out;
    kernels().bind(Words(a), Words(b), out.words.data());
    return out;
  }
  HyperVector Rotate(const HyperVector& a, int left) const {
    HyperVector out;
    kernels().rotate(Words(a), left, out.words.data());
    return out;
  }
  uint32_t Distance(const HyperVector& a, const HyperVector& b) const {
    return kernels().hamming(Words(a), Words(b));
  }
};

TEST_P(HyperLevels, BindAndRotateEqualTheTwins) {
  const std::vector<HyperVector> v = Vectors();
  for (const HyperVector& a : v) {
    for (const HyperVector& b : v) {
      ASSERT_EQ(Bind(a, b), VectorOf(NaiveBind(Words(a), Words(b))));
    }
    for (const int left : {0, 1, 63, 64, 65, 127, 128, 4096, 5001, 8127, 8128, 8191}) {
      ASSERT_EQ(Rotate(a, left), VectorOf(NaiveRotate(Words(a), left))) << left;
    }
    HyperVector in_place = a;
    kernels().bind(Words(in_place), Words(v[0]), in_place.words.data());
    ASSERT_EQ(in_place, Bind(a, v[0]));
  }
}

TEST_P(HyperLevels, HammingEqualsTheTwin) {
  const std::vector<HyperVector> v = Vectors();
  for (const HyperVector& a : v) {
    for (const HyperVector& b : v) {
      const uint32_t want = NaiveHamming(Words(a), Words(b));
      ASSERT_EQ(Distance(a, b), want);
      for (const uint32_t limit : {0u, 1u, 64u, 900u, 1100u, 2048u, 4096u, 8192u}) {
        const uint32_t got = kernels().hamming_within(Words(a), Words(b), limit);
        if (want <= limit) {
          ASSERT_EQ(got, want) << limit;
        } else {
          ASSERT_GT(got, limit) << want;
        }
      }
    }
  }
  const int n = static_cast<int>(v.size());
  std::vector<uint32_t> out(static_cast<size_t>(3 * n));
  kernels().hamming_rows(Words(v[1]), 3, Words(v[0]), n, out.data());
  for (int r = 0; r < n; ++r) {
    for (int q = 0; q < 3; ++q) EXPECT_EQ(out[3 * r + q], Distance(v[1 + q], v[r]));
  }
}

TEST_P(HyperLevels, PickTakesTheBitsAtThePositions) {
  const PhiloxStream dice(2, RngPurpose::kDataShuffle, 0);
  std::vector<std::array<uint16_t, PickPlan::kPositions>> all(4);
  for (size_t i = 0; i < PickPlan::kPositions; ++i) {
    all[0][i] = dice.Word(i) % kHyperBits;
    all[1][i] = static_cast<uint16_t>(kHyperBits - 1 - i / 2);  // side by side, at the end
    all[2][i] = 8191;
    // Side by side and far apart: more windows than there are.
    all[3][i] = static_cast<uint16_t>(i < 1010 ? i : 1010 + 512 * (i - 1010));
  }
  all[0][0] = 0, all[0][1] = 8191, all[0][2] = 31, all[0][3] = 32, all[0][4] = 63;
  for (size_t p = 0; p < all.size(); ++p) {
    const PickPlan plan = MakePickPlan(all[p].data());
    EXPECT_EQ(plan.windows == 0, p == 3);
    for (const int n : {0, 1, 9, 64}) {
      for (const HyperVector& a : Vectors()) {
        std::array<uint16_t, 65> out;
        out.fill(0xA5A5);
        kernels().pick(Words(a), plan, n, out.data());
        for (int i = 0; i < 16 * n; ++i) {
          ASSERT_EQ(out[i / 16] >> (i % 16) & 1, NaiveBit(Words(a), all[p][i])) << p << " " << i;
        }
        EXPECT_EQ(out[n], 0xA5A5);  // nothing more is written
      }
    }
  }
}

TEST_P(HyperLevels, CountersEqualTheTwins) {
  const std::vector<HyperVector> v = Vectors();
  for (const HyperVector& b : v) {
    HyperVector sum = v[0], carry = v[1], want_sum = v[0], want_carry = v[1];
    kernels().full_add(sum.words.data(), Words(b), carry.words.data());
    NaiveFullAdd(want_sum.words.data(), Words(b), want_carry.words.data());
    ASSERT_EQ(sum, want_sum);
    ASSERT_EQ(carry, want_carry);
  }
  for (int n = 0; n <= 5; ++n) {
    for (uint32_t half = 0; half < 1u << n; ++half) {
      for (const uint64_t* const tie : {Words(v[5]), static_cast<const uint64_t*>(nullptr)}) {
        HyperVector out;
        kernels().exceeds(Words(v[0]), n, half, tie, out.words.data());
        ASSERT_EQ(out, VectorOf(NaiveExceeds(Words(v[0]), n, half, tie))) << n << " " << half;
      }
    }
  }
}

TEST_P(HyperLevels, LawsOfTheAlgebra) {
  for (int32_t i = 0; i < 50; ++i) {
    const HyperVector a = Draw(3 * i), b = Draw(3 * i + 1), c = Draw(3 * i + 2);
    const int k = static_cast<int>(PhiloxStream(1, RngPurpose::kDataShuffle, 0).Word(i) % 8191) + 1;
    ASSERT_EQ(Bind(Bind(a, b), b), a);
    ASSERT_EQ(Bind(a, b), Bind(b, a));
    ASSERT_EQ(Bind(Bind(a, b), c), Bind(a, Bind(b, c)));
    ASSERT_EQ(Bind(a, a), HyperVector{});
    ASSERT_EQ(Distance(Bind(a, c), Bind(b, c)), Distance(a, b));
    ASSERT_EQ(Rotate(Rotate(a, k), kHyperBits - k), a);
    ASSERT_EQ(Distance(Rotate(a, k), Rotate(b, k)), Distance(a, b));
    ASSERT_EQ(Rotate(Bind(a, b), k), Bind(Rotate(a, k), Rotate(b, k)));
    ASSERT_EQ(Distance(a, b), Distance(b, a));
    ASSERT_LE(Distance(a, c), Distance(a, b) + Distance(b, c));
    // Unrelated vectors are at 4,096 with a standard deviation of 45.3.
    ASSERT_NEAR(Distance(a, b), 4096, 6 * 45.3);
    ASSERT_NEAR(Distance(a, Rotate(a, k)), 4096, 6 * 45.3);
  }
}

TEST_P(HyperLevels, BundlesAgreeWithTheirMembersAtTheKnownRate) {
  const HyperVector tie = Draw(10000);
  for (const int n : {1, 3, 5, 9, 31, 63}) {
    BundleCounter counter(kernels());
    for (int i = 0; i < n; ++i) counter.Add(Draw(i), 1);
    const HyperVector bundle = counter.Majority(tie);
    // 0.5 + C(n-1, (n-1)/2) / 2^n; the mean over the members of one bundle.
    double choose = 1;
    for (int i = 1; i <= (n - 1) / 2; ++i) choose *= static_cast<double>((n - 1) / 2 + i) / i;
    const double rate = 0.5 + choose / std::pow(2.0, n);
    double agree = 0;
    for (int i = 0; i < n; ++i) agree += 1 - Distance(bundle, Draw(i)) / 8192.0;
    EXPECT_NEAR(agree / n, rate, 0.005) << n;
  }
}

TEST_P(HyperLevels, TheTieVectorDecidesTies) {
  const HyperVector a = Draw(1), b = Draw(2), tie = Draw(3);
  BundleCounter counter(kernels());
  EXPECT_EQ(counter.Majority(tie), tie);
  counter.Add(a, 1);
  EXPECT_EQ(counter.Majority(tie), a);
  counter.Add(b, 1);
  const HyperVector bundle = counter.Majority(tie);
  for (int i = 0; i < kHyperBits; ++i) {
    ASSERT_EQ(bundle.Bit(i), a.Bit(i) == b.Bit(i) ? a.Bit(i) : tie.Bit(i)) << i;
  }
}

TEST_P(HyperLevels, SketchesAreThoseOfTheBaseline) {
  const FeatureCodebook codebook;
  const std::string text = "The quick brown fox told the lazy dog where the key to the house is.";
  std::vector<int32_t> tokens;
  for (int32_t n = 0; n < 300; ++n) {
    tokens.push_back(n * n % 97);
    if (n % 37 != 0) continue;
    BundleCounter counter(kernels()), baseline(HyperFor(Isa::kBaseline));
    ASSERT_TRUE(AddTextFeatures(codebook, tokens, text, &counter).ok());
    ASSERT_TRUE(AddTextFeatures(codebook, tokens, text, &baseline).ok());
    ASSERT_EQ(counter.Majority(codebook.tie()), baseline.Majority(codebook.tie())) << n;
    std::array<int32_t, kHyperBits> sums, baseline_sums;
    counter.SignedSums(sums);
    baseline.SignedSums(baseline_sums);
    ASSERT_EQ(sums, baseline_sums);
  }
}

INSTANTIATE_TEST_SUITE_P(, HyperLevels, testing::ValuesIn(EveryHyper()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace chimera
