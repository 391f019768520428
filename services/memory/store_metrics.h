// The figures of a memory store, and of what it learns, as series of this process.
#pragma once

#include "absl/status/status.h"
#include "cluster/metrics.h"
#include "memory/rocksdb_store.h"
#include "memory/user_learning.h"

namespace chimera {

// Declares them and reads them before every scrape. The store is borrowed and must outlive the
// metrics' last scrape.
absl::Status ExportStoreMetrics(LocalMemory* store, Metrics* metrics);
// Likewise. The diagnostic episodic_case_hit_rate is hits / retrievals.
absl::Status ExportLearningMetrics(UserLearning* learning, Metrics* metrics);

}  // namespace chimera
