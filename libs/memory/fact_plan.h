// One atomic change of a user's facts: what it reads of the database includes what it has planned.
#pragma once

#include <rocksdb/utilities/write_batch_with_index.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "memory/fact_record.h"
#include "memory/memory_types.h"
#include "memory/store_db.h"
#include "memory/user_memory.h"

namespace chimera {

// A fact to store, with what an import knows about its past.
struct FactToStore {
  NewFact fact;
  HyperVector sketch;
  int64_t created_ms = 0;
  uint64_t uses = 0;
};

// Made, planned, written and applied under the user's write_mutex. Nothing changes before the
// caller writes batch() and calls Apply. Thread-compatible.
class FactPlan {
 public:
  // db and memory are borrowed.
  FactPlan(StoreDb* db, const std::string& user, UserMemory* memory);

  // The rules are those of Memory::Remember.
  absl::StatusOr<RememberedFact> Add(const FactToStore& fact);
  // False when it is not there. Damaged records are erased too.
  absl::StatusOr<bool> Erase(uint64_t id);

  rocksdb::WriteBatch* batch() { return batch_.GetWriteBatch(); }
  const Growth& growth() const { return growth_; }
  // Facts written or erased.
  int64_t items() const { return items_; }
  // Brings the user's index up to date, after the write.
  void Apply();

 private:
  absl::StatusOr<std::string> Get(Family family, std::string_view key);
  // Null when the fact is not there, also by this plan.
  std::optional<FactHead> HeadOf(uint64_t id);
  absl::StatusOr<RememberedFact> AddNew(uint64_t id, const FactToStore& fact);
  absl::StatusOr<RememberedFact> AddAgain(uint64_t id, const FactToStore& fact, FactRecord stored);
  // Settles whose `about` it is: erases the fact that is superseded. True when the new fact is
  // overruled, and answer then names the fact that stays.
  absl::StatusOr<bool> SettleConflict(uint64_t id, const NewFact& fact, RememberedFact* answer);
  absl::Status EraseAbout(uint64_t id, const std::string& about);
  absl::Status EraseAboutsOf(uint64_t id);
  void Put(uint64_t id, const FactRecord& record, const HyperVector& sketch);
  absl::Status PutUsage(uint64_t id, const UsageRecord& usage);

  StoreDb* const db_;
  const std::string user_;
  UserMemory* const memory_;
  rocksdb::WriteBatchWithIndex batch_;
  std::map<uint64_t, std::optional<SketchRecord>> changes_;  // nothing: erased
  Growth growth_;
  int64_t items_ = 0;
};

}  // namespace chimera
