#include "memory/store_db.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "memory/store_tuning.h"

namespace chimera {

StoreDb::StoreDb(const LocalMemoryOptions& options)
    : options_(options), statistics_(StoreStatistics()) {}

StoreDb::~StoreDb() {
  if (db_ == nullptr) return;
  if (group_thread_.joinable()) {
    {
      MutexLock lock(&group_mutex_);
      stopping_ = true;
    }
    group_wakes_.NotifyAll();
    group_thread_.join();
  }
  if (const absl::Status synced = Sync(); !synced.ok()) {
    LogWarning(absl::StrCat("at close: ", std::string(ToStd(synced.message()))));
  }
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    if (handle != nullptr) db_->DestroyColumnFamilyHandle(handle);
  }
}

absl::StatusOr<std::unique_ptr<StoreDb>> StoreDb::Open(const LocalMemoryOptions& options) {
  std::unique_ptr<StoreDb> store(new StoreDb(options));
  CHIMERA_RETURN_IF_ERROR(store->OpenDatabase());
  store->group_thread_ = std::thread([raw = store.get()] { raw->SyncGroups(); });
  return store;
}

absl::Status StoreDb::OpenDatabase() {
  const std::string folder = options_.path + "/db";
  const rocksdb::Options options = StoreDatabaseOptions(options_.env, statistics_);
  CHIMERA_RETURN_IF_ERROR(RefuseOtherVersions(options, folder));
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (int i = 0; i < kFamilies; ++i) {
    const auto family = static_cast<Family>(i);
    families.emplace_back(FamilyName(family), StoreFamilyOptions(options, family));
  }
  rocksdb::DB* db = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const rocksdb::Status status = rocksdb::DB::Open(options, folder, families, &handles, &db);
  db_.reset(db);
  CHIMERA_RETURN_IF_ERROR(Convert(status));
  std::copy(handles.begin(), handles.end(), handles_.begin());
  return absl::OkStatus();
}

// A store of this version has all families from its birth on, before its meta record; one whose
// making was cut short has no meta record. So only a store that lacks a family needs a look.
absl::Status StoreDb::RefuseOtherVersions(const rocksdb::Options& options,
                                          const std::string& folder) {
  std::vector<std::string> names;
  const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(options, folder, &names);
  if (!listed.ok() || names.size() == kFamilies)
    return absl::OkStatus();  // Open says what is wrong
  rocksdb::DB* raw = nullptr;
  CHIMERA_RETURN_IF_ERROR(Convert(rocksdb::DB::OpenForReadOnly(options, folder, &raw)));
  const std::unique_ptr<rocksdb::DB> db(raw);
  std::string value;
  const rocksdb::Status got = db->Get(rocksdb::ReadOptions(), ToSlice(kStoreMetaKey), &value);
  if (got.IsNotFound()) return absl::OkStatus();
  CHIMERA_RETURN_IF_ERROR(Convert(got));
  const absl::Status meta = DecodeStoreMeta(value).status();
  if (!meta.ok()) {
    return absl::Status(meta.code(), absl::StrCat(options_.path, ": ", meta.message()));
  }
  return absl::DataLossError(absl::StrCat("memory store ", options_.path, " has ", names.size(),
                                          " of ", kFamilies, " column families"));
}

absl::StatusOr<std::string> StoreDb::Get(Family family, std::string_view key) const {
  std::string value;
  CHIMERA_RETURN_IF_ERROR(
      Convert(db_->Get(rocksdb::ReadOptions(), handle(family), ToSlice(key), &value)));
  return value;
}

std::unique_ptr<rocksdb::Iterator> StoreDb::Scan(Family family) const {
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  return std::unique_ptr<rocksdb::Iterator>(db_->NewIterator(read, handle(family)));
}

absl::Status StoreDb::Write(rocksdb::WriteBatch* batch, bool sync, int64_t items) {
  rocksdb::WriteOptions write;
  write.sync = sync;
  int64_t before = 0;
  {
    MutexLock lock(&group_mutex_);
    before = items_written_;
  }
  const rocksdb::Status status = Persist([&] { return db_->Write(write, batch); });
  int64_t unsynced = 0, written = 0;
  {
    MutexLock lock(&group_mutex_);
    if (status.ok() && sync) {
      items_synced_ = std::max(items_synced_, before);  // the sync took the log before it along
    } else if (status.ok()) {
      items_written_ += items;
      unsynced = items_written_ - items_synced_;
      written = items_written_;
    }
  }
  CHIMERA_RETURN_IF_ERROR(Convert(status));
  if (unsynced >= options_.group_commit.max_items) return SyncUpTo(written);
  if (unsynced > 0) group_wakes_.NotifyOne();
  return absl::OkStatus();
}

rocksdb::Status StoreDb::Persist(const std::function<rocksdb::Status()>& write) {
  rocksdb::Status status = write();
  // After an error RocksDB refuses writes until Resume, which writes what is in memory to a table
  // file and begins a new log: nothing relies on the log whose write or sync failed.
  if (!status.ok() && db_->Resume().ok()) status = write();
  return status;
}

