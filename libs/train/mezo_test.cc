// MeZO on its own: what a probe leaves behind, what its losses depend on, and its mean.
#include "train/mezo.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#include "base/philox.h"
#include "model/model_testing.h"
#include "model/planes_testing.h"

namespace chimera {
namespace {

std::vector<float> Numbers(size_t n, uint32_t stream) {
  const PhiloxStream rng(11, RngPurpose::kWeightInit, stream);
  std::vector<float> out(n);
  for (size_t i = 0; i < n; ++i) out[i] = 2.0f * rng.Uniform(i) - 1.0f;
  return out;
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

MezoOptions Options(uint64_t seed = 5) {
  return {.schedule = {.lr = 0.01, .lr_min_ratio = 1.0}, .seed = seed, .eps = 1e-3};
}

// A small quantised network over one fixed batch.
struct Net {
  explicit Net(int threads, uint64_t init = 1)
      : exec(threads), tape(&exec), parameters(config), network(config, &parameters) {
    parameters.Initialize(config, init);
    states.resize(size_t(network.StateFloats()) * 2);
    ends = states;
  }
  double Loss() {
    network.Prepare(&exec);
    tape.Reset();
    tape.set_recording(false);
    return network.Forward(&tape, TextBatch(text, 2).view(), states.data(), ends.data(),
                           nll.data());
  }
  const ModelConfig config = TestConfig(true).model;
  ExecContext exec;
  Tape tape;
  Parameters parameters;
  Network network;
  std::vector<int32_t> text = RandomTokens(2 * 40 + 1, 1080, 2);
  std::vector<float> nll = std::vector<float>(80);
  std::vector<float> states, ends;
};

// Also where a sum is rounded: values far larger and far smaller than eps.
TEST(Mezo, AProbeLeavesEveryBit) {
  std::vector<float> theta = Numbers(70000, 1);
  for (size_t i = 0; i < theta.size(); i += 7) theta[i] *= 1e6f;
  for (size_t i = 3; i < theta.size(); i += 7) theta[i] *= 1e-9f;
  theta[5] = -0.0f;
  const std::vector<float> before = theta;
  ExecContext exec(2);
  Mezo mezo(Options(), theta, {});
  int calls = 0;
  for (int64_t t = 1; t <= 20; ++t) {
    mezo.Probe(&exec, t, [&] {
      EXPECT_FALSE(SameBits(theta, before)) << "the loss sees a perturbed theta";
      return static_cast<double>(++calls);
    });
    ASSERT_TRUE(SameBits(theta, before)) << "after probe " << t;
  }
  EXPECT_EQ(calls, 40);
}

TEST(Mezo, AProbeMovesEveryParameterByEpsBothWays) {
  std::vector<float> theta(1000, 0.0f);
  ExecContext exec(1);
  Mezo mezo(Options(), theta, {});
  std::vector<std::vector<float>> seen;
  mezo.Probe(&exec, 3, [&] {
    seen.push_back(theta);
    return 0.0;
  });
  ASSERT_EQ(seen.size(), 2u);
  const PhiloxStream rng(5, RngPurpose::kZerothOrderNoise, 3);
  for (size_t n = 0; n < theta.size(); ++n) {
    EXPECT_EQ(seen[0][n], 1e-3f * static_cast<float>(rng.Sign(n))) << n;
    EXPECT_EQ(seen[1][n], -seen[0][n]) << n;
  }
}

// The two losses are a function of theta, seed, step and batch: not of what was probed before, nor
// of the number of threads.
TEST(Mezo, LossesDependOnSeedStepAndBatchOnly) {
  Net one(1), two(2);
  Mezo a(Options(), one.parameters.values(), {}), b(Options(), two.parameters.values(), {});
  const auto loss_one = [&] { return one.Loss(); };
  const MezoProbe first = a.Probe(&one.exec, 1, loss_one);
  const MezoProbe second = a.Probe(&one.exec, 2, loss_one);
  b.Probe(&two.exec, 7, [&] { return two.Loss(); });
  const MezoProbe again = b.Probe(&two.exec, 2, [&] { return two.Loss(); });
  EXPECT_EQ(second.loss_plus, again.loss_plus);
  EXPECT_EQ(second.loss_minus, again.loss_minus);
  EXPECT_NE(first.loss_plus, second.loss_plus);
  EXPECT_NE(second.loss_plus, second.loss_minus);

  Mezo other_seed(Options(6), one.parameters.values(), {});
  EXPECT_NE(other_seed.Probe(&one.exec, 2, loss_one).loss_plus, second.loss_plus);
  one.text[3] = (one.text[3] + 1) % 1080;
  EXPECT_NE(a.Probe(&one.exec, 2, loss_one).loss_plus, second.loss_plus);
}

// E[g z] is the gradient, exactly so on a quadratic: the mean of 100,000 draws is within four of
// its standard errors. The double loss is exact in theta's floats.
TEST(Mezo, MeanOfTheEstimateIsTheGradient) {
  constexpr size_t kParameters = 24;
  constexpr int64_t kDraws = 100000;
  const std::vector<float> curvature = Numbers(kParameters, 2), slope = Numbers(kParameters, 3);
  std::vector<float> theta = Numbers(kParameters, 4);
  for (float& x : theta) x = std::round(x * 64.0f) / 64.0f;  // theta +- eps is exact
  MezoOptions options = Options();
  options.eps = 0x1p-10;
  ExecContext exec(1);
  Mezo mezo(options, theta, {});
  const auto loss = [&] {
    double sum = 0.0, mixed = 0.0;
    for (size_t i = 0; i < kParameters; ++i) {
      const double x = theta[i];
      sum += 0.5 * curvature[i] * x * x + slope[i] * x;
      mixed += (i % 2 == 0 ? 0.5 : -0.25) * x;
    }
    return sum + 0.5 * mixed * mixed;
  };
  std::vector<double> sum(kParameters), squares(kParameters);
  for (int64_t t = 1; t <= kDraws; ++t) {
    const double g = mezo.Probe(&exec, t, loss).projected_gradient;
    const PhiloxStream rng(options.seed, RngPurpose::kZerothOrderNoise, uint32_t(t));
    for (size_t i = 0; i < kParameters; ++i) {
      const double estimate = g * rng.Sign(i);
      sum[i] += estimate;
      squares[i] += estimate * estimate;
    }
  }
  double mixed = 0.0, norm = 0.0;
  for (size_t i = 0; i < kParameters; ++i) mixed += (i % 2 == 0 ? 0.5 : -0.25) * theta[i];
  for (size_t i = 0; i < kParameters; ++i) {
    const double gradient =
        double(curvature[i]) * theta[i] + slope[i] + mixed * (i % 2 == 0 ? 0.5 : -0.25);
    const double mean = sum[i] / kDraws;
    const double error = std::sqrt((squares[i] / kDraws - mean * mean) / kDraws);
    EXPECT_NEAR(mean, gradient, 4 * error) << i;
    EXPECT_GT(std::abs(gradient), 0.0);
    norm += gradient * gradient;
  }
  // And the mean square of g is the squared norm of the gradient: what telemetry reports.
  EXPECT_NEAR(squares[0] / kDraws / norm, 1.0, 0.05);
}

// An update moves along z by lr * g, decays what decays, and does not depend on threads.
TEST(Mezo, UpdateFollowsTheFormula) {
  const std::vector<float> start = Numbers(200000, 5);
  MezoOptions options = Options();
  options.weight_decay = 0.3;
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2}) {
    std::vector<float> theta = start;
    ExecContext exec(threads);
    Mezo mezo(options, theta, {{100, 70001}, {70001, 70500}, {199999, 200000}});
    mezo.Update(&exec, 9, -2.5);
    results.push_back(theta);
  }
  EXPECT_TRUE(SameBits(results[0], results[1]));
  const PhiloxStream rng(options.seed, RngPurpose::kZerothOrderNoise, 9);
  for (size_t n : {0u, 99u, 100u, 70000u, 70001u, 70499u, 70500u, 150000u, 199998u, 199999u}) {
    const bool decays = (n >= 100 && n < 70500) || n == 199999;
    const double at = start[n];
    const double want = at - 0.01 * (-2.5 * rng.Sign(n) + (decays ? 0.3 : 0.0) * at);
    EXPECT_EQ(results[0][n], static_cast<float>(want)) << n;
  }
}

TEST(Mezo, NormsBiasesAndEmbeddingsDoNotDecay) {
  const Parameters parameters(TestConfig(true).model);
  const auto ranges = DecayedRanges(parameters);
  int decayed = 0;
  for (const Parameters::Entry& e : parameters.entries()) {
    bool inside = false;
    for (const ParameterRange& r : ranges)
      inside = inside || (e.offset >= r.begin && e.offset < r.end);
    const bool matrix = e.spec.rows > 1 && e.spec.name != "embedding" &&
                        e.spec.name.find("conv") == std::string::npos;
    EXPECT_EQ(inside, matrix) << e.spec.name;
    decayed += inside;
  }
  EXPECT_EQ(decayed, 10);
}

// What does not end well changes nothing.
TEST(Mezo, ALossThatIsNotFiniteIsNoStep) {
  struct Broken final : BatchLoss {
    double Evaluate(bool) override { return calls++ == 0 ? 1.0 : std::nan(""); }
    void Backward() override { FAIL(); }
    int calls = 0;
  } broken;
  std::vector<float> theta = Numbers(100, 6);
  const std::vector<float> before = theta;
  ExecContext exec(1);
  Mezo mezo(Options(), theta, {});
  EXPECT_FALSE(std::isfinite(mezo.Step(&exec, 1, &broken).loss));
  EXPECT_TRUE(SameBits(theta, before));
}

// With quantisation off the estimate of a network agrees with its back-propagated gradient: over
// many directions, the mean of g times the derivative along z is the squared norm.
TEST(Mezo, EstimateAgreesWithBackPropagation) {
  Config config = TestConfig(false);
  ExecContext exec(2);
  Tape tape(&exec);
  Parameters parameters(config.model);
  parameters.Initialize(config.model, 1);
  Network network(config.model, &parameters);
  std::vector<int32_t> text;
  for (int i = 0; i < 65; ++i) text.push_back((i * 37) % 1080);
  const TextBatch batch(text);
  std::vector<float> start(size_t(network.StateFloats())), end(start.size()), nll(64);
  const auto loss = [&](bool record) {
    network.Prepare(&exec);
    tape.Reset();
    tape.set_recording(record);
    return network.Forward(&tape, batch.view(), start.data(), end.data(), nll.data());
  };
  loss(true);
  tape.Backward();
  Mezo mezo(Options(), parameters.values(), {});
  for (int64_t t = 1; t <= 8; ++t) {
    const PhiloxStream rng(5, RngPurpose::kZerothOrderNoise, uint32_t(t));
    double along = 0.0;
    for (size_t i = 0; i < parameters.grads().size(); ++i) {
      along += rng.Sign(i) * double(parameters.grads()[i]);
    }
    const double g = mezo.Probe(&exec, t, [&] { return loss(false); }).projected_gradient;
    EXPECT_NEAR(g, along, 0.05 * std::abs(along) + 0.02) << "step " << t;
  }
}

}  // namespace
}  // namespace chimera
