// What RocksDB says about a store, for metrics. Plain data; totals count since the store was
// opened.
#pragma once

#include <cstdint>

namespace chimera {

struct StoreFigures {
  int64_t stall_us = 0;  // writers held back by RocksDB
  int64_t wal_syncs = 0;
  int64_t wal_sync_us = 0;  // together
  int64_t wal_sync_p99_us = 0;
  int64_t cache_hits = 0;  // of the block cache
  int64_t cache_misses = 0;
  int64_t cache_bytes = 0;
  int64_t memtable_bytes = 0;
  int64_t table_bytes = 0;  // live table files on disk
  int64_t pending_compaction_bytes = 0;
  int64_t running_compactions = 0;
  int64_t running_flushes = 0;
  int64_t background_errors = 0;
  int64_t unsynced_items = 0;  // acknowledged inferred items that wait for their group's sync
  // Sizes against ceilings, of the whole store.
  int64_t facts = 0, facts_max = 0;
  int64_t relations = 0, relations_max = 0;
  int64_t users = 0, users_max = 0;
  int64_t bytes = 0, bytes_max = 0;
};

}  // namespace chimera
