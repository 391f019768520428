// Grammar masks as served: what they allow, in process and over the wire, few rows and many.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cluster/mask_cache.h"
#include "model/model_testing.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

using testing::HasSubstr;

constexpr int kVocabSize = 1080;  // of the test model: 1,024 ranks, end-of-text, 55 specials

std::shared_ptr<const NodeMask> MaskOf(const std::vector<int>& ids) {
  auto mask = std::make_shared<NodeMask>((kVocabSize + 63) / 64, 0);
  for (const int id : ids) (*mask)[size_t(id) / 64] |= uint64_t{1} << (id % 64);
  return mask;
}

std::shared_ptr<const NodeMask> EveryNth(int n) {
  std::vector<int> ids;
  for (int id = 0; id < kVocabSize; id += n) ids.push_back(id);
  return MaskOf(ids);
}

class KnotMaskTest : public testing::Test {
 protected:
  std::unique_ptr<KnotStream> Open(Knot* knot) {
    auto stream = knot->Open("", Clock::Real().NowNs() + int64_t{20} * 1000000000, 0);
    EXPECT_TRUE(stream.ok()) << stream.status();
    return *std::move(stream);
  }
  static VerifyRequest Request(std::shared_ptr<const NodeMask> mask, bool omit_raw_mass) {
    VerifyRequest request;
    request.transform.omit_raw_mass = omit_raw_mass;
    request.transform.temperature = 0.8f;
    request.nodes = {{.parent = -1, .token_id = 3},
                     {.parent = 0, .token_id = 900, .want_distribution = true, .mask = mask}};
    return request;
  }
  std::vector<Knot*> Knots() { return {serving_.local.get(), serving_.remote.get()}; }

  Serving serving_{TestModelFolder("knot_mask", TestConfigWith("")), ServingOptions()};
};

TEST_F(KnotMaskTest, OnlyAllowedRowsComeBackWithTheBitsTheyHave) {
  const std::vector<std::shared_ptr<const NodeMask>> masks = {
      MaskOf({7}), MaskOf({0, 1, 500, 1023, 1024}), EveryNth(40), EveryNth(3), EveryNth(1)};
  const auto plain = Open(Knots()[0])->Verify(Request(nullptr, false));
  ASSERT_TRUE(plain.ok());
  for (const auto& mask : masks) {
    std::vector<NodeDistribution> same;
    for (Knot* knot : Knots()) {
      for (const bool omit_raw_mass : {false, true}) {
        const auto stream = Open(knot);
        const auto result = stream->Verify(Request(mask, omit_raw_mass));
        ASSERT_TRUE(result.ok()) << result.status();
        same.push_back(result->distributions.at(0));
        const NodeDistribution& d = same.back();
        for (const int id : d.token_ids) EXPECT_TRUE((*mask)[size_t(id) / 64] >> (id % 64) & 1);
        EXPECT_EQ(d.token_ids, same[0].token_ids);
        EXPECT_EQ(d.logits, same[0].logits);
        EXPECT_EQ(d.log_sum_exp, same[0].log_sum_exp);
        EXPECT_EQ(d.allowed_rows, same[0].allowed_rows);
        if (d.allowed_rows > 6) {
          const auto more = stream->MoreRows(d.node, 3, 3);
          ASSERT_TRUE(more.ok()) << more.status();
          for (int i = 0; i < 3; ++i)
            EXPECT_EQ(more->token_ids[size_t(i)], d.token_ids[3 + size_t(i)]);
        }
      }
    }
  }
  // All that are text: the mask of everything is no mask.
  const auto all = Open(Knots()[0])->Verify(Request(EveryNth(1), false));
  EXPECT_EQ(all->distributions[0].token_ids, plain->distributions[0].token_ids);
  EXPECT_EQ(all->distributions[0].log_sum_exp, plain->distributions[0].log_sum_exp);
}

TEST_F(KnotMaskTest, NodesOfAWindowHaveMasksOfTheirOwn) {
  for (Knot* knot : Knots()) {
    const auto stream = Open(knot);
    VerifyRequest request = Request(nullptr, true);
    request.commit_all = false;
    request.nodes[0].want_distribution = true;
    request.nodes[0].mask = MaskOf({5, 6});
    request.nodes[1].mask = MaskOf({8});
    const auto result = stream->Verify(request);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->distributions.size(), 2u);
    EXPECT_EQ(result->distributions[0].allowed_rows, 2);
    EXPECT_THAT(result->distributions[1].token_ids, testing::ElementsAre(8));
  }
}

TEST_F(KnotMaskTest, AMaskThatDoesNotFitIsRefusedAndTheStreamGoesOn) {
  for (Knot* knot : Knots()) {
    const auto stream = Open(knot);
    const auto refused = [&](std::shared_ptr<const NodeMask> mask) {
      const auto result = stream->Verify(Request(std::move(mask), true));
      EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
      return std::string(result.status().message());
    };
    EXPECT_THAT(refused(std::make_shared<NodeMask>(5, 1)), HasSubstr("node 1: a mask of 5 words"));
    if (knot != Knots()[0]) continue;  // over the wire an error ends the stream
    EXPECT_THAT(refused(MaskOf({})), HasSubstr("allows no token"));
    EXPECT_THAT(refused(MaskOf({1030})), HasSubstr("allows no token"));  // specials are never text
    EXPECT_TRUE(stream->Verify(Request(MaskOf({7}), true)).ok());
  }
}

// Every step another mask, more of them than a round of questions: each is sent once.
TEST_F(KnotMaskTest, ManyMasksTravel) {
  const auto near = Open(Knots()[0]), far = Open(Knots()[1]);
  for (int step = 0; step < 40; ++step) {
    VerifyRequest request = Request(MaskOf({step % 20, 100 + step % 20, 1024}), true);
    const auto expected = near->Verify(request), result = far->Verify(request);
    ASSERT_TRUE(expected.ok() && result.ok()) << result.status();
    EXPECT_EQ(result->distributions[0].logits, expected->distributions[0].logits);
  }
}

}  // namespace
}  // namespace chimera
