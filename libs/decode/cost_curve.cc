#include "decode/cost_curve.h"

#include <algorithm>

namespace chimera {

int64_t PassNs(const CostCurve& curve, int positions) {
  const std::vector<CostPoint>& points = curve.points;
  if (points.empty()) return 0;
  if (positions <= points.front().positions || points.size() == 1) return points.front().pass_ns;
  size_t right = 1;
  while (right + 1 < points.size() && points[right].positions < positions) ++right;
  const CostPoint& a = points[right - 1];
  const CostPoint& b = points[right];
  const double slope =
      static_cast<double>(b.pass_ns - a.pass_ns) / static_cast<double>(b.positions - a.positions);
  return a.pass_ns + static_cast<int64_t>(slope * static_cast<double>(positions - a.positions));
}

int64_t WatchdogLimitNs(const CostCurve& curve, int positions, int tick_ms) {
  const int64_t expected = PassNs(curve, positions) + curve.head_ns;
  return std::max(int64_t{tick_ms} * 1000000, expected + expected / 2);
}

}  // namespace chimera
