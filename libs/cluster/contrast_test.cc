#include "cluster/contrast.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cluster/local_knot.h"
#include "decode/logit_transform.h"
#include "model/model_testing.h"
#include "model/planes_testing.h"
#include "model/step.h"

namespace chimera {
namespace {

using testing::HasSubstr;

constexpr int32_t kEot = 1024;
constexpr int kVocab = 1080;

// Nats of a token under logits, in double.
double PlainNll(std::span<const float> logits, int32_t token) {
  const double max = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  return max + std::log(sum) - static_cast<double>(logits[static_cast<size_t>(token)]);
}

// The same scoring with a stepper, token by token.
double PlainNll(const Model& model, const std::vector<int32_t>& front,
                const std::vector<int32_t>& text, size_t scored) {
  std::vector<int32_t> tokens = {kEot};
  tokens.insert(tokens.end(), front.begin(), front.end());
  tokens.insert(tokens.end(), text.begin(), text.end());
  ExecContext exec(1);
  Stepper stepper(model, &exec);
  BraidState state(model.shape());
  std::vector<float> logits(static_cast<size_t>(kVocab));
  double nats = 0;
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    const auto hidden = stepper.Step(&state, tokens[i]);
    if (i + 1 + scored < tokens.size()) continue;
    stepper.Logits(hidden, 1, logits);
    nats += PlainNll(logits, tokens[i + 1]);
  }
  return nats;
}

std::unique_ptr<LocalKnot> TestKnot(const std::string& folder) {
  LocalKnotOptions options;
  options.threads = 2;
  options.max_streams = 1;  // its streams follow each other
  auto knot = LocalKnot::Create(options, folder, nullptr);
  EXPECT_TRUE(knot.ok()) << knot.status();
  return *std::move(knot);
}

TEST(Contrast, EqualsPlainScoring) {
  const std::string folder = TestModelFolder("contrast", TestConfig(true, TestShape::kFull));
  const auto model = Model::Load(folder);
  ASSERT_TRUE(model.ok()) << model.status();
  const auto knot = TestKnot(folder);
  const auto front = RandomTokens(70, 1024, 1), other = RandomTokens(30, 1024, 2);
  for (const size_t length : {2, 64, 65, 150}) {
    const auto text = RandomTokens(static_cast<int>(length), 1024, 3);
    for (const int window : {1, 40, 64}) {
      const auto contrast =
          MeasureContrast(knot.get(), (*model)->id(), kEot, front, other, text, window, 0);
      ASSERT_TRUE(contrast.ok()) << contrast.status();
      const size_t scored = std::min(static_cast<size_t>(window), length - 1);
      EXPECT_EQ(contrast->tokens, static_cast<int>(scored));
      EXPECT_NEAR(contrast->nll_with, PlainNll(**model, front, text, scored), 1e-4);
      EXPECT_NEAR(contrast->nll_without, PlainNll(**model, other, text, scored), 1e-4);
    }
  }
  const auto text = RandomTokens(50, 1024, 4);
  const auto alike = MeasureContrast(knot.get(), "", kEot, {}, {}, text, 64, 0);
  ASSERT_TRUE(alike.ok()) << alike.status();
  EXPECT_EQ(alike->nll_with, alike->nll_without) << "to the bit";
  EXPECT_EQ(alike->tokens, 49);
  EXPECT_NEAR(alike->nll_with, PlainNll(**model, {}, text, 49), 1e-4);
}

TEST(Contrast, RefusesWithASentence) {
  const auto knot = TestKnot(TestModelFolder("contrast_refused", true));
  const std::vector<int32_t> text = {1, 2, 3}, one = {1}, outside = {1, 2, kVocab},
                             special = {1, 2, kEot + 1};
  const auto refused = [&](const std::vector<int32_t>& of, int window, const char* model = "",
                           int64_t deadline_ns = 0) {
    return MeasureContrast(knot.get(), model, kEot, {}, {}, of, window, deadline_ns).status();
  };
  const auto is = [](const absl::Status& status, absl::StatusCode code, const char* words) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  using enum absl::StatusCode;
  is(refused({}, 8), kInvalidArgument, "a text of 0 tokens, at least 2");
  is(refused(one, 8), kInvalidArgument, "a text of 1 tokens, at least 2");
  is(refused(text, 0), kInvalidArgument, "window 0 is outside 1..64");
  is(refused(text, 65), kInvalidArgument, "window 65 is outside 1..64");
  is(refused(outside, 8), kInvalidArgument, "token 1080, outside 0..1079");
  is(refused(special, 8), kInvalidArgument, "token 1025 to be scored is neither text");
  is(refused(text, 8, "other"), kFailedPrecondition, "other");
  is(refused(text, 8, "", Clock::Real().NowNs() - 1), kDeadlineExceeded, "deadline");
  const auto holder = knot->Open("", 0, 0);
  ASSERT_TRUE(holder.ok()) << holder.status();
  is(refused(text, 8), kResourceExhausted, "slots");
}

// Every fifth position is sure of token 3, more than any weight makes up for.
float FakeLogit(int64_t position, int32_t id) {
  if (position % 5 == 0 && id == 3) return 300.0f;
  return static_cast<float>((id * 31 + position * 17) % 211) * 0.03f;
}

std::vector<float> FakeLogits(int64_t position) {
  std::vector<float> logits(static_cast<size_t>(kVocab));
  for (int32_t id = 0; id < kVocab; ++id) logits[static_cast<size_t>(id)] = FakeLogit(position, id);
  return logits;
}

class FakeStream final : public KnotStream {
 public:
  explicit FakeStream(std::vector<size_t>* passes)
      : passes_(passes), transformer_(kVocab, {kEot, kEot}) {}

