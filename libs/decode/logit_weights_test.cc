#include "decode/logit_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/philox.h"
#include "decode/logit_transform.h"

namespace chimera {
namespace {

using testing::HasSubstr;

constexpr int kVocab = 333;
constexpr AllowedRows kAllowed{300, 300};

struct Case {
  std::vector<float> logits = std::vector<float>(kVocab);
  ClassTable table = ClassTable(kVocab);
  std::vector<float> classes = std::vector<float>(kClassesMax);
  std::vector<uint64_t> mask = std::vector<uint64_t>((kVocab + 63) / 64);
  std::vector<TokenWeight> tokens = {{5, 1.5f}, {300, -2.0f}, {17, 0.25f}, {17, 0.5f}, {310, 9.0f}};
  std::vector<int32_t> seen = {5, 17, 17, 40, 299};

  Case() {
    const PhiloxStream rng(3, RngPurpose::kWeightInit, 0);
    for (size_t i = 0; i < kVocab; ++i) {
      logits[i] = rng.Uniform(i) * 8.0f - 4.0f;
      table[i] = static_cast<uint8_t>(rng.Word(1000 + i) % kClassesMax);
      if (rng.Word(2000 + i) % 8 == 0) mask[i / 64] |= uint64_t{1} << (i % 64);
    }
    for (size_t c = 0; c < kClassesMax; ++c) classes[c] = rng.Uniform(3000 + c) - 0.5f;
  }
  LogitWeights Weights() const { return {&table, classes, tokens}; }
  // One row after the other, as the header says.
  float Score(int id, const LogitTransform& transform) const {
    float score = logits[size_t(id)];
    bool was_seen = false;
    for (const int32_t s : seen) was_seen = was_seen || s == id;
    const float p = transform.repetition_penalty;
    if (was_seen && id < kAllowed.n_ranks) score = score > 0.0f ? score / p : score * p;
    score += classes[table[size_t(id)]];
    for (const TokenWeight& token : tokens) score += token.token_id == id ? token.weight : 0.0f;
    return score / transform.temperature;
  }
};

TEST(LogitWeights, EqualTheNaiveTwinMaskFirstOrNot) {
  const Case c;
  const LogitTransform transform{
      .temperature = 0.7f, .repetition_penalty = 1.3f, .omit_raw_mass = true};
  LogitTransformer transformer(kVocab, kAllowed);
  for (const bool masked : {false, true}) {
    const std::span<const uint64_t> mask = masked ? std::span(c.mask) : std::span<const uint64_t>();
    const auto whole = transformer.Apply(c.logits, c.seen, mask, transform, 0, kVocab, c.Weights());
    ASSERT_TRUE(whole.ok()) << whole.status();
    ASSERT_EQ(whole->allowed_rows, static_cast<int>(whole->token_ids.size()));
    for (size_t i = 0; i < whole->token_ids.size(); ++i) {
      const int id = whole->token_ids[i];
      ASSERT_EQ(whole->logits[i], c.Score(id, transform)) << id;
      ASSERT_EQ(whole->raw_logits[i], c.logits[size_t(id)]);
    }
    const auto tiles = transformer.Tiles(mask);
    ASSERT_TRUE(tiles.ok());
    std::vector<float> few;
    for (const int32_t tile : *tiles) {
      for (int i = 0; i < kHeadTile; ++i) {
        const auto id = static_cast<size_t>(tile * kHeadTile + i);
        few.push_back(id < c.logits.size() ? c.logits[id] : 0.0f);
      }
    }
    const auto first = transformer.ApplyTiles(few, c.seen, transform, 0, kVocab, c.Weights());
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(first->token_ids, whole->token_ids);
    EXPECT_EQ(first->logits, whole->logits);
    EXPECT_EQ(first->log_sum_exp, whole->log_sum_exp);
    EXPECT_EQ(first->entropy_bits, whole->entropy_bits);
  }
}

TEST(LogitWeights, NoneAndZeroAreTheSame) {
  const Case c;
  const LogitTransform transform{.temperature = 0.7f, .repetition_penalty = 1.3f};
  LogitTransformer transformer(kVocab, kAllowed);
  const auto none = transformer.Apply(c.logits, c.seen, {}, transform, 0, kVocab);
  const std::vector<float> zeros(3);
  const std::vector<TokenWeight> zero = {{4, 0.0f}};
  const auto same =
      transformer.Apply(c.logits, c.seen, {}, transform, 0, kVocab, {&c.table, zeros, zero});
  ASSERT_TRUE(none.ok() && same.ok());
  EXPECT_EQ(same->token_ids, none->token_ids);
  EXPECT_EQ(same->logits, none->logits);
  EXPECT_EQ(same->log_sum_exp, none->log_sum_exp);
}

TEST(LogitWeights, WhatIsNoWeightIsRefused) {
  const ClassTable table(kVocab);
  const auto refused = [&](const LogitWeights& weights) {
    const absl::Status status = CheckWeights(weights, kVocab);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  const std::vector<float> one = {1.0f}, many(65);
  EXPECT_TRUE(CheckWeights({&table, one, {}}, kVocab).ok());
  EXPECT_TRUE(CheckWeights({}, kVocab).ok());
  EXPECT_THAT(refused({nullptr, one, {}}), HasSubstr("need a class table"));
  EXPECT_THAT(refused({&table, many, {}}), HasSubstr("65 class weights"));
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), -100.5f}) {
    const std::vector<float> classes = {0.0f, bad};
    EXPECT_THAT(refused({&table, classes, {}}), HasSubstr("is outside -100..100"));
    const std::vector<TokenWeight> tokens = {{1, bad}};
    EXPECT_THAT(refused({nullptr, {}, tokens}), HasSubstr("is outside -100..100"));
  }
  const std::vector<TokenWeight> beyond = {{kVocab, 1.0f}}, below = {{-1, 1.0f}}, crowd(65);
  EXPECT_THAT(refused({nullptr, {}, beyond}), HasSubstr("token 333, outside 0..332"));
  EXPECT_THAT(refused({nullptr, {}, below}), HasSubstr("token -1"));
  EXPECT_THAT(refused({nullptr, {}, crowd}), HasSubstr("65 token weights"));
  EXPECT_TRUE(CheckClassTable(table, kVocab).ok());
  EXPECT_FALSE(CheckClassTable(table, kVocab + 1).ok());
  EXPECT_FALSE(CheckClassTable(ClassTable(3, 64), 3).ok());
}

}  // namespace
}  // namespace chimera