absl::Status StoreDb::Sync() {
  int64_t target = 0;
  {
    MutexLock lock(&group_mutex_);
    target = items_written_;
    if (target == items_synced_) return absl::OkStatus();
  }
  return SyncUpTo(target);
}

absl::Status StoreDb::SyncUpTo(int64_t target) {
  MutexLock sync_lock(&sync_mutex_);
  {
    MutexLock lock(&group_mutex_);
    if (items_synced_ >= target) return absl::OkStatus();  // another thread's sync took them along
    target = items_written_;
  }
  // Not SyncWAL, which knows nothing of an earlier error of the log: in the queue of the writes.
  rocksdb::WriteOptions write;
  write.sync = true;
  const rocksdb::Status status = Persist([&] {
    rocksdb::WriteBatch empty;
    return db_->Write(write, &empty);
  });
  MutexLock lock(&group_mutex_);
  if (status.ok()) items_synced_ = std::max(items_synced_, target);
  return Convert(status);
}

void StoreDb::SyncGroups() {
  const auto interval = std::chrono::milliseconds(options_.group_commit.max_ms);
  bool failed = false;
  for (;;) {
    {
      MutexLock lock(&group_mutex_);
      while (!stopping_ && items_written_ == items_synced_) group_wakes_.Wait(&group_mutex_);
      // The whole interval, so that a group fills; only the close cuts it short.
      const auto until = std::chrono::steady_clock::now() + interval;
      while (!stopping_ && std::chrono::steady_clock::now() < until) {
        group_wakes_.WaitFor(&group_mutex_, until - std::chrono::steady_clock::now());
      }
      if (stopping_) return;
    }
    const absl::Status synced = Sync();
    if (!synced.ok() && !failed) {
      LogWarning(absl::StrCat("inferred items wait: ", std::string(ToStd(synced.message()))));
    }
    failed = !synced.ok();
  }
}

absl::Status StoreDb::Convert(const rocksdb::Status& status) const {
  return status.ok() ? absl::OkStatus() : FromRocksdb(options_.path, status);
}

uint64_t StoreDb::SumProperty(const std::string& name) const {
  uint64_t sum = 0;
  db_->GetAggregatedIntProperty(name, &sum);
  return sum;
}

StoreFigures StoreDb::Figures() {
  using Property = rocksdb::DB::Properties;
  const auto count = [this](uint32_t ticker) {
    return static_cast<int64_t>(statistics_->getTickerCount(ticker));
  };
  const auto sum = [this](const std::string& name) {
    return static_cast<int64_t>(SumProperty(name));
  };
  StoreFigures figures;
  rocksdb::HistogramData syncs;
  statistics_->histogramData(rocksdb::WAL_FILE_SYNC_MICROS, &syncs);
  figures.stall_us = count(rocksdb::STALL_MICROS);
  figures.wal_syncs = static_cast<int64_t>(syncs.count);
  figures.wal_sync_us = static_cast<int64_t>(syncs.sum);
  figures.wal_sync_p99_us = static_cast<int64_t>(syncs.percentile99);
  figures.cache_hits = count(rocksdb::BLOCK_CACHE_HIT);
  figures.cache_misses = count(rocksdb::BLOCK_CACHE_MISS);
  // The families share one cache.
  uint64_t cache_bytes = 0;
  db_->GetIntProperty(Property::kBlockCacheUsage, &cache_bytes);
  figures.cache_bytes = static_cast<int64_t>(cache_bytes);
  figures.memtable_bytes = sum(Property::kCurSizeAllMemTables);
  figures.table_bytes = sum(Property::kLiveSstFilesSize);
  figures.pending_compaction_bytes = sum(Property::kEstimatePendingCompactionBytes);
  figures.running_compactions = sum(Property::kNumRunningCompactions);
  figures.running_flushes = sum(Property::kNumRunningFlushes);
  figures.background_errors = sum(Property::kBackgroundErrors);
  MutexLock lock(&group_mutex_);
  figures.unsynced_items = items_written_ - items_synced_;
  return figures;
}

absl::Status FromRocksdb(const std::string& store, const rocksdb::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string what = status.ToString();
  const std::string message = absl::StrCat("memory store ", store, ": ", what);
  const auto says = [&what](const char* words) { return what.find(words) != what.npos; };
  if (status.IsNotFound()) return absl::NotFoundError(message);
  if (status.IsNoSpace() || status.IsMemoryLimit()) return absl::ResourceExhaustedError(message);
  if (status.IsCorruption() || status.IsPathNotFound()) return absl::DataLossError(message);
  if (says("Permission denied") || says("Read-only file system")) {
    return absl::PermissionDeniedError(message);
  }
  if (status.IsIOError()) {
    if (says("lock") && says("LOCK")) {
      return absl::FailedPreconditionError(
          absl::StrCat("memory store ", store, " is open elsewhere: ", what));
    }
    return absl::UnavailableError(message);
  }
  if (status.IsBusy() || status.IsTryAgain() || status.IsTimedOut() ||
      status.IsShutdownInProgress() || status.IsAborted()) {
    return absl::UnavailableError(message);
  }
  if (status.IsInvalidArgument()) return absl::DataLossError(message);
  return absl::InternalError(message);
}

}  // namespace chimera
