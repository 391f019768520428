#include "decode/cost_curve.h"

#include <gtest/gtest.h>

namespace chimera {
namespace {

constexpr int64_t kMs = 1000000;

CostCurve Measured() {
  return {{{1, 10 * kMs}, {2, 12 * kMs}, {4, 14 * kMs}, {8, 30 * kMs}}, 4 * kMs};
}

TEST(CostCurve, RunsThroughItsPointsAndOn) {
  const CostCurve curve = Measured();
  for (const CostPoint& point : curve.points) {
    EXPECT_EQ(PassNs(curve, point.positions), point.pass_ns);
  }
  EXPECT_EQ(PassNs(curve, 3), 13 * kMs);
  EXPECT_EQ(PassNs(curve, 6), 22 * kMs);
  EXPECT_EQ(PassNs(curve, 10), 38 * kMs);
  EXPECT_EQ(PassNs(curve, 0), 10 * kMs);
  EXPECT_EQ(PassNs({{{1, 7}}, 0}, 32), 7);
  EXPECT_EQ(PassNs({}, 4), 0);
}

TEST(CostCurve, TheWatchdogWaitsATickOrHalfAsLongAgain) {
  EXPECT_EQ(WatchdogLimitNs(Measured(), 1, 20), 21 * kMs);
  EXPECT_EQ(WatchdogLimitNs(Measured(), 1, 30), 30 * kMs);
  EXPECT_EQ(WatchdogLimitNs(Measured(), 8, 20), 51 * kMs);
  EXPECT_EQ(WatchdogLimitNs({}, 8, 20), 20 * kMs);
}

}  // namespace
}  // namespace chimera
