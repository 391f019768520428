#include "base/clock.h"

#include <chrono>

namespace chimera {
namespace {

class RealClock final : public Clock {
 public:
  int64_t NowNs() const override {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  }
  int64_t WallMs() const override {
    return std::chrono::system_clock::now().time_since_epoch() / std::chrono::milliseconds(1);
  }
};

}  // namespace

const Clock& Clock::Real() {
  static const RealClock clock;
  return clock;
}

}  // namespace chimera
