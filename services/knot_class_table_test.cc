// Weights of classes and tokens as served: the same bits in process and over the wire, few rows and
// many, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "model/model_testing.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

using testing::HasSubstr;

constexpr int kVocabSize = 1080;  // of the test model: 1,024 ranks, end-of-text, 55 specials

std::shared_ptr<const ClassTable> TableOf(int n_classes) {
  auto table = std::make_shared<ClassTable>(kVocabSize);
  for (size_t id = 0; id < table->size(); ++id) {
    (*table)[id] = static_cast<uint8_t>(id * 7 % static_cast<size_t>(n_classes));
  }
  return table;
}

std::shared_ptr<const NodeMask> EveryNth(int n) {
  auto mask = std::make_shared<NodeMask>((kVocabSize + 63) / 64);
  for (int id = 0; id < kVocabSize; id += n) (*mask)[size_t(id) / 64] |= uint64_t{1} << (id % 64);
  return mask;
}

class KnotClassTableTest : public testing::Test {
 protected:
  std::unique_ptr<KnotStream> Open(Knot* knot) {
    auto stream = knot->Open("", Clock::Real().NowNs() + int64_t{20} * 1000000000, 0);
    EXPECT_TRUE(stream.ok()) << stream.status();
    return *std::move(stream);
  }
  static VerifyRequest Request(std::shared_ptr<const ClassTable> table, std::vector<float> classes,
                               std::vector<TokenWeight> tokens = {}) {
    VerifyRequest request;
    request.transform = {.temperature = 0.8f,
                         .repetition_penalty = 1.2f,
                         .class_table = std::move(table),
                         .omit_raw_mass = true};
    request.nodes = {{.parent = -1, .token_id = 3},
                     {.parent = 0,
                      .token_id = 900,
                      .want_distribution = true,
                      .class_weights = std::move(classes),
                      .token_weights = std::move(tokens)}};
    return request;
  }
  std::vector<Knot*> Knots() { return {serving_.local.get(), serving_.remote.get()}; }

  Serving serving_{TestModelFolder("knot_class_table", TestConfigWith("")), ServingOptions()};
};

TEST_F(KnotClassTableTest, TheSameBitsEverywhere) {
  const std::vector<float> classes = {0.5f, -1.0f, 0.0f, 2.0f};
  const std::vector<TokenWeight> tokens = {{40, 3.0f}, {80, -0.25f}};
  for (const int every : {1, 4, 40}) {  // the last mask is evaluated first
    std::vector<NodeDistribution> same;
    for (Knot* knot : Knots()) {
      for (const bool omit_raw_mass : {false, true}) {
        VerifyRequest request = Request(TableOf(5), classes, tokens);
        request.transform.omit_raw_mass = omit_raw_mass;
        if (every > 1) request.nodes[1].mask = EveryNth(every);
        const auto stream = Open(knot);
        const auto result = stream->Verify(request);
        ASSERT_TRUE(result.ok()) << result.status();
        same.push_back(result->distributions.at(0));
        EXPECT_EQ(same.back().token_ids, same[0].token_ids);
        EXPECT_EQ(same.back().logits, same[0].logits);
        EXPECT_EQ(same.back().log_sum_exp, same[0].log_sum_exp);
        const auto more = stream->MoreRows(same[0].node, 3, 4);
        ASSERT_TRUE(more.ok()) << more.status();
        EXPECT_TRUE(
            std::equal(more->logits.begin(), more->logits.end(), same[0].logits.begin() + 3));
      }
    }
  }
}

