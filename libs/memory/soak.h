// Test help: clients that read and write a LocalMemory all the time (issue: no stall over a second,
// flat memory). memory_soak and soak_test.cc run it.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "memory/rocksdb_store.h"

namespace chimera {

struct SoakOptions {
  double seconds = 10;
  int clients = 16;
  int facts_per_client = 200;  // a client's user stays at so many, so that the store does not grow
};

struct SoakReport {
  int64_t calls = 0;
  int64_t slowest_us = 0;  // of every verb but Forget
  int64_t slowest_forget_us = 0;
  int64_t p99_us = 0;       // of every verb but Forget, an upper bound within 25 %
  int64_t rss_settled = 0;  // bytes, after a third of the time
  int64_t rss_end = 0;
};

// Each client has a user of its own; every fourth shares the first one's. The first error ends the
// run.
absl::StatusOr<SoakReport> RunSoak(LocalMemory* memory, const SoakOptions& options);

}  // namespace chimera
