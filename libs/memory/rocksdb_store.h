// Memory on this machine: facts in RocksDB, their sketches in main memory (FEATURES H1, H3, H8).
// The folder holds tokenizer.model and db/; docs/formats/memory-store.md has every byte.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "hdc/features.h"
#include "memory/fact_index.h"
#include "memory/fact_record.h"
#include "memory/memory.h"
#include "text/tokenizer.h"

namespace rocksdb {
class DB;
class Status;
}  // namespace rocksdb

namespace chimera {

// A fact costs 1 KiB of main memory; the default is the configuration's semantic_memory.capacity.
inline constexpr int64_t kMemoryFactsMaxDefault = 200'000;
inline constexpr int64_t kMemoryFactsPerUserMaxDefault = 50'000;
// No configuration may ask for more.
inline constexpr int64_t kMemoryFactsMaxLimit = 4'000'000;

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
};

// Writes and deletions are serialised and synced one by one; recalls run beside them. Forget and
// ForgetAll also flush and compact the user's key range, so that the text leaves the disk: they
// cost milliseconds to a second. Thread-safe.
class LocalMemory : public Memory {
 public:
  // Opens or creates. One clear status for: a file instead of a folder, no permission, a store open
  // elsewhere (FAILED_PRECONDITION), damage (DATA_LOSS), no tokenizer for a new store. Single
  // damaged records are skipped, counted and logged; Remember of the same text repairs them.
  static absl::StatusOr<std::unique_ptr<LocalMemory>> Open(const LocalMemoryOptions& options);
  ~LocalMemory() override;

  using Memory::Recall;
  using Memory::Remember;
  absl::StatusOr<std::vector<RememberedFact>> Remember(const std::string& user,
                                                       std::span<const NewFact> facts) override;
  absl::StatusOr<std::vector<std::vector<RecalledFact>>> Recall(
      const std::string& user, std::span<const std::string> queries,
      const RecallOptions& options) override;
  absl::StatusOr<int64_t> Forget(const std::string& user, const std::string& fact_id) override;
  absl::StatusOr<int64_t> ForgetAll(const std::string& user) override;
  absl::StatusOr<MemoryStats> Stats(const std::string& user) override;

  // Bytes of main memory that the store's caches, write buffers and sketches take.
  int64_t CacheBytes();
  // The tokenizer of the store, from its folder.
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  absl::StatusOr<RememberedFact> RememberOne(const std::string& user, const NewFact& fact);
  absl::StatusOr<std::vector<RecalledFact>> RecallOne(const std::string& user,
                                                      const std::string& query,
                                                      const RecallOptions& options);
  explicit LocalMemory(const LocalMemoryOptions& options);

  absl::Status OpenDatabase();
  // Reads the store's meta record and tokenizer, or makes both.
  absl::Status LoadOrCreateMeta();
  absl::Status CreateMeta();
  absl::Status LoadMeta(std::string_view value);
  absl::Status LoadIndex();
  absl::StatusOr<HyperVector> Sketch(std::string_view text) const;
  // NOT_FOUND, DATA_LOSS, or the database's error.
  absl::StatusOr<FactRecord> ReadFact(const std::string& user, uint64_t id) const;
  absl::Status CheckRoom(const std::string& user) ABSL_EXCLUSIVE_LOCKS_REQUIRED(index_mutex_);
  // Rewrites the files that hold keys of first..last without their deleted records.
  absl::Status Scrub(const std::string& first, const std::string& last)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(write_mutex_);
  void CountCorrupt(const std::string& user, uint64_t id, const absl::Status& fault);
  absl::Status FromRocksdb(const rocksdb::Status& status) const;

  const LocalMemoryOptions options_;
  std::unique_ptr<rocksdb::DB> db_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<const FeatureCodebook> codebook_;

  // One writer at a time, across the synced write. Taken before index_mutex_.
  Mutex write_mutex_;
  // Never held across disk access.
  Mutex index_mutex_;
  FactIndex index_ ABSL_GUARDED_BY(index_mutex_);
  int64_t corrupt_records_ ABSL_GUARDED_BY(index_mutex_) = 0;
};

}  // namespace chimera
