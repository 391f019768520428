// Shares the cores between streams: as many passes run at once as there are permits, the others
// wait in order of arrival. A long prompt gives its permit back between pieces, so it never holds
// up the tokens of others for longer than one piece.
#pragma once

#include <atomic>
#include <cstdint>
#include <set>

#include "base/mutex.h"

namespace chimera {

// Thread-safe.
class ComputeGate {
 public:
  explicit ComputeGate(int permits) : free_(permits) {}

  // Waits for a permit; false, and none taken, when *cancelled became true or Clock::Real() passed
  // deadline_ns (0: none).
  bool Enter(const std::atomic<bool>* cancelled, int64_t deadline_ns);
  void Leave();
  // Lets waiting callers look at their cancel flags.
  void Wake();

 private:
  Mutex mutex_;
  CondVar wake_;
  int free_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_ticket_ ABSL_GUARDED_BY(mutex_) = 0;
  std::set<uint64_t> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace chimera
