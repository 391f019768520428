// A range of independent parts over the threads of an ExecContext, when there is enough to do.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/exec_context.h"

namespace chimera {

// Nanoseconds of work below which waking other threads costs more than it saves.
inline constexpr int64_t kWorthWakingNs = 10'000;

// [0, n) in regions, one for every thread. A thread takes pieces from the front of its own, half of
// what is left each time: they follow one another in memory, so what is read ahead at the end of
// one is the beginning of the next, and the last ones are short. Who is done helps others. Pieces
// begin at multiples of `grain`.
class SharedRange {
 public:
  SharedRange(int64_t n, int64_t grain, int64_t threads)
      : grain_(grain), regions_(std::min(threads, kRegionsMax)) {
    const int64_t grains = (n + grain - 1) / grain;
    for (int64_t r = 0; r < regions_; ++r) {
      region_[r].next.store(grains * r / regions_ * grain, std::memory_order_relaxed);
      region_[r].end = std::min(n, grains * (r + 1) / regions_ * grain);
    }
  }

  // Runs body(begin, end) until nothing is left anywhere, from the region of this thread on.
  // Thread-safe.
  template <typename Body>
  void Run(int64_t thread, const Body& body) {
    for (int64_t r = 0; r < regions_; ++r) {
      Region& region = region_[(thread + r) % regions_];
      int64_t begin = region.next.load(std::memory_order_relaxed);
      while (begin < region.end) {
        const int64_t end = EndOfPiece(begin, region.end);
        if (!region.next.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
        body(begin, end);
        begin = region.next.load(std::memory_order_relaxed);
      }
    }
  }

 private:
  static constexpr int64_t kRegionsMax = 16;
  struct alignas(64) Region {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  int64_t EndOfPiece(int64_t begin, int64_t end) const {
    const int64_t grains = std::max<int64_t>(1, (end - begin) / 2 / grain_);
    return std::min(end, begin + grains * grain_);
  }

  const int64_t grain_, regions_;
  Region region_[kRegionsMax];
};

// Runs body(begin, end) over pieces of [0, n) that cover it once and begin at multiples of grain.
// cost_ns: a rough guess at the time of all of it on one thread. Whoever calls makes sure that the
// cut changes no bit.
template <typename Body>
void ParallelRange(ExecContext* exec, int64_t n, int64_t cost_ns, int64_t grain, const Body& body) {
  if (exec->threads() == 1 || n <= grain || cost_ns < kWorthWakingNs) {
    body(int64_t{0}, n);
    return;
  }
  SharedRange range(n, grain, exec->threads());
  exec->ParallelFor(exec->threads(), [&](int64_t thread) { range.Run(thread, body); });
}
template <typename Body>
void ParallelRange(ExecContext* exec, int64_t n, int64_t cost_ns, const Body& body) {
  ParallelRange(exec, n, cost_ns, 1, body);
}

// The same for n ranges of one length: body(i, begin, end) over pieces of [0, length) of range i.
template <typename Body>
void ParallelRanges(ExecContext* exec, int64_t n, int64_t length, int64_t cost_ns, int64_t grain,
                    const Body& body) {
  ParallelRange(exec, n * length, cost_ns, grain, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t first = begin % length, last = std::min(length, first + end - begin);
      body(begin / length, first, last);
      begin += last - first;
    }
  });
}

}  // namespace chimera