TEST_F(KnotClassTableTest, WeightsMoveTheirTokensAndNoOthers) {
  const auto table = TableOf(5);
  const std::vector<float> classes = {0.5f, -1.0f, 0.0f, 2.0f};
  const auto rows = [&](std::vector<float> weights, std::vector<TokenWeight> tokens) {
    const auto result = Open(Knots()[1])->Verify(Request(table, weights, tokens));
    EXPECT_TRUE(result.ok()) << result.status();
    const NodeDistribution& d = result->distributions.at(0);
    std::map<int, float> logits;
    for (size_t i = 0; i < d.token_ids.size(); ++i) logits[d.token_ids[i]] = d.logits[i];
    return logits;
  };
  const auto plain = rows({}, {}), weighted = rows(classes, {{41, 1.0f}});
  int compared = 0;
  for (const auto& [id, logit] : weighted) {
    if (!plain.contains(id)) continue;
    const size_t c = (*table)[size_t(id)];
    const float by = (c < classes.size() ? classes[c] : 0.0f) + (id == 41 ? 1.0f : 0.0f);
    EXPECT_NEAR(logit, plain.at(id) + by / 0.8f, 1e-4) << id;
    ++compared;
  }
  EXPECT_GT(compared, 900);
}

TEST_F(KnotClassTableTest, NodesOfAWindowHaveWeightsOfTheirOwn) {
  for (Knot* knot : Knots()) {
    VerifyRequest request = Request(TableOf(2), {0.0f, 100.0f});
    request.commit_all = false;
    request.nodes[0].want_distribution = true;
    request.nodes[0].class_weights = {100.0f};
    const auto result = Open(knot)->Verify(request);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->distributions.size(), 2u);
    EXPECT_EQ(result->distributions[0].token_ids[0] % 2, 0);  // id * 7 % 2
    EXPECT_EQ(result->distributions[1].token_ids[0] % 2, 1);
  }
}

TEST_F(KnotClassTableTest, WhatDoesNotFitIsRefused) {
  for (Knot* knot : Knots()) {
    const auto refused = [&](const VerifyRequest& request) {
      const auto result = Open(knot)->Verify(request);
      EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
      return std::string(result.status().message());
    };
    const auto table = TableOf(5);
    EXPECT_THAT(refused(Request(nullptr, {1.0f})), HasSubstr("node 1: class weights need"));
    EXPECT_THAT(refused(Request(std::make_shared<ClassTable>(7), {1.0f})),
                HasSubstr("a class table of 7 tokens for 1080"));
    EXPECT_THAT(refused(Request(std::make_shared<ClassTable>(kVocabSize, 64), {1.0f})),
                HasSubstr("class 64 of token 0 is outside 0..63"));
    EXPECT_THAT(refused(Request(table, std::vector<float>(65))), HasSubstr("65 class weights"));
    EXPECT_THAT(refused(Request(table, {std::nanf("")})), HasSubstr("class weight nan"));
    EXPECT_THAT(refused(Request(table, {HUGE_VALF})), HasSubstr("class weight inf"));
    EXPECT_THAT(refused(Request(table, {}, {{kVocabSize, 1.0f}})), HasSubstr("token 1080"));
    EXPECT_THAT(refused(Request(table, {}, {{7, -HUGE_VALF}})), HasSubstr("token weight -inf"));
    EXPECT_THAT(refused(Request(table, {}, std::vector<TokenWeight>(65))),
                HasSubstr("65 token weights"));
  }
  const auto stream = Open(Knots()[0]);  // over the wire an error ends the stream
  EXPECT_FALSE(stream->Verify(Request(nullptr, {1.0f})).ok());
  EXPECT_TRUE(stream->Verify(Request(TableOf(5), {1.0f})).ok());
}

// A table that changes from pass to pass.
TEST_F(KnotClassTableTest, ManyTablesTravel) {
  const auto near = Open(Knots()[0]), far = Open(Knots()[1]);
  for (int step = 0; step < 40; ++step) {
    const VerifyRequest request = Request(TableOf(2 + step % 20), {0.0f, 1.0f});
    const auto expected = near->Verify(request), result = far->Verify(request);
    ASSERT_TRUE(expected.ok() && result.ok()) << result.status();
    EXPECT_EQ(result->distributions[0].logits, expected->distributions[0].logits);
  }
}

}  // namespace
}  // namespace chimera
