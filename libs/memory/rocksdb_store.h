// Memory on this machine: everything in RocksDB, indexes in main memory (FEATURES H1, H3, H8).
// The folder holds tokenizer.model and db/; docs/formats/memory-store.md has every byte.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "hdc/features.h"
#include "memory/memory.h"
#include "memory/store_db.h"
#include "memory/store_figures.h"
#include "memory/store_options.h"
#include "memory/user_memory.h"
#include "text/tokenizer.h"

namespace chimera {

class FactPlan;
struct FactToStore;

// Calls of different users run beside each other; of one user, reads run beside one write. Forget,
// ForgetAll, Unrelate and Reset also flush and compact the user's key range, so that the text
// leaves the disk: they cost milliseconds to a second. Thread-safe.
class LocalMemory : public Memory {
 public:
  // Opens or creates. One clear status for: a file instead of a folder, no permission, a store open
  // elsewhere or of another format version (FAILED_PRECONDITION), damage (DATA_LOSS), no tokenizer
  // for a new store. Single damaged records are skipped, counted and logged; storing the same item
  // again repairs them.
  static absl::StatusOr<std::unique_ptr<LocalMemory>> Open(const LocalMemoryOptions& options);
  ~LocalMemory() override;

  using Memory::Recall;
  using Memory::Remember;
  absl::StatusOr<std::vector<RememberedFact>> Remember(const std::string& user,
                                                       std::span<const NewFact> facts) override;
  absl::StatusOr<std::vector<std::vector<RecalledFact>>> Recall(
      const std::string& user, std::span<const std::string> queries,
      const RecallOptions& options) override;
  absl::StatusOr<int64_t> Reinforce(const std::string& user,
                                    std::span<const FactUse> uses) override;
  absl::StatusOr<std::vector<FactInfo>> ListFacts(const std::string& user, uint64_t first_id,
                                                  int limit) override;
  absl::StatusOr<int64_t> Drop(const std::string& user, std::span<const uint64_t> ids) override;
  absl::StatusOr<int64_t> Forget(const std::string& user, const std::string& fact_id) override;
  absl::StatusOr<int64_t> ForgetAll(const std::string& user) override;

  absl::StatusOr<int64_t> Relate(const std::string& user, std::span<const Relation> relations,
                                 Source source) override;
  absl::StatusOr<std::vector<Relation>> Related(const std::string& user,
                                                const RelationPattern& pattern, int limit) override;
  absl::StatusOr<int64_t> Unrelate(const std::string& user,
                                   const RelationPattern& pattern) override;

  absl::Status PutRecords(const std::string& user, RecordClass record_class,
                          std::span<const MemoryRecord> records, Source source) override;
  absl::StatusOr<std::vector<MemoryRecord>> ScanRecords(const std::string& user,
                                                        RecordClass record_class, uint64_t first_id,
                                                        int limit) override;
  absl::StatusOr<int64_t> EraseRecords(const std::string& user, RecordClass record_class,
                                       std::span<const uint64_t> ids) override;
  absl::Status PutSection(const std::string& user, const std::string& name,
                          const MemorySection& section) override;
  absl::StatusOr<MemorySection> GetSection(const std::string& user,
                                           const std::string& name) override;

  absl::Status Sync() override;
  absl::Status Export(const std::string& user,
                      const std::function<absl::Status(std::string_view)>& receive) override;
  absl::StatusOr<ImportReport> Import(const std::string& user, std::string_view lines,
                                      int64_t first_line) override;
  absl::StatusOr<int64_t> Reset(const std::string& user) override;
  absl::StatusOr<BackupReport> Backup(const std::string& folder, int keep) override;
  absl::StatusOr<MemoryStats> Stats(const std::string& user) override;

  // New weights, as they are, of those facts that are there. Durable like Source::kInferred.
  absl::Status SetWeights(const std::string& user, std::span<const FactWeight> weights);

  const std::string& path() const { return options_.path; }
  // For metrics; cheap enough for every scrape.
  StoreFigures Figures();
  // Bytes of main memory that the store's caches, write buffers, sketches and relations take.
  int64_t CacheBytes();
  // The tokenizer of the store, from its folder.
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const FeatureCodebook& codebook() const { return *codebook_; }
  // The sketch that a fact of this text has here; text as ValidateFactText takes it.
  absl::StatusOr<HyperVector> Sketch(std::string_view text) const;

