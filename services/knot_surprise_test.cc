// The surprise of committed tokens: the same bits in passes of any length, behind a committed
// window, in process and over the wire; nothing where nobody asked or no layer has one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "model/model_testing.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

using testing::HasSubstr;

std::unique_ptr<KnotStream> Open(Knot* knot) {
  auto stream = knot->Open("", Clock::Real().NowNs() + int64_t{20} * 1000000000, 0);
  EXPECT_TRUE(stream.ok()) << stream.status();
  return *std::move(stream);
}

VerifyRequest Chain(const std::vector<int32_t>& tokens) {
  VerifyRequest request;
  request.want_surprise = true;
  for (size_t i = 0; i < tokens.size(); ++i) {
    request.nodes.push_back({.parent = static_cast<int32_t>(i) - 1, .token_id = tokens[i]});
  }
  return request;
}

std::vector<float> Surprises(KnotStream* stream, const VerifyRequest& request) {
  const auto result = stream->Verify(request);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? result->surprises : std::vector<float>();
}

class KnotSurpriseTest : public testing::Test {
 protected:
  Serving serving_{TestModelFolder("knot_surprise", true, 1, TestShape::kFull), ServingOptions()};
  Knot* const knots_[2] = {serving_.local.get(), serving_.remote.get()};
};

TEST_F(KnotSurpriseTest, PassesOfAnyLengthAgreeLocallyAndRemotely) {
  std::vector<int32_t> tokens = {1024};
  for (int i = 0; i < 150; ++i) tokens.push_back(i * 37 % 1024);
  std::vector<std::vector<float>> all;
  for (Knot* knot : knots_) {
    for (const size_t piece : {tokens.size(), size_t{64}, size_t{50}, size_t{1}}) {
      const auto stream = Open(knot);
      std::vector<float>& heard = all.emplace_back();
      for (size_t at = 0; at < tokens.size(); at += piece) {
        const size_t end = std::min(tokens.size(), at + piece);
        const std::vector<float> of_pass =
            Surprises(stream.get(), Chain({tokens.data() + at, tokens.data() + end}));
        heard.insert(heard.end(), of_pass.begin(), of_pass.end());
      }
    }
  }
  ASSERT_EQ(all[0].size(), tokens.size());
  for (const float surprise : all[0]) EXPECT_GT(surprise, 0.0f);
  for (const std::vector<float>& heard : all) EXPECT_EQ(heard, all[0]);
}

TEST_F(KnotSurpriseTest, BehindACommittedWindowItIsThatOfPlainPasses) {
  const auto plain = Open(knots_[0]);
  const std::vector<float> known = Surprises(plain.get(), Chain({7, 8, 9, 10, 11}));
  ASSERT_EQ(known.size(), 5u);
  for (Knot* knot : knots_) {
    const auto drafts = Open(knot);
    VerifyRequest window = Chain({7, 8, 9});
    window.commit_all = window.want_surprise = false;
    EXPECT_TRUE(Surprises(drafts.get(), window).empty());
    VerifyRequest next = Chain({10, 11});
    next.commit_node = 2;
    EXPECT_EQ(Surprises(drafts.get(), next), (std::vector<float>{known[3], known[4]}));
  }
}

TEST_F(KnotSurpriseTest, NobodyAskedOrNothingIsCommitted) {
  for (Knot* knot : knots_) {
    const auto stream = Open(knot);
    VerifyRequest request = Chain({7, 8, 9});
    request.want_surprise = false;
    EXPECT_TRUE(Surprises(stream.get(), request).empty());
    request.want_surprise = true;
    request.commit_all = false;
    const absl::Status status = stream->Verify(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("want_surprise"));
  }
}

TEST(KnotSurprise, AModelWithoutTitansLayersHasNone) {
  Serving serving(TestModelFolder("knot_surprise_plain", true), ServingOptions());
  EXPECT_TRUE(Surprises(Open(serving.local.get()).get(), Chain({7, 8})).empty());
  EXPECT_TRUE(Surprises(Open(serving.remote.get()).get(), Chain({7, 8})).empty());
}

}  // namespace
}  // namespace chimera
