#include "decode/logit_transform.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "base/philox.h"
#include "decode/exact_math.h"
#include "decode/sum_exp.h"

namespace chimera {
namespace {

constexpr int kVocab = 333;
constexpr AllowedRows kAllowed{300, 300};  // 301..332 are specials

std::vector<float> RandomLogits(uint64_t seed) {
  const PhiloxStream stream(seed, RngPurpose::kWeightInit, 0);
  std::vector<float> logits(kVocab);
  // Coarse steps make ties, which must go to the smaller id.
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = std::round(stream.Uniform(i) * 80.0f) / 8.0f - 5.0f;
  }
  return logits;
}

struct Naive {
  std::vector<std::pair<double, int>> rows;  // (-logit, id), sorted
  double log_sum_exp = 0;
  double entropy_bits = 0;
  double raw_log_sum_exp = 0;
};

Naive NaiveApply(std::vector<float> logits, const std::set<int>& seen,
                 const LogitTransform& transform) {
  Naive out;
  double raw = 0;
  for (const float l : logits) raw += std::exp(static_cast<double>(l));
  out.raw_log_sum_exp = std::log(raw);
  for (const int id : seen) {
    float& l = logits[static_cast<size_t>(id)];
    if (id < kAllowed.n_ranks) {
      l = l > 0 ? l / transform.repetition_penalty : l * transform.repetition_penalty;
    }
  }
  for (int id = 0; id <= kAllowed.eot; ++id) {
    const float l = logits[static_cast<size_t>(id)];
    const float t = transform.temperature == 0 ? l : l / transform.temperature;
    out.rows.push_back({-static_cast<double>(t), id});
  }
  std::sort(out.rows.begin(), out.rows.end());
  double sum = 0;
  for (const auto& [minus, id] : out.rows) sum += std::exp(-minus);
  out.log_sum_exp = std::log(sum);
  for (const auto& [minus, id] : out.rows) {
    const double p = std::exp(-minus) / sum;
    out.entropy_bits -= p * std::log2(p);
  }
  return out;
}

TEST(ExactMath, AgreesWithTheCLibrary) {
  for (double x = -700.0; x < 700.0; x += 0.37) {
    EXPECT_NEAR(ExactExp(x) / std::exp(x), 1.0, 1e-15) << x;
  }
  EXPECT_EQ(ExactExp(0.0), 1.0);
  EXPECT_EQ(ExactExp(-1e9), 0.0);
  for (double x = 1e-9; x < 1e9; x *= 1.13) EXPECT_NEAR(ExactLog(x), std::log(x), 4e-15) << x;
  EXPECT_EQ(ExactLog(1.0), 0.0);
}

TEST(LogitTransformer, EqualsTheNaiveTwin) {
  const std::vector<int32_t> seen = {5, 17, 17, 299, 4, 300, 310};
  LogitTransformer transformer(kVocab, kAllowed);
  for (const float temperature : {0.0f, 0.7f, 1.0f, 1.9f}) {
    for (const float penalty : {1.0f, 1.25f, 0.5f}) {
      LogitTransform transform;
      transform.temperature = temperature;
      transform.repetition_penalty = penalty;
      const std::vector<float> raw = RandomLogits(7);
      const Naive naive = NaiveApply(raw, {5, 17, 299, 4, 300, 310}, transform);
      std::vector<float> logits = raw;
      const auto got = transformer.Apply(logits, seen, {}, transform, 0, kVocab);
      ASSERT_TRUE(got.ok()) << got.status();
      ASSERT_EQ(got->token_ids.size(), naive.rows.size());
      EXPECT_EQ(got->allowed_rows, 301);
      for (size_t i = 0; i < naive.rows.size(); ++i) {
        ASSERT_EQ(got->token_ids[i], naive.rows[i].second) << i;
        ASSERT_EQ(static_cast<double>(got->logits[i]), -naive.rows[i].first) << i;
        ASSERT_EQ(got->raw_logits[i], raw[static_cast<size_t>(got->token_ids[i])]) << i;
      }
      EXPECT_NEAR(got->log_sum_exp, naive.log_sum_exp, 1e-5);
      EXPECT_NEAR(got->raw_log_sum_exp, naive.raw_log_sum_exp, 1e-5);
      EXPECT_NEAR(got->entropy_bits, naive.entropy_bits, 1e-4);
    }
  }
}

TEST(SumExp, EveryInstructionSetGivesTheSameBits) {
  for (const size_t n : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{333}}) {
    std::vector<float> values = RandomLogits(n);
    values.resize(n);
    const double max = *std::max_element(values.begin(), values.end());
    const ExpSums best = SumExp(values, max);
    const ExpSums plain = baseline::SumExpBody(values.data(), static_cast<int>(n), max);
    EXPECT_EQ(best.mass, plain.mass);
    EXPECT_EQ(best.weighted, plain.weighted);
    double sum = 0;
    for (const float v : values) sum += std::exp(static_cast<double>(v) - max);
    EXPECT_NEAR(plain.mass / sum, 1.0, 1e-13);
  }
}

