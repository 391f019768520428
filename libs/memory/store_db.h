// The RocksDB database below a LocalMemory: column families, the two ways a write becomes durable,
// and deletion that leaves no bytes.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/statistics.h>
#include <rocksdb/write_batch.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "memory/memory_types.h"
#include "memory/record_codec.h"
#include "memory/store_figures.h"
#include "memory/store_options.h"

namespace chimera {

inline rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
inline std::string_view FromSlice(const rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}

// The project's code for a database's error: NOT_FOUND, RESOURCE_EXHAUSTED (full disk), DATA_LOSS,
// PERMISSION_DENIED (read-only disk), FAILED_PRECONDITION (open elsewhere) or UNAVAILABLE.
absl::Status FromRocksdb(const std::string& store, const rocksdb::Status& status);

// Thread-safe.
class StoreDb {
 public:
  // Opens or creates options.path + "/db". Refuses a store of another format version untouched.
  static absl::StatusOr<std::unique_ptr<StoreDb>> Open(const LocalMemoryOptions& options);
  // Syncs what is unsynced.
  ~StoreDb();

  rocksdb::ColumnFamilyHandle* handle(Family family) const {
    return handles_[static_cast<size_t>(family)];
  }
  // NOT_FOUND when there is no such key.
  absl::StatusOr<std::string> Get(Family family, std::string_view key) const;
  // The iterator reads the state of now, outside the block cache.
  std::unique_ptr<rocksdb::Iterator> Scan(Family family) const;

  // Atomic. With sync the batch and everything before it is on disk when OK returns; without, it
  // counts as `items` unsynced items of the current group. When a disk was full and no longer is,
  // writes go on.
  absl::Status Write(rocksdb::WriteBatch* batch, bool sync, int64_t items);
  absl::Status Sync();

  // Rewrites the files that hold keys of range without their deleted records, and retires the log
  // that held them. Deletions must be written before. Calls that wait for another one are done
  // together.
  absl::Status Scrub(std::span<const Family> families, const KeyRange& range);
  // See Memory::Backup. No Scrub runs beside it: a backup keeps files from going.
  absl::StatusOr<BackupReport> Backup(const std::string& folder, int keep);

  rocksdb::DB* db() const { return db_.get(); }
  absl::Status Convert(const rocksdb::Status& status) const;
  // RocksDB's own figures and unsynced_items; the rest stays 0.
  StoreFigures Figures();

 private:
  struct ScrubRequest {
    std::span<const Family> families;
    const KeyRange& range;
    bool done = false;
    absl::Status status;
  };

  explicit StoreDb(const LocalMemoryOptions& options);

  absl::Status OpenDatabase();
  absl::Status RefuseOtherVersions(const rocksdb::Options& options, const std::string& folder);
  // Calls write(); after a failure it resumes and calls it once more.
  rocksdb::Status Persist(const std::function<rocksdb::Status()>& write);
  absl::Status SyncUpTo(int64_t target);
  void SyncGroups();  // the group commit's thread
  absl::Status ScrubAll(std::span<ScrubRequest* const> requests);
  absl::Status CompactDeletions(Family family, const KeyRange& range);
  uint64_t SumProperty(const std::string& name) const;

  const LocalMemoryOptions options_;
  std::shared_ptr<rocksdb::Statistics> statistics_;
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilies> handles_{};

  Mutex files_mutex_;  // held by ScrubAll and Backup
  Mutex scrub_mutex_;
  CondVar scrub_wakes_;
  bool scrubbing_ ABSL_GUARDED_BY(scrub_mutex_) = false;
  std::vector<ScrubRequest*> scrubs_waiting_ ABSL_GUARDED_BY(scrub_mutex_);
  Mutex sync_mutex_;  // one sync of the log at a time; taken before group_mutex_
  Mutex group_mutex_;
  CondVar group_wakes_;
  int64_t items_written_ ABSL_GUARDED_BY(group_mutex_) = 0;
  int64_t items_synced_ ABSL_GUARDED_BY(group_mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(group_mutex_) = false;
  std::thread group_thread_;
};

}  // namespace chimera
