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
  ExecContext exec(1);
  int passes = 0;
  CostProbeOptions options;
  options.runs_max = 3;
  options.run = [&](absl::FunctionRef<void(ExecContext*)> pass) {
    pass(&exec);
    return ++passes > 0;
  };
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
  EXPECT_LE(passes, 1 + 7 * 3);
  // A budget that is spent already: a warm-up, and every size once.
  passes = 0;
  options.budget_ns = 0;
  ASSERT_TRUE(MeasureCost(*model, options).has_value());
  EXPECT_EQ(passes, 8);
}

TEST(CostProbe, GivesUpBetweenPasses) {
  const auto model = TestModel();
  ExecContext exec(1);
  CostProbeOptions options;
  int passes = 0;
  options.run = [&](absl::FunctionRef<void(ExecContext*)> pass) {
    if (++passes == 4) return false;
    pass(&exec);
    return true;
  };
  EXPECT_FALSE(MeasureCost(*model, options).has_value());
  EXPECT_EQ(passes, 4);
}

}  // namespace
}  // namespace chimera