TEST(LogitTransformer, PiecesAreTheWhole) {
  LogitTransformer transformer(kVocab, kAllowed);
  std::vector<float> logits = RandomLogits(9);
  const auto whole = transformer.Apply(logits, {}, {}, LogitTransform(), 0, kVocab);
  ASSERT_TRUE(whole.ok());
  for (const int first : {0, 1, 64, 200, 300, 301, 999}) {
    for (const int count : {1, 37, 400}) {
      logits = RandomLogits(9);
      const auto part = transformer.Apply(logits, {}, {}, LogitTransform(), first, count);
      ASSERT_TRUE(part.ok());
      const size_t begin = std::min<size_t>(static_cast<size_t>(first), 301);
      const size_t end = std::min<size_t>(begin + static_cast<size_t>(count), 301);
      ASSERT_EQ(part->token_ids.size(), end - begin);
      for (size_t i = begin; i < end; ++i) {
        EXPECT_EQ(part->token_ids[i - begin], whole->token_ids[i]);
      }
      EXPECT_EQ(part->log_sum_exp, whole->log_sum_exp);
    }
  }
}

TEST(LogitTransformer, SpecialsNeverComeOutAndMasksHold) {
  LogitTransformer transformer(kVocab, kAllowed);
  std::vector<float> logits(kVocab, 0.0f);
  for (size_t i = 301; i < kVocab; ++i) logits[i] = 50.0f;
  auto all = transformer.Apply(logits, {}, {}, LogitTransform(), 0, kVocab);
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(*std::max_element(all->token_ids.begin(), all->token_ids.end()), 300);
  EXPECT_NEAR(all->log_sum_exp, std::log(301.0), 1e-6);

  std::vector<uint64_t> mask((kVocab + 63) / 64);
  mask[1] = 0b1010;            // ids 65 and 67
  mask[5] = uint64_t{1} << 0;  // id 320, a special: stays out
  auto masked = transformer.Apply(logits, {}, mask, LogitTransform(), 0, kVocab);
  ASSERT_TRUE(masked.ok());
  EXPECT_THAT(masked->token_ids, testing::ElementsAre(65, 67));
  std::fill(mask.begin(), mask.end(), 0);
  EXPECT_EQ(transformer.Apply(logits, {}, mask, LogitTransform(), 0, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(LogitTransformer, BrokenLogitsAreAnError) {
  LogitTransformer transformer(kVocab, kAllowed);
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits = RandomLogits(1);
    logits[100] = bad;
    EXPECT_EQ(transformer.Apply(logits, {}, {}, LogitTransform(), 0, 1).status().code(),
              absl::StatusCode::kInternal);
  }
}

TEST(LogitTransformer, TinyTemperatureStaysFinite) {
  LogitTransformer transformer(kVocab, kAllowed);
  LogitTransform transform;
  transform.temperature = 1e-38f;
  std::vector<float> logits = RandomLogits(3);
  const auto got = transformer.Apply(logits, {}, {}, transform, 0, 2);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(std::isfinite(got->log_sum_exp));
}

}  // namespace
}  // namespace chimera