  const std::string& model_id() const override { return id_; }
  absl::StatusOr<VerifyResult> Verify(const VerifyRequest& request) override {
    passes_->push_back(request.nodes.size());
    transform_ = request.transform;
    VerifyResult result;
    wanted_.clear();
    for (size_t i = 0; i < request.nodes.size(); ++i, ++position_) {
      if (!request.nodes[i].want_distribution) continue;
      const auto node = static_cast<int32_t>(i);
      wanted_[node] = {position_, request.nodes[i].token_weights};
      auto rows = MoreRows(node, 0, transform_.rows_max);
      if (!rows.ok()) return rows.status();
      result.distributions.push_back(*std::move(rows));
    }
    return result;
  }
  absl::StatusOr<NodeDistribution> MoreRows(int32_t node, int32_t first, int32_t count) override {
    const Wanted& wanted = wanted_.at(node);
    auto rows = transformer_.Apply(FakeLogits(wanted.position), {}, {}, transform_, first, count,
                                   {.tokens = wanted.weights});
    if (rows.ok()) rows->node = node;
    return rows;
  }
  void Cancel() override {}

 private:
  struct Wanted {
    int64_t position = 0;
    std::vector<TokenWeight> weights;
  };
  const std::string id_ = "fake";
  std::vector<size_t>* const passes_;
  LogitTransformer transformer_;
  LogitTransform transform_;
  std::map<int32_t, Wanted> wanted_;
  int64_t position_ = 0;
};

class FakeKnot final : public Knot {
 public:
  absl::StatusOr<KnotModelInfo> CurrentModel() override { return KnotModelInfo(); }
  absl::StatusOr<std::unique_ptr<KnotStream>> Open(const std::string&, int64_t, int) override {
    return std::make_unique<FakeStream>(&passes);
  }
  absl::StatusOr<std::vector<ModelFile>> FetchModel(const std::string&) override {
    return std::vector<ModelFile>();
  }
  absl::StatusOr<std::string> Publish(const std::string&) override { return std::string(); }

  std::vector<size_t> passes;
};

// A window over the border of two passes, with tokens that are not the top row.
TEST(Contrast, TokensThatNoWeightLiftsAndWindowsOverPasses) {
  FakeKnot knot;
  const auto text = RandomTokens(100, 1024, 5);
  for (const size_t in_front : {size_t{0}, size_t{4020}}) {
    const std::vector<int32_t> front(in_front, 7);
    const auto contrast = MeasureContrast(&knot, "", kEot, front, {}, text, 64, 0);
    ASSERT_TRUE(contrast.ok()) << contrast.status();
    double with = 0, without = 0;
    for (size_t i = 36; i < 100; ++i) {
      with += PlainNll(FakeLogits(static_cast<int64_t>(in_front + i)), text[i]);
      without += PlainNll(FakeLogits(static_cast<int64_t>(i)), text[i]);
    }
    EXPECT_NEAR(contrast->nll_with, with, 1e-3);
    EXPECT_NEAR(contrast->nll_without, without, 1e-3);
    EXPECT_GT(without, 12 * 290.0) << "some were sure of another token";
  }
  EXPECT_EQ(knot.passes, (std::vector<size_t>{100, 100, 4096, 24, 100}));
}

}  // namespace
}  // namespace chimera