 private:
  enum class Rate { kSpend, kFree };
  struct WriteTerms {
    bool sync = true;
    int64_t items = 1;
    Rate rate = Rate::kSpend;
  };
  using UserPointer = std::shared_ptr<UserMemory>;

  explicit LocalMemory(const LocalMemoryOptions& options);

  // Reads the store's meta record and tokenizer, or makes both.
  absl::Status LoadOrCreateMeta();
  absl::Status CreateMeta();
  absl::Status LoadMeta(std::string_view value);
  // store_load.cc: what cold start reads of each family.
  absl::Status LoadUsers();
  absl::Status LoadFact(std::string_view key, std::string_view value);
  absl::Status LoadRelation(std::string_view key, std::string_view value);
  absl::Status LoadRecord(Family family, std::string_view key, std::string_view value);
  absl::Status LoadSection(std::string_view key, std::string_view value);
  // The sketch's record anew from the text of its fact.
  absl::StatusOr<SketchRecord> RebuildSketch(std::string_view key);

  UserPointer FindUser(const std::string& user);  // null when nothing was ever written
  absl::StatusOr<UserPointer> UserForWrite(const std::string& user);
  std::vector<UserPointer> AllUsers();

  // Checks rate, quota and ceilings, then writes; counts the growth as used. Nothing changes
  // unless OK.
  absl::Status Commit(const std::string& user, UserMemory* memory, rocksdb::WriteBatch* batch,
                      const Growth& growth, const WriteTerms& terms)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(memory->write_mutex);
  absl::Status CommitFacts(const std::string& user, UserMemory* memory, FactPlan* plan,
                           const WriteTerms& terms)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(memory->write_mutex);

  absl::StatusOr<std::vector<RecalledFact>> RecallOne(const std::string& user, UserMemory* memory,
                                                      const std::string& query,
                                                      const RecallOptions& options);
  UsageRecord ReadUsage(const std::string& user, uint64_t id);
  // Takes a fact out of the index whose text cannot be read.
  void DropDamaged(const std::string& user, UserMemory* memory, uint64_t id,
                   const absl::Status& fault);
  // The three below check nothing: their callers have.
  absl::StatusOr<int64_t> WriteRelations(const std::string& user,
                                         std::span<const Relation> relations, Source source,
                                         const WriteTerms& terms);
  absl::Status WriteRecords(const std::string& user, RecordClass record_class,
                            std::span<const MemoryRecord> records, const WriteTerms& terms);
  absl::Status WriteSection(const std::string& user, const std::string& name,
                            const MemorySection& section, const WriteTerms& terms);
  using Receive = std::function<absl::Status(std::string_view)>;
  absl::Status ExportFacts(const std::string& user, const Receive& receive);
  absl::Status ExportRelations(const std::string& user, const Receive& receive);
  absl::Status ExportRecords(const std::string& user, RecordClass record_class,
                             const Receive& receive);
  absl::Status ExportSections(const std::string& user, const Receive& receive);
  // Counts a damaged record that an export leaves out; always OK.
  absl::Status SkipInExport(const std::string& user, Family family, const absl::Status& fault);
  absl::Status StoreLine(const std::string& user, std::string_view line);
  void CountCorrupt(const std::string& what, const absl::Status& fault);

  const LocalMemoryOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<const FeatureCodebook> codebook_;

  Mutex users_mutex_;  // held for look-ups only
  std::unordered_map<std::string, UserPointer> users_ ABSL_GUARDED_BY(users_mutex_);
  int64_t corrupt_records_ ABSL_GUARDED_BY(users_mutex_) = 0;
  StoreTotals totals_;
  std::unique_ptr<StoreDb> db_;
};

// Makes a store at path out of the newest backup in folder. FAILED_PRECONDITION when path holds
// anything, NOT_FOUND when folder holds no backup, DATA_LOSS when the backup is damaged. Afterwards
// path holds all of it or nothing. env may be null.
absl::Status RestoreMemory(const std::string& folder, const std::string& path,
                           rocksdb::Env* env = nullptr);

}  // namespace chimera
