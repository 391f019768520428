// What passes cost on the knot's machine (DESIGN D6): the size of draft trees and the watchdog
// follow from it, the text never does (D20). Functions are pure.
#pragma once

#include <cstdint>
#include <vector>

namespace chimera {

struct CostPoint {
  int positions = 0;    // of one verify window
  int64_t pass_ns = 0;  // without the head
};

// At the model's default loops, at the start of a text. Points ascend in both.
struct CostCurve {
  std::vector<CostPoint> points;  // empty: not measured yet
  int64_t head_ns = 0;            // distributions of one position
};

// Between two points by their line, beyond the last by the last line; positions at least 1. 0 for
// an empty curve.
int64_t PassNs(const CostCurve& curve, int positions);

// How long a pass of so many positions and its head may take before it counts as overrun: the
// larger of a tick (deployment.watchdog_tick_ms) and 1.5 times what the curve says.
int64_t WatchdogLimitNs(const CostCurve& curve, int positions, int tick_ms);

}  // namespace chimera
