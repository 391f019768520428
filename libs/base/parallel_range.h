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
  const int64_t parts = std::min<int64_t>(n, int64_t{exec->threads()} * 4);
  exec->ParallelFor(parts, [&](int64_t i) { body(n * i / parts, n * (i + 1) / parts); });
}

}  // namespace chimera
