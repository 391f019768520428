// The memory a service talks to (DESIGN D9): a user's facts, found again by likeness, with the
// relations, records and state around them. LocalMemory keeps them in RocksDB; a remote adapter
// speaks to the memory service. Users never see each other's items.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "memory/learn_batch.h"
#include "memory/memory_types.h"

namespace chimera {

// Every call checks its arguments (memory_arguments.h) and returns INVALID_ARGUMENT naming the
// value and the limit. Writes check quotas and ceilings first and return RESOURCE_EXHAUSTED naming
// the user, the value and the limit. A call with several items does all of them or none. What is
// not there and what belongs to another user have one answer. Errors and logs name users and ids,
// never texts. A verb that an adapter does not have returns UNIMPLEMENTED. Thread-safe.
class Memory {
 public:
  virtual ~Memory() = default;

  // Stores facts, in order; one answer for each. OK means that those of Source::kUser are synced to
  // disk. The same text twice is one fact and no error; said by a user, an inferred one becomes the
  // user's. Conflict (FEATURES H8): of two facts with one non-empty `about` the later one stays,
  // but an inferred one never replaces a user's; it is overruled, which is no error either.
  virtual absl::StatusOr<std::vector<RememberedFact>> Remember(const std::string& user,
                                                               std::span<const NewFact> facts);
  // For each query at most k facts of the user, ordered by (-similarity, fact_id). A query is
  // UTF-8, 1..16,384 bytes. Unrelated texts have a similarity near 0. Reads count as no use.
  virtual absl::StatusOr<std::vector<std::vector<RecalledFact>>> Recall(
      const std::string& user, std::span<const std::string> queries, const RecallOptions& options);
  // Counts uses; returns how many of the facts were there. Durable like Source::kInferred.
  virtual absl::StatusOr<int64_t> Reinforce(const std::string& user, std::span<const FactUse> uses);
  // One page, ordered by id, of facts with an id of first_id or more; limit is 1..1024.
  virtual absl::StatusOr<std::vector<FactInfo>> ListFacts(const std::string& user,
                                                          uint64_t first_id, int limit);
  // Removes inferred facts, as the fixed pool does: durable like Source::kInferred, and the bytes
  // leave the disk when RocksDB compacts. Facts of the user are pinned: they stay. Returns how many
  // went.
  virtual absl::StatusOr<int64_t> Drop(const std::string& user, std::span<const uint64_t> ids);
  // Deletes for good (synced, and the bytes leave the disk) and returns how many facts went: 0 is
  // no error, so a retry is harmless.
  virtual absl::StatusOr<int64_t> Forget(const std::string& user, const std::string& fact_id);
  virtual absl::StatusOr<int64_t> ForgetAll(const std::string& user);  // all facts, nothing else

  // Stores relations, or their new weights; returns how many were new.
  virtual absl::StatusOr<int64_t> Relate(const std::string& user,
                                         std::span<const Relation> relations, Source source);
  // At most limit (1..1024) matches, ordered by -weight, then by the age of their names.
  virtual absl::StatusOr<std::vector<Relation>> Related(const std::string& user,
                                                        const RelationPattern& pattern, int limit);
  // Deletes the matches, synced; returns how many.
  virtual absl::StatusOr<int64_t> Unrelate(const std::string& user, const RelationPattern& pattern);

  // Stores or replaces records by id.
  virtual absl::Status PutRecords(const std::string& user, RecordClass record_class,
                                  std::span<const MemoryRecord> records, Source source);
  // One page, ordered by id, of records with an id of first_id or more; limit is 1..1024.
  virtual absl::StatusOr<std::vector<MemoryRecord>> ScanRecords(const std::string& user,
                                                                RecordClass record_class,
                                                                uint64_t first_id, int limit);
  // Durable like Source::kInferred; returns how many were there.
  virtual absl::StatusOr<int64_t> EraseRecords(const std::string& user, RecordClass record_class,
                                               std::span<const uint64_t> ids);

  // Replaces a section, synced. FAILED_PRECONDITION unless section.epoch is above the stored one.
  // A name is 1..32 characters of [a-z0-9_.].
  virtual absl::Status PutSection(const std::string& user, const std::string& name,
                                  const MemorySection& section);
  // NOT_FOUND when there is none; DATA_LOSS when it is damaged.
  virtual absl::StatusOr<MemorySection> GetSection(const std::string& user,
                                                   const std::string& name);

  // What a session read, and what facts were worth to it: the machine writes down by itself what
  // surprised it, and lets go of what does harm (memory/evolution.h).
  virtual absl::StatusOr<LearnReport> Learn(const std::string& user, const LearnBatch& batch);

  // Everything written before is on disk afterwards.
  virtual absl::Status Sync();
  // Everything of the user as JSON lines (docs/formats/memory-store.md), each without its line
  // end; an error of the receiver ends the export and is returned.
  virtual absl::Status Export(const std::string& user,
                              const std::function<absl::Status(std::string_view)>& receive);
  // Whole lines of an export, at most 4 MiB; the first has number first_line. A line that cannot be
  // taken is refused by number and the others go on. Lines of Source::kUser are synced.
  virtual absl::StatusOr<ImportReport> Import(const std::string& user, std::string_view lines,
                                              int64_t first_line);
  // Deletes all of the user for good, like Forget; returns how many entries went.
  virtual absl::StatusOr<int64_t> Reset(const std::string& user);
  // Adds a backup of the whole store to a folder of this store's backups, beside running calls, and
  // keeps the newest `keep` (1..1000). Backups hold what was later forgotten until they are gone.
  virtual absl::StatusOr<BackupReport> Backup(const std::string& folder, int keep);
  // Of one user, or of the whole store when user is empty.
  virtual absl::StatusOr<MemoryStats> Stats(const std::string& user);

  // One fact of the user, and one query.
  absl::StatusOr<RememberedFact> Remember(const std::string& user, std::string_view text);
  absl::StatusOr<std::vector<RecalledFact>> Recall(const std::string& user, std::string_view query,
                                                   int k);
};

// The first 64 bits of SHA-256(user, byte 00, text): the user is part of it, so that equal texts of
// two users cannot be linked by their ids.
uint64_t FactIdOf(std::string_view user, std::string_view text);
std::string FactIdToHex(uint64_t id);
// fact_id must be valid.
uint64_t FactIdFromHex(std::string_view fact_id);

}  // namespace chimera
