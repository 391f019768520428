// What a knot says of itself: the cost of its passes, near and far.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "cluster/cost_probe.h"
#include "model/model_testing.h"
#include "services/serving_testing.h"

namespace chimera {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

// Info once the model that is current has been measured.
KnotModelInfo MeasuredInfo(const LocalKnot& knot) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (knot.Info().cost.points.empty() && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return knot.Info();
}

TEST(KnotInfo, TheCostCurveComesInTheBackgroundAndWithEveryModel) {
  ServingOptions options;
  options.measure_cost = true;
  options.data_dir = TestFolder("knot_info_data");
  Serving serving(TestModelFolder("knot_info", true, 1, TestShape::kFull), options);
  const KnotModelInfo first = MeasuredInfo(*serving.local);
  ASSERT_EQ(first.cost.points.size(), 6u);
  EXPECT_GT(first.cost.head_ns, 0);
  const auto far = serving.remote->CurrentModel();
  ASSERT_TRUE(far.ok()) << far.status();
  ASSERT_EQ(far->cost.points.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(far->cost.points[i].positions, kCostPositions[i]);
    EXPECT_EQ(far->cost.points[i].pass_ns, first.cost.points[i].pass_ns);
  }
  EXPECT_EQ(far->cost.head_ns, first.cost.head_ns);
  EXPECT_EQ(first.streams_running, 0);  // measuring takes no slot
  ASSERT_TRUE(serving.local->Publish(TestModelFolder("knot_info_2", true, 2)).ok());
  const KnotModelInfo second = MeasuredInfo(*serving.local);
  EXPECT_NE(second.model_id, first.model_id);
  EXPECT_EQ(second.cost.points.size(), 6u);
}

// It is not asked for: nothing is measured. And a knot that goes while it measures does not wait.
TEST(KnotInfo, MeasuringIsAChoiceAndCanBeCutShort) {
  Serving serving(TestModelFolder("knot_info_off", true), {});
  EXPECT_TRUE(serving.local->Info().cost.points.empty());
  const std::string folder = TestModelFolder("knot_info_short", true, 1, TestShape::kFull);
  LocalKnotOptions options;
  options.measure_cost = true;
  for (int i = 0; i < 5; ++i) {
    auto knot = LocalKnot::Create(options, folder, nullptr);
    ASSERT_TRUE(knot.ok()) << knot.status();
  }
}

}  // namespace
}  // namespace chimera
