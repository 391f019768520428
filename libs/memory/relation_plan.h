// One atomic change of a user's relations. Plans over the table in main memory, so it reads the
// database only to learn who said a relation that is there already.
#pragma once

#include <rocksdb/write_batch.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "memory/memory_types.h"
#include "memory/relation_record.h"
#include "memory/store_db.h"
#include "memory/user_memory.h"

namespace chimera {

// Made, planned, written and applied under the user's write_mutex. Nothing changes before the
// caller writes batch() and calls Apply. Thread-compatible.
class RelationPlan {
 public:
  // db and memory are borrowed.
  RelationPlan(StoreDb* db, const std::string& user, UserMemory* memory);

  // An inferred weight does not replace a user's.
  absl::Status Put(const Relation& relation, Source source);
  // Erases the matches, and the names that nothing uses afterwards.
  void Erase(const RelationPattern& pattern);

  rocksdb::WriteBatch* batch() { return &batch_; }
  const Growth& growth() const { return growth_; }
  // Relations written or erased.
  int64_t items() const { return static_cast<int64_t>(put_.size() + erased_.size()); }
  void Apply();

 private:
  uint32_t Intern(const std::string& name);
  // A damaged record counts as inferred, so that it can be written anew.
  absl::StatusOr<Source> SourceOf(const Triple& triple);

  StoreDb* const db_;
  const std::string user_;
  UserMemory* const memory_;
  rocksdb::WriteBatch batch_;
  std::map<std::string, uint32_t> new_names_;
  std::vector<Triple> put_, erased_;
  std::map<std::array<uint32_t, 3>, Source> planned_;  // of put_
  std::vector<uint32_t> erased_names_;
  uint32_t next_name_id_ = 0;
  Growth growth_;
};

// The ids of a pattern's names. False when a name is unknown, so that nothing can match.
bool ResolvePattern(const RelationTable& table, const RelationPattern& pattern,
                    TriplePattern* resolved);

}  // namespace chimera
