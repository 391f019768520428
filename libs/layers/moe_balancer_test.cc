#include "layers/moe_balancer.h"

#include <cmath>
#include <numeric>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/moe.h"

namespace chimera {
namespace {

constexpr int kExperts = 16;

Doubles GoldenStep(int step, const char* name) {
  return Golden("moe", "routing", "steps", std::to_string(step) + "/" + name);
}

TEST(MoeBalancerTest, MatchesTheGoldenSteps) {
  MoeBalancer balancer(kExperts, {});
  Floats bias(kExperts);
  for (int step = 0; step < 5; ++step) {
    ExpectClose(bias, GoldenStep(step, "bias"), 1e-7, "bias before");
    const Doubles counts = GoldenStep(step, "counts");
    balancer.Update(std::vector<int64_t>(counts.begin(), counts.end()), 0.015625, bias);
    ExpectClose(bias, GoldenStep(step, "bias_after"), 1e-7, "bias after");
    EXPECT_NEAR(balancer.batch_violation(), GoldenStep(step, "max_vio")[0], 1e-12);
  }
}

TEST(MoeBalancerTest, RateEndsFivePercentBeforeTheEnd) {
  EXPECT_EQ(MoeBalanceRate(1e-3, 1, 1000), 1e-3);
  EXPECT_EQ(MoeBalanceRate(1e-3, 950, 1000), 1e-3);
  EXPECT_EQ(MoeBalanceRate(1e-3, 951, 1000), 0);
  EXPECT_EQ(MoeBalanceRate(1e-3, 1000, 1000), 0);
}

TEST(MoeBalancerTest, NoRateOnlyMeasuresAndAnEmptyStepChangesNothing) {
  MoeBalancer balancer(4, {});
  Floats bias = {0.5f, -0.25f, 0, -0.125f};
  const Floats kept = bias;
  balancer.Update(std::vector<int64_t>{8, 0, 0, 0}, 0, bias);
  EXPECT_EQ(bias, kept);
  EXPECT_EQ(balancer.batch_violation(), 3);
  EXPECT_EQ(balancer.global_violation(), 3);
  EXPECT_EQ(balancer.tokens_seen(), 4);
  balancer.Update(std::vector<int64_t>(4), 1e-3, bias);
  EXPECT_EQ(bias, kept);
  EXPECT_EQ(balancer.tokens_seen(), 4);
}

TEST(MoeBalancerTest, ResumedFromItsStateItContinuesAlike) {
  MoeBalancer whole(3, {.global_tokens = 64});
  Floats bias(3), resumed_bias;
  MoeBalancer resumed(3, {.global_tokens = 64});
  for (int step = 0; step < 20; ++step) {
    if (step == 9) {
      std::copy(whole.state().begin(), whole.state().end(), resumed.state().begin());
      resumed_bias = bias;
    }
    const std::vector<int64_t> picks = {step % 5 + 3, step % 3, 2};
    whole.Update(picks, 1e-2, bias);
    if (step >= 9) resumed.Update(picks, 1e-2, resumed_bias);
  }
  EXPECT_EQ(bias, resumed_bias);
  EXPECT_EQ(whole.global_violation(), resumed.global_violation());
}

TEST(MoeSettlerTest, HoldsAnExpertWhoseLoadDiffersFromTextToTextBelowTheOthers) {
  MoeSettler settler(4);
  Floats bias(4);
  EXPECT_EQ(settler.Targets(), std::vector<double>(4, 1.0)) << "nothing read yet";
  // Expert 0 has twice the mean in every other text and nothing between; the others share the rest.
  const std::vector<std::vector<int64_t>> texts = {{60, 20, 20, 20}, {0, 40, 40, 40}};
  for (int i = 0; i < 400; ++i) settler.Move(texts[size_t(i % 2)], 1e-3, bias);
  const std::vector<double> targets = settler.Targets();
  // Root mean squares of c / mean - 1: 1 and 1/3; the mean of the four is 1/2.
  EXPECT_NEAR(targets[0], 1 - 0.4 * 0.5, 1e-3);
  EXPECT_NEAR(targets[1], 1 + 0.4 / 6, 1e-3);
  EXPECT_EQ(targets[1], targets[3]);
  EXPECT_NEAR(std::accumulate(targets.begin(), targets.end(), 0.0), 4.0, 1e-12);
  EXPECT_LT(bias[0], bias[1] - 0.05f) << "all four had the mean load";
  EXPECT_NEAR(bias[0] + bias[1] + bias[2] + bias[3], 0.0f, 1e-6f);
}

TEST(MoeSettlerTest, OneMoveGoesTowardsTheTargetAndNothingPickedIsNoMove) {
  MoeSettler settler(2);
  Floats bias = {0.5f, -0.5f};
  settler.Move(std::vector<int64_t>{0, 0}, 0.1, bias);
  EXPECT_EQ(bias, (Floats{0.5f, -0.5f}));
  settler.Move(std::vector<int64_t>{30, 10}, 0.1, bias);  // both deviate by a half: targets are 1
  EXPECT_FLOAT_EQ(bias[0], 0.45f);
  EXPECT_FLOAT_EQ(bias[1], -0.45f);
}

// Scores skewed towards a few experts: bias alone brings the load into the gate of 0.15 (6.3).
class Skewed {
 public:
  explicit Skewed(double u) : u_(u), balancer_(kExperts, {}) {}

  void Steps(int n) {
    const int tokens = 1024;
    Floats logits(tokens * kExperts), scores(logits.size()), weights(2 * tokens), eye(256);
    std::vector<int32_t> picked(2 * tokens);
    for (int e = 0; e < kExperts; ++e) eye[size_t(17 * e)] = 1;
    for (int i = 0; i < n; ++i, ++step_) {
      const Floats noise = Noise(tokens * kExperts, 1.5f, 0, uint32_t(step_));
      for (size_t j = 0; j < logits.size(); ++j) {
        const int e = int(j) % kExperts;
        logits[j] = noise[j] + 1.5f * std::sin(0.7f * float(e));  // lasting preference
      }
      Moe().scores(logits.data(), eye.data(), tokens, kExperts, kExperts, scores.data());
      Moe().select(scores.data(), bias_.data(), tokens, kExperts, 1, picked.data(), weights.data());
      std::vector<int64_t> picks(kExperts);
      for (const int32_t e : picked) ++picks[size_t(e)];
      balancer_.Update(picks, u_, bias_);
    }
  }
  double violation() const { return balancer_.global_violation(); }
  double tokens() const { return balancer_.tokens_seen(); }

 private:
  double u_;
  MoeBalancer balancer_;
  Floats bias_ = Floats(kExperts);
  int step_ = 0;
};

TEST(MoeBalancerTest, SkewedLoadComesIntoTheGateWithin2000Steps) {
  Skewed balanced(1e-3), alone(0);
  balanced.Steps(20);
  EXPECT_GT(balanced.violation(), 1);
  balanced.Steps(1980);
  EXPECT_GE(balanced.tokens(), 1 << 20);
  RecordProperty("global_violation", std::to_string(balanced.violation()));
  EXPECT_LT(balanced.violation(), 0.15);
  alone.Steps(100);
  EXPECT_GT(alone.violation(), 1) << "without the bias it stays skewed";
}

}  // namespace
}  // namespace chimera
