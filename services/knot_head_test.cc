// The output head as served: with and without the raw mass, exact and of fewer bits, in process and
// over the wire.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "model/model_testing.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

class KnotHeadTest : public testing::TestWithParam<const char*> {
 protected:
  // Two tokens, then the rows of the distribution and the next five.
  NodeDistribution Rows(Knot* knot, const LogitTransform& transform) {
    auto stream = knot->Open("", Clock::Real().NowNs() + int64_t{20} * 1000000000, 0);
    EXPECT_TRUE(stream.ok()) << stream.status();
    VerifyRequest request;
    request.transform = transform;
    request.nodes = {{.parent = -1, .token_id = 3},
                     {.parent = 0, .token_id = 900, .want_distribution = true}};
    const auto result = (*stream)->Verify(request);
    EXPECT_TRUE(result.ok()) << result.status();
    NodeDistribution out = result->distributions.at(0);
    const auto held = static_cast<int32_t>(out.token_ids.size());
    const auto more = (*stream)->MoreRows(out.node, held, 5);
    EXPECT_TRUE(more.ok()) << more.status();
    EXPECT_EQ(more->token_ids.size(), 5u);
    out.token_ids.insert(out.token_ids.end(), more->token_ids.begin(), more->token_ids.end());
    out.logits.insert(out.logits.end(), more->logits.begin(), more->logits.end());
    return out;
  }

  Serving serving_{TestModelFolder("knot_head", TestConfigWith(GetParam())), ServingOptions()};
};

TEST_P(KnotHeadTest, TheRawMassIsSentOrLeftOutAndNothingElseChanges) {
  LogitTransform transform{.temperature = 0.8f, .repetition_penalty = 1.2f, .top_p = 0.7f};
  const NodeDistribution full = Rows(serving_.local.get(), transform);
  EXPECT_TRUE(std::isfinite(full.raw_log_sum_exp));
  EXPECT_EQ(Rows(serving_.remote.get(), transform).raw_log_sum_exp, full.raw_log_sum_exp);
  transform.omit_raw_mass = true;
  for (Knot* knot :
       {static_cast<Knot*>(serving_.local.get()), static_cast<Knot*>(serving_.remote.get())}) {
    const NodeDistribution lean = Rows(knot, transform);
    EXPECT_TRUE(std::isnan(lean.raw_log_sum_exp));
    EXPECT_EQ(lean.token_ids, full.token_ids);
    EXPECT_EQ(lean.logits, full.logits);
    EXPECT_EQ(lean.log_sum_exp, full.log_sum_exp);
    EXPECT_EQ(lean.entropy_bits, full.entropy_bits);
    EXPECT_EQ(lean.allowed_rows, full.allowed_rows);
  }
}

// Rows end where top_p is reached; the same rows as with another top_p.
TEST_P(KnotHeadTest, RowsEndAtTopP) {
  LogitTransform transform{
      .temperature = 0.5f, .rows_max = 512, .top_p = 0.3f, .omit_raw_mass = true};
  const NodeDistribution few = Rows(serving_.remote.get(), transform);
  transform.top_p = 1.0f;
  const NodeDistribution all = Rows(serving_.remote.get(), transform);
  ASSERT_LT(few.token_ids.size(), all.token_ids.size());
  EXPECT_TRUE(std::equal(few.logits.begin(), few.logits.end(), all.logits.begin()));
  double mass = 0;
  const size_t held = few.logits.size() - 5;
  for (size_t i = 0; i < held; ++i)
    mass += std::exp(double{few.logits[i]} - double{few.log_sum_exp});
  EXPECT_GE(mass, 0.3 - 1e-5);
  EXPECT_LT(mass - std::exp(double{few.logits[held - 1]} - double{few.log_sum_exp}), 0.3 + 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Bits, KnotHeadTest,
                         testing::Values(R"("head_bits": 8)", R"("head_bits": 4)"),
                         [](const auto& info) { return info.index == 0 ? "Eight" : "Four"; });

}  // namespace
}  // namespace chimera
