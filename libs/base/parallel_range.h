// A range of independent parts over the threads of an ExecContext, when there is enough to do.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/exec_context.h"

namespace chimera {

// Nanoseconds of work below which waking other threads costs more than it saves.
inline constexpr int64_t kWorthWakingNs = 10'000;

// Runs body(begin, end) over pieces of [0, n) that cover it once. cost_ns: a rough guess at the
// time of all of it on one thread. Whoever calls makes sure that the cut changes no bit.
template <typename Body>
void ParallelRange(ExecContext* exec, int64_t n, int64_t cost_ns, const Body& body) {
  if (exec->threads() == 1 || n < 2 || cost_ns < kWorthWakingNs) {
    body(int64_t{0}, n);
    return;
  }
  // Every thread begins with a long part, three fifths of its share; short ones even out the end.
  const int64_t threads = exec->threads();
  if (n < 5 * threads) return exec->ParallelFor(n, [&](int64_t i) { body(i, i + 1); });
  const auto begin_of = [&](int64_t part) {
    const int64_t fifths = part <= threads ? 3 * part : 2 * threads + part;
    return n * fifths / (5 * threads);
  };
  exec->ParallelFor(3 * threads, [&](int64_t i) { body(begin_of(i), begin_of(i + 1)); });
}

}  // namespace chimera
