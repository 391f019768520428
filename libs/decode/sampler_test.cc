// The nine settings of golden/sampling.json, 40 draws each, through transform and sampler together.
#include "decode/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "decode/logit_transform.h"

namespace chimera {
namespace {

nlohmann::json Golden() {
  const auto text =
      ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/sampling.json", 16 << 20);
  EXPECT_TRUE(text.ok()) << text.status();
  return nlohmann::json::parse(*text)["cases"]["distribution"];
}

std::vector<uint64_t> MaskOf(const nlohmann::json& setting, size_t vocab_size) {
  if (setting["allowed"] == "all") return {};
  EXPECT_EQ(setting["allowed"], "every third id from 0");
  std::vector<uint64_t> mask((vocab_size + 63) / 64);
  for (size_t id = 0; id < vocab_size; id += 3) mask[id / 64] |= uint64_t{1} << (id % 64);
  return mask;
}

class GoldenSampling : public testing::TestWithParam<int> {};

// The parameter is how many rows come first: the result must not depend on it.
TEST_P(GoldenSampling, EverySettingAndDraw) {
  const nlohmann::json golden = Golden();
  const std::vector<float> logits = golden["in"]["logits"]["data"];
  const int vocab_size = static_cast<int>(logits.size());
  LogitTransformer transformer(vocab_size, {vocab_size, vocab_size});
  int draws = 0;
  for (const nlohmann::json& setting : golden["settings"]) {
    LogitTransform transform;
    transform.temperature = setting["temperature"];
    transform.repetition_penalty = setting["repetition_penalty"];
    transform.top_p = setting["top_p"];
    const std::vector<int32_t> seen = setting["seen"];
    const std::vector<uint64_t> mask = MaskOf(setting, logits.size());
    const auto rows = [&](int first, int count) {
      std::vector<float> scratch = logits;
      return transformer.Apply(scratch, seen, mask, transform, first, count);
    };
    const auto fetch = [&](int first, int count, NodeDistribution* into) {
      const auto more = rows(first, count);
      into->token_ids.insert(into->token_ids.end(), more->token_ids.begin(), more->token_ids.end());
      into->logits.insert(into->logits.end(), more->logits.begin(), more->logits.end());
      into->raw_logits.insert(into->raw_logits.end(), more->raw_logits.begin(),
                              more->raw_logits.end());
      return more.status();
    };
    SamplerSettings settings;
    settings.temperature = transform.temperature;
    settings.top_p = transform.top_p;
    settings.seed = golden["seed"];
    settings.choice = golden["stream"];
    const std::vector<int> tokens = setting["tokens"];
    for (size_t i = 0; i < tokens.size(); ++i) {
      auto distribution = rows(0, GetParam());
      ASSERT_TRUE(distribution.ok()) << distribution.status();
      const int64_t position = golden["first_position"].get<int64_t>() + static_cast<int64_t>(i);
      EXPECT_NEAR(TokenUniform(settings, position), golden["uniforms"]["data"][i].get<double>(),
                  1e-7);
      const auto drawn = DrawToken(&*distribution, settings, position, fetch);
      ASSERT_TRUE(drawn.ok()) << drawn.status();
      EXPECT_EQ(drawn->token_id, tokens[i]) << setting.dump().substr(0, 90) << " draw " << i;
      ++draws;
    }
    // Kept rows and their probabilities.
    const auto all = rows(0, vocab_size);
    const std::vector<int> kept = setting["kept"];
    const std::vector<double> p = setting["p"];
    double mass = 0;
    for (size_t i = 0; i < kept.size(); ++i) {
      EXPECT_EQ(all->token_ids[i], kept[i]);
      mass += std::exp(static_cast<double>(all->logits[i]) - all->log_sum_exp);
    }
    for (size_t i = 0; i < kept.size() && settings.temperature > 0; ++i) {
      const double got = std::exp(static_cast<double>(all->logits[i]) - all->log_sum_exp) / mass;
      EXPECT_NEAR(got, p[i], 1e-5);
    }
  }
  EXPECT_EQ(draws, 360);
}

INSTANTIATE_TEST_SUITE_P(FirstRows, GoldenSampling, testing::Values(1, 2, 7, 50));

TEST(DrawToken, RefusesWhatDoesNotFit) {
  const auto never = [](int, int, NodeDistribution*) { return absl::OkStatus(); };
  NodeDistribution empty;
  EXPECT_EQ(DrawToken(&empty, {}, 0, never).status().code(), absl::StatusCode::kInternal);
  NodeDistribution crooked;
  crooked.allowed_rows = 2;
  crooked.token_ids = {1, 2};
  crooked.logits = {0.0f};
  EXPECT_EQ(DrawToken(&crooked, {}, 0, never).status().code(), absl::StatusCode::kInternal);
  NodeDistribution dry;  // promises ten rows, brings one of little mass, then none
  dry.allowed_rows = 10;
  dry.token_ids = {1};
  dry.logits = {-20.0f};
  dry.raw_logits = {-20.0f};
  EXPECT_EQ(DrawToken(&dry, {}, 0, never).status().code(), absl::StatusCode::kInternal);
}

TEST(DrawToken, FollowsTheDistribution) {
  // 4 rows of known probability; 20,000 positions; each frequency within 4 standard deviations.
  const std::vector<double> p = {0.5, 0.3, 0.15, 0.05};
  NodeDistribution distribution;
  distribution.allowed_rows = 4;
  for (int i = 0; i < 4; ++i) {
    distribution.token_ids.push_back(i);
    distribution.logits.push_back(static_cast<float>(std::log(p[static_cast<size_t>(i)])));
    distribution.raw_logits.push_back(0.0f);
  }
  const auto never = [](int, int, NodeDistribution*) { return absl::InternalError("unused"); };
  std::vector<int> counts(4);
  constexpr int kDraws = 20000;
  SamplerSettings settings;
  settings.seed = 11;
  for (int i = 0; i < kDraws; ++i) {
    const auto drawn = DrawToken(&distribution, settings, i, never);
    ASSERT_TRUE(drawn.ok());
    ++counts[static_cast<size_t>(drawn->token_id)];
  }
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(counts[i], kDraws * p[i], 4 * std::sqrt(kDraws * p[i] * (1 - p[i])));
  }
}

}  // namespace
}  // namespace chimera
