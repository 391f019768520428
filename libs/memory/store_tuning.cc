#include "memory/store_tuning.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/table.h>

#include <utility>

#include "memory/usage_merge.h"

namespace chimera {
namespace {

constexpr size_t kWriteBufferBytes = size_t{8} << 20;         // of one family
constexpr size_t kWriteBuffersTotalBytes = size_t{32} << 20;  // of all
constexpr size_t kBlockCacheBytes = size_t{16} << 20;
constexpr size_t kLogsTotalBytes = size_t{64} << 20;
constexpr int kOpenFilesMax = 256;
constexpr double kFilterBitsPerKey = 10;

// StoreDb resumes with the next write and so says what is wrong until then. RocksDB's own recovery
// looks at a full disk every five seconds and keeps Resume out meanwhile.
class NoOwnRecovery final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
};

}  // namespace

std::shared_ptr<rocksdb::Statistics> StoreStatistics() {
  auto statistics = rocksdb::CreateDBStatistics();
  statistics->set_stats_level(rocksdb::StatsLevel::kExceptTimeForMutex);
  return statistics;
}

rocksdb::Options StoreDatabaseOptions(rocksdb::Env* env,
                                      std::shared_ptr<rocksdb::Statistics> statistics) {
  rocksdb::Options options;
  if (env != nullptr) options.env = env;
  options.statistics = std::move(statistics);
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  // A torn last record was never acknowledged and is dropped; damage before it fails the open
  // instead of silently losing what followed.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.write_buffer_size = kWriteBufferBytes;
  options.db_write_buffer_size = kWriteBuffersTotalBytes;
  options.max_total_wal_size = kLogsTotalBytes;
  // Small files, because Forget rewrites every file that holds a key of the user.
  options.target_file_size_base = kWriteBufferBytes;
  options.max_open_files = kOpenFilesMax;
  options.compression = rocksdb::kNoCompression;  // sketches do not compress
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.keep_log_file_num = 2;
  options.max_background_jobs = 4;
  // One change of the manifest for all families that are flushed together.
  options.atomic_flush = true;
  // A manifest names the first and last key of files. A new one with every change of files means
  // that none names the keys of files that are gone.
  options.max_manifest_file_size = 1;
  options.max_bgerror_resume_count = 0;
  options.listeners.push_back(std::make_shared<NoOwnRecovery>());
  options.write_dbid_to_manifest = true;  // a restored store is the same store
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kFilterBitsPerKey));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::ColumnFamilyOptions StoreFamilyOptions(const rocksdb::Options& options, Family family) {
  rocksdb::ColumnFamilyOptions columns(options);
  if (family == Family::kUsage) columns.merge_operator = UsageMergeOperator();
  return columns;
}

}  // namespace chimera
