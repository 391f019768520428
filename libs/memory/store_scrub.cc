// Deletion that leaves no bytes.
#include <algorithm>
#include <array>

#include "base/status_macros.h"
#include "memory/store_db.h"

namespace chimera {

absl::Status StoreDb::Scrub(std::span<const Family> families, const KeyRange& range) {
  ScrubRequest request{.families = families, .range = range};
  std::vector<ScrubRequest*> together;
  {
    MutexLock lock(&scrub_mutex_);
    scrubs_waiting_.push_back(&request);
    while (scrubbing_ && !request.done) scrub_wakes_.Wait(&scrub_mutex_);
    if (request.done) return request.status;
    scrubbing_ = true;
    together.swap(scrubs_waiting_);
  }
  const absl::Status status = ScrubAll(together);
  MutexLock lock(&scrub_mutex_);
  scrubbing_ = false;
  for (ScrubRequest* one : together) {
    one->status = status;
    one->done = true;
  }
  scrub_wakes_.NotifyAll();
  return status;
}

absl::Status StoreDb::ScrubAll(std::span<ScrubRequest* const> requests) {
  MutexLock files_lock(&files_mutex_);
  // All families: the log goes when none needs it any more.
  CHIMERA_RETURN_IF_ERROR(
      Convert(db_->Flush(rocksdb::FlushOptions(), {handles_.begin(), handles_.end()})));
  // A thread for each family: most of the time goes into syncs, and changes of the manifest that
  // wait together are synced together.
  std::array<absl::Status, kFamilies> statuses;
  std::vector<std::thread> threads;
  for (int i = 1; i < kFamilies; ++i) {
    const auto family = static_cast<Family>(i);
    std::vector<const KeyRange*> ranges;
    for (const ScrubRequest* request : requests) {
      if (std::ranges::count(request->families, family) > 0) ranges.push_back(&request->range);
    }
    if (ranges.empty()) continue;
    threads.emplace_back([this, family, ranges, status = &statuses[static_cast<size_t>(i)]] {
      for (const KeyRange* range : ranges) status->Update(CompactDeletions(family, *range));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) CHIMERA_RETURN_IF_ERROR(status);
  // The manifest still says which keys the last compaction's inputs held. The next change of files
  // begins a new one, so there is one.
  CHIMERA_ASSIGN_OR_RETURN(const std::string meta, Get(Family::kMeta, kStoreMetaKey));
  CHIMERA_RETURN_IF_ERROR(
      Convert(db_->Put(rocksdb::WriteOptions(), ToSlice(kStoreMetaKey), ToSlice(meta))));
  return Convert(db_->Flush(rocksdb::FlushOptions(), handle(Family::kMeta)));
}

// A deleted record lies below its tombstone until both are compacted away. So files without
// tombstones hold nothing deleted; another request may have seen to it.
absl::Status StoreDb::CompactDeletions(Family family, const KeyRange& range) {
  const rocksdb::Slice first(range.first), last(range.last);
  const rocksdb::Range keys(first, last);
  rocksdb::TablePropertiesCollection tables;
  CHIMERA_RETURN_IF_ERROR(
      Convert(db_->GetPropertiesOfTablesInRange(handle(family), &keys, 1, &tables)));
  const bool holds = std::ranges::any_of(tables, [](const auto& table) {
    return table.second->num_deletions > 0 || table.second->num_range_deletions > 0;
  });
  if (!holds) return absl::OkStatus();
  rocksdb::CompactRangeOptions compact;
  compact.exclusive_manual_compaction = false;
  compact.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  return Convert(db_->CompactRange(compact, handle(family), &first, &last));
}

}  // namespace chimera
