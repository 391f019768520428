// One user's part of a LocalMemory in main memory: indexes, what is used of the quota, the write
// bucket. And the totals of the whole store.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "memory/fact_index.h"
#include "memory/memory_types.h"
#include "memory/relation_table.h"
#include "memory/store_options.h"

namespace chimera {

// What a write adds, or what is stored; negative for a write that removes.
struct Growth {
  int64_t facts = 0;
  int64_t relations = 0;
  int64_t entries = 0;  // MemoryStats::entries
  int64_t bytes = 0;    // MemoryStats::bytes

  Growth& operator+=(const Growth& other);
  Growth operator-() const;
};

// write_burst tokens, refilled at writes_per_second. Thread-compatible.
class TokenBucket {
 public:
  // False, and nothing taken, when fewer than `tokens` are there.
  bool Take(const MemoryQuota& quota, int64_t now_ns, int64_t tokens);

 private:
  double tokens_ = 0;
  int64_t last_ns_ = 0;
  bool started_ = false;  // a new bucket is full
};

struct SectionInfo {
  uint64_t epoch = 0;
  int64_t bytes = 0;  // of key and value
};

struct UserMemory {
  // One writer of the user at a time, across the write to disk. Taken before mutex.
  Mutex write_mutex;
  TokenBucket bucket ABSL_GUARDED_BY(write_mutex);

  // Never held across disk access.
  Mutex mutex;
  FactIndex facts ABSL_GUARDED_BY(mutex);
  RelationTable relations ABSL_GUARDED_BY(mutex);
  // By RecordClass, without its zero: id -> bytes of key and value.
  std::array<std::map<uint64_t, int64_t>, 2> records ABSL_GUARDED_BY(mutex);
  std::map<std::string, SectionInfo> sections ABSL_GUARDED_BY(mutex);
  Growth used ABSL_GUARDED_BY(mutex);
};

// Thread-safe.
class StoreTotals {
 public:
  // Adds growth when the ceilings allow it: RESOURCE_EXHAUSTED naming the value and the limit.
  absl::Status Reserve(const LocalMemoryOptions& options, const Growth& growth);
  // Without a check: what was there at open, or the undoing of a reservation.
  void Add(const Growth& growth);
  Growth Get();

 private:
  Mutex mutex_;
  Growth used_ ABSL_GUARDED_BY(mutex_);
};

// The user's own limits: RESOURCE_EXHAUSTED naming the user, the value and the limit.
absl::Status CheckUserRoom(const LocalMemoryOptions& options, const std::string& user,
                           const Growth& used, const Growth& growth);

}  // namespace chimera
