#include "cluster/server_deadline.h"

#include <algorithm>

#include "base/clock.h"

namespace chimera {

int64_t ServerDeadlineNs(std::chrono::system_clock::time_point deadline, int default_ms) {
  const int64_t now_ns = Clock::Real().NowNs();
  if (deadline == std::chrono::system_clock::time_point::max()) {
    return now_ns + int64_t{default_ms} * 1000000;
  }
  const auto left = deadline - std::chrono::system_clock::now();
  // A year is as good as forever and cannot overflow.
  const int64_t left_ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
  const int64_t bounded_ms = std::clamp<int64_t>(left_ms, 0, int64_t{365} * 24 * 3600 * 1000);
  return now_ns + std::max<int64_t>(bounded_ms * 1000000, 1);
}

}  // namespace chimera
