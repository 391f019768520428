// How a LocalMemory is opened: its folder, limits and durability bound. Plain data.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/clock.h"
#include "text/tokenizer.h"

namespace rocksdb {
class Env;
}  // namespace rocksdb

namespace chimera {

// A fact costs 1 KiB of main memory; the default is the configuration's semantic_memory.capacity.
inline constexpr int64_t kMemoryFactsMaxDefault = 200'000;
inline constexpr int64_t kMemoryFactsPerUserMaxDefault = 50'000;
// No configuration may ask for more.
inline constexpr int64_t kMemoryFactsMaxLimit = 4'000'000;

// What one user may store. Checked before every write.
struct MemoryQuota {
  int64_t entries_max = 600'000;           // MemoryStats::entries
  int64_t bytes_max = int64_t{256} << 20;  // MemoryStats::bytes
  // Items written or deleted: a bucket of write_burst tokens, refilled at this rate; 0: no limit.
  // Import spends none: its calls are bounded in bytes.
  double writes_per_second = 1000;
  int64_t write_burst = 10'000;  // at least kItemsPerCallMax, so that every call can fit
};

// What the whole store may hold. Checked before every write.
struct MemoryCeilings {
  int64_t users = 100'000;
  int64_t relations = 500'000;         // 16 bytes of main memory each
  int64_t bytes = int64_t{512} << 20;  // MemoryStats::bytes (growth ceiling of the config)
};

// Inferred items are synced in groups: a group waits at most max_ms for its sync to begin, and a
// call that brings the number of unsynced items to max_items syncs them before it returns. A killed
// process loses none of them; a power cut loses at most one group.
struct GroupCommit {
  int max_ms = 50;
  int64_t max_items = 256;
};

struct LocalMemoryOptions {
  std::string path;  // the store's folder; created when absent
  // What a new store is made with: a tokenizer, or a file to read it from. An existing store keeps
  // its own, because sketches must stay comparable; a different one given here is ignored with a
  // log line.
  std::shared_ptr<const Tokenizer> tokenizer;
  std::string tokenizer_path;
  int64_t facts_max = kMemoryFactsMaxDefault;
  int64_t facts_per_user_max = kMemoryFactsPerUserMaxDefault;
  const Clock* clock = &Clock::Real();  // borrowed
  MemoryQuota quota;
  MemoryCeilings ceilings;
  GroupCommit group_commit;
  rocksdb::Env* env = nullptr;  // borrowed; null: this machine's files
};

// INVALID_ARGUMENT naming the option, its value and its limits.
absl::Status ValidateStoreOptions(const LocalMemoryOptions& options);

}  // namespace chimera
