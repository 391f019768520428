#include "cluster/cost_probe.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "model/model_testing.h"

namespace chimera {
namespace {

std::shared_ptr<const Model> TestModel() {
  auto model = Model::Load(TestModelFolder("cost_probe", true, 1, TestShape::kFull));
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

TEST(CostProbe, EverySizeIsMeasuredWithinTheBudget) {
  const auto model = TestModel();
  int entered = 0, left = 0;
  CostProbeOptions options;
  options.runs_max = 3;
  options.enter = [&] { return ++entered > 0; };
  options.leave = [&] { ++left; };
  const auto curve = MeasureCost(*model, options);
  ASSERT_TRUE(curve.has_value());
  ASSERT_EQ(curve->points.size(), 6u);
  for (size_t i = 0; i < curve->points.size(); ++i) {
    EXPECT_EQ(curve->points[i].positions, kCostPositions[i]);
    EXPECT_GT(curve->points[i].pass_ns, 0);
    if (i > 0) {
      EXPECT_GE(curve->points[i].pass_ns, curve->points[i - 1].pass_ns);
    }
  }
  EXPECT_GT(curve->head_ns, 0);
  // 32 positions are more work than one, whatever else the machine does.
  EXPECT_GT(curve->points[5].pass_ns, 2 * curve->points[0].pass_ns);
  EXPECT_EQ(entered, left);
  EXPECT_LE(entered, 1 + 7 * 3);
  // A budget that is spent already: a warm-up, and every size once.
  entered = 0;
  options.budget_ns = 0;
  ASSERT_TRUE(MeasureCost(*model, options).has_value());
  EXPECT_EQ(entered, 8);
}

TEST(CostProbe, GivesUpBetweenPasses) {
  const auto model = TestModel();
  CostProbeOptions options;
  int passes = 0;
  options.enter = [&] { return ++passes < 4; };
  EXPECT_FALSE(MeasureCost(*model, options).has_value());
  EXPECT_EQ(passes, 4);
}

}  // namespace
}  // namespace chimera
