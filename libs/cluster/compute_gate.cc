#include "cluster/compute_gate.h"

#include <algorithm>
#include <chrono>

#include "base/clock.h"

namespace chimera {

bool ComputeGate::Enter(const std::atomic<bool>* cancelled, int64_t deadline_ns) {
  MutexLock lock(&mutex_);
  const uint64_t ticket = next_ticket_++;
  waiting_.insert(ticket);
  while (true) {
    const int64_t left_ns =
        deadline_ns == 0 ? int64_t{1000000000} : deadline_ns - Clock::Real().NowNs();
    const bool give_up = cancelled->load(std::memory_order_relaxed) || left_ns <= 0;
    const bool turn = free_ > 0 && *waiting_.begin() == ticket;
    if (give_up || turn) {
      waiting_.erase(ticket);
      if (turn && !give_up) --free_;
      wake_.NotifyAll();  // the next in line looks again
      return !give_up;
    }
    wake_.WaitFor(&mutex_, std::chrono::nanoseconds(std::min<int64_t>(left_ns, 1000000000)));
  }
}

void ComputeGate::Leave() {
  MutexLock lock(&mutex_);
  ++free_;
  wake_.NotifyAll();
}

void ComputeGate::Wake() {
  MutexLock lock(&mutex_);
  wake_.NotifyAll();
}

}  // namespace chimera
