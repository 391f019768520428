// Time as an interface, so tests can move it. Thread-safe.
#pragma once

#include <cstdint>

namespace chimera {

class Clock {
 public:
  virtual ~Clock() = default;
  // Monotonic nanoseconds; only differences mean anything.
  virtual int64_t NowNs() const = 0;
  // Milliseconds since 1970, for records people read.
  virtual int64_t WallMs() const = 0;

  // The machine's clock.
  static const Clock& Real();
};

}  // namespace chimera
