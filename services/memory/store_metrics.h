// The figures of a memory store as series of this process.
#pragma once

#include "absl/status/status.h"
#include "cluster/metrics.h"
#include "memory/rocksdb_store.h"

namespace chimera {

// Declares them and reads them before every scrape. The store is borrowed and must outlive the
// metrics' last scrape.
absl::Status ExportStoreMetrics(LocalMemory* store, Metrics* metrics);

}  // namespace chimera
