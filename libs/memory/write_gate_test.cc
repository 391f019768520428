#include "memory/write_gate.h"

#include <cmath>
#include <limits>
#include <vector>

#include "base/philox.h"
#include "gtest/gtest.h"
#include "memory/policy_testing.h"

namespace chimera {
namespace {

// Uniform in [0.9, 1.1].
double Noisy(uint64_t n) {
  return 0.9 + 0.2 * PhiloxStream(3, RngPurpose::kDataShuffle, 9).Uniform(n);
}

TEST(WriteGate, MomentsFollowTheRecurrence) {
  WriteGate gate;
  double mean = 0, variance = 0;
  for (uint64_t n = 0; n < 1000; ++n) {
    const double s = Noisy(n) * static_cast<double>(1 + n % 7);
    gate.Observe(s);
    const double a = n < 100 ? 1.0 / static_cast<double>(n + 1) : 1.0 - 0.99;
    const double off = s - mean;
    mean += a * off;
    variance = (1 - a) * (variance + a * off * off);
    ASSERT_NEAR(gate.mean(), mean, 1e-12);
    ASSERT_NEAR(gate.variance(), variance, 1e-12);
  }
  // The first hundred values are averaged plainly.
  WriteGate first;
  for (const double s : {1.0, 2.0, 3.0, 6.0}) first.Observe(s);
  EXPECT_NEAR(first.mean(), 3.0, 1e-12);
  EXPECT_NEAR(first.variance(), 3.5, 1e-12);
}

TEST(WriteGate, WritesAboveTwoSigmaOnly) {
  WriteGate gate;
  // 0.9 and 1.1: a standard deviation of 0.1, so no value is surprising.
  for (int n = 0; n < 2000; ++n) EXPECT_FALSE(gate.Observe(n % 2 == 0 ? 0.9 : 1.1)) << n;
  const double edge = gate.mean() + 2 * std::sqrt(gate.variance());
  WriteGate below = gate, above = gate;
  EXPECT_FALSE(below.Observe(edge * (1 - 1e-9)));
  EXPECT_TRUE(above.Observe(edge * (1 + 1e-9)));
  EXPECT_EQ(above.writes(), 1);
}

TEST(WriteGate, AtMostOnceIn32TokensAndNotBeforeTheFirst32) {
  WriteGate gate;
  std::vector<int> written;
  // A value that grows and grows is above the threshold all the time.
  double s = 1;
  for (int n = 0; n < 400; ++n) {
    s *= 1.2;
    if (gate.Observe(s)) written.push_back(n);
  }
  ASSERT_GT(written.size(), 5u);
  EXPECT_EQ(written[0], 31);
  for (size_t i = 1; i < written.size(); ++i) EXPECT_EQ(written[i] - written[i - 1], 32);
}

TEST(WriteGate, AtMostAThousandASession) {
  WriteGate gate;
  for (int n = 0; n < 40000; ++n) gate.Observe(n % 32 == 31 ? 100.0 : 1.0 + 0.1 * (n % 2));
  EXPECT_EQ(gate.writes(), 1000);
  WriteGate few({.writes_per_session = 2});
  for (int n = 0; n < 4000; ++n) few.Observe(n % 32 == 31 ? 100.0 : 1.0);
  EXPECT_EQ(few.writes(), 2);
}

TEST(WriteGate, IgnoresWhatIsNoNorm) {
  WriteGate gate;
  for (const double s : {std::nan(""), std::numeric_limits<double>::infinity(), -1.0, 1e31}) {
    EXPECT_FALSE(gate.Observe(s));
  }
  EXPECT_EQ(gate.ignored(), 4);
  EXPECT_EQ(gate.tokens(), 0);
}

TEST(WriteGate, GoesOnFromItsBytes) {
  WriteGate gate;
  for (uint64_t n = 0; n < 500; ++n) gate.Observe(Noisy(n) + (n % 50 == 49 ? 5 : 0));
  EXPECT_GT(gate.writes(), 0);
  auto again = WriteGate::Decode({}, gate.Encode());
  ASSERT_TRUE(again.ok()) << again.status();
  for (uint64_t n = 0; n < 500; ++n) {
    const double s = Noisy(n) + (n % 41 == 40 ? 5 : 0);
    EXPECT_EQ(again->Observe(s), gate.Observe(s));
  }
  EXPECT_EQ(again->Encode(), gate.Encode());
  EXPECT_EQ(gate.Encode().size(), 72u);
  ExpectHardenedDecode(
      gate.Encode(),
      [](std::string_view bytes) -> absl::StatusOr<std::string> {
        auto decoded = WriteGate::Decode({}, bytes);
        if (!decoded.ok()) return decoded.status();
        return decoded->Encode();
      },
      2000);
}

TEST(Contrastive, DeltaIsTheLossSavedPerToken) {
  const ContrastiveOptions options;
  EXPECT_DOUBLE_EQ(*ContrastiveDelta(options, 64.0, 96.0, 64), 0.5);
  EXPECT_DOUBLE_EQ(*ContrastiveDelta(options, 96.0, 64.0, 64), -0.5);
  EXPECT_FALSE(ContrastiveDelta(options, 1, 1, 0).ok());
  EXPECT_EQ(ContrastiveDelta(options, 1, 1, 65).status().message(),
            "contrastive evaluation over 65 tokens; it is 1 to 64");
  EXPECT_FALSE(ContrastiveDelta(options, std::nan(""), 1, 64).ok());
  EXPECT_FALSE(ContrastiveDelta(options, 1, -1, 64).ok());
}

TEST(Contrastive, ThreeRetrievalsDecide) {
  const ContrastiveOptions options;
  FactTrial good;
  EXPECT_EQ(RecordTrial(options, 0.5, &good), TrialVerdict::kOpen);
  EXPECT_EQ(RecordTrial(options, -0.2, &good), TrialVerdict::kOpen);
  EXPECT_EQ(RecordTrial(options, -0.3, &good), TrialVerdict::kKeep);  // the mean is 0
  EXPECT_EQ(RecordTrial(options, -1.0, &good), TrialVerdict::kKeep);  // it has passed
  FactTrial bad;
  RecordTrial(options, 0.1, &bad);
  RecordTrial(options, 0.1, &bad);
  EXPECT_EQ(RecordTrial(options, -0.21, &bad), TrialVerdict::kDrop);
}

TEST(Contrastive, WeightIsABoundedAverage) {
  const ContrastiveOptions options;
  FactTrial trial;
  double want = 0;
  for (int i = 0; i < 200; ++i) {
    const double delta = i % 3 == 0 ? 7.0 : -0.25;
    RecordTrial(options, delta, &trial);
    want = 0.9 * want + 0.1 * std::min(delta, 1.0);
    ASSERT_NEAR(trial.weight, want, 1e-5);
    ASSERT_LE(std::abs(trial.weight), 1.0f);
  }
}

TEST(Contrastive, EvaluatesAnEighth) {
  const ContrastiveOptions options;
  int evaluated = 0;
  for (uint64_t id = 0; id < 80000; ++id) evaluated += IsEvaluated(options, id);
  EXPECT_NEAR(evaluated, 10000, 3 * std::sqrt(80000.0 * 7 / 64));
}

}  // namespace
}  // namespace chimera
