// Cold start of a LocalMemory: the indexes are rebuilt from RocksDB.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "memory/fact_record.h"
#include "memory/relation_record.h"
#include "memory/rocksdb_store.h"

namespace chimera {
namespace {

// What a log line may say about a key: the user and the id, never a text.
std::string Describe(Family family, std::string_view key) {
  const auto split = SplitUserKey(key);
  if (!split.ok()) return absl::StrCat("an unreadable key in ", FamilyName(family));
  const auto id = IdOfKeyRest(split->rest);
  return absl::StrCat(id.ok() ? absl::StrCat("item ", FactIdToHex(*id)) : std::string("an item"),
                      " of user ", split->user, " in ", FamilyName(family));
}

}  // namespace

absl::Status LocalMemory::LoadUsers() {
  // Names of relations come before their triples, because of their keys.
  for (const Family family : {Family::kSketches, Family::kRelations, Family::kCases,
                              Family::kGuidelines, Family::kSections}) {
    const auto it = db_->Scan(family);
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      const std::string_view key = FromSlice(it->key()), value = FromSlice(it->value());
      absl::Status loaded;
      switch (family) {
        case Family::kSketches:
          loaded = LoadFact(key, value);
          break;
        case Family::kRelations:
          loaded = LoadRelation(key, value);
          break;
        case Family::kSections:
          loaded = LoadSection(key, value);
          break;
        default:
          loaded = LoadRecord(family, key, value);
      }
      if (absl::IsDataLoss(loaded)) {
        CountCorrupt(Describe(family, key), loaded);
        // So that the user's Reset finds something to do.
        const auto split = SplitUserKey(key);
        if (split.ok()) CHIMERA_RETURN_IF_ERROR(UserForWrite(split->user).status());
      } else {
        CHIMERA_RETURN_IF_ERROR(loaded);
      }
    }
    CHIMERA_RETURN_IF_ERROR(db_->Convert(it->status()));
  }
  return absl::OkStatus();
}

absl::Status LocalMemory::LoadFact(std::string_view key, std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const SplitKey split, SplitUserKey(key));
  CHIMERA_ASSIGN_OR_RETURN(const uint64_t id, IdOfKeyRest(split.rest));
  auto record = DecodeSketch(key, value);
  if (!record.ok()) {
    record = RebuildSketch(key);
    CHIMERA_RETURN_IF_ERROR(record.status());
  }
  if (totals_.Get().facts >= kMemoryFactsMaxLimit) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "memory store ", options_.path, " has more than ", kMemoryFactsMaxLimit, " facts"));
  }
  CHIMERA_ASSIGN_OR_RETURN(const UserPointer memory, UserForWrite(split.user));
  const FactHead& head = record->head;
  const Growth growth{.facts = 1,
                      .entries = 1,
                      .bytes = FactBytes(split.user.size(), head.about_bytes, head.text_bytes)};
  totals_.Add(growth);
  MutexLock lock(&memory->mutex);
  memory->facts.Insert(id, head, record->sketch);
  memory->used += growth;
  return absl::OkStatus();
}

absl::StatusOr<SketchRecord> LocalMemory::RebuildSketch(std::string_view key) {
  const auto value = db_->Get(Family::kFacts, key);
  if (absl::IsNotFound(value.status())) {
    return absl::DataLossError("its sketch is damaged and its text is gone");
  }
  CHIMERA_RETURN_IF_ERROR(value.status());
  CHIMERA_ASSIGN_OR_RETURN(const FactRecord fact, DecodeFact(key, *value));
  SketchRecord record{.head = fact.head};
  CHIMERA_ASSIGN_OR_RETURN(record.sketch, Sketch(fact.text));
  rocksdb::WriteBatch batch;
  batch.Put(db_->handle(Family::kSketches), ToSlice(key), ToSlice(EncodeSketch(key, record)));
  CHIMERA_RETURN_IF_ERROR(db_->Write(&batch, true, 1));
  LogWarning(absl::StrCat("memory store ", options_.path, " repaired the sketch of ",
                          Describe(Family::kSketches, key)));
  return record;
}

absl::Status LocalMemory::LoadRelation(std::string_view key, std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const SplitKey split, SplitUserKey(key));
  CHIMERA_ASSIGN_OR_RETURN(const RelationKey parts, DecodeRelationKey(split.rest));
  CHIMERA_ASSIGN_OR_RETURN(const UserPointer memory, UserForWrite(split.user));
  Growth growth{.entries = 1, .bytes = static_cast<int64_t>(key.size() + value.size())};
  MutexLock lock(&memory->mutex);
  RelationTable& table = memory->relations;
  if (parts.is_name) {
    CHIMERA_ASSIGN_OR_RETURN(const std::string name, DecodeName(key, value));
    if (parts.name_id == kAnyName || table.FindName(name) != kAnyName) {
      return absl::DataLossError(absl::StrCat("relation name ", parts.name_id, " is there twice"));
    }
    table.AddName(parts.name_id, name);
  } else {
    CHIMERA_ASSIGN_OR_RETURN(const TripleRecord record, DecodeTriple(key, value));
    for (const uint32_t id : {parts.subject, parts.predicate, parts.object}) {
      if (!table.HasName(id)) {
        return absl::DataLossError(absl::StrCat("relation without its name ", id));
      }
    }
    table.Put({parts.subject, parts.predicate, parts.object, record.weight});
    growth.relations = 1;
  }
  totals_.Add(growth);
  memory->used += growth;
  return absl::OkStatus();
}

absl::Status LocalMemory::LoadRecord(Family family, std::string_view key, std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const SplitKey split, SplitUserKey(key));
  CHIMERA_ASSIGN_OR_RETURN(const uint64_t id, IdOfKeyRest(split.rest));
  CHIMERA_RETURN_IF_ERROR(Unseal(family, key, value, 2).status());
  CHIMERA_ASSIGN_OR_RETURN(const UserPointer memory, UserForWrite(split.user));
  const Growth growth{.entries = 1, .bytes = static_cast<int64_t>(key.size() + value.size())};
  totals_.Add(growth);
  MutexLock lock(&memory->mutex);
  memory->records[family == Family::kCases ? 0 : 1][id] = growth.bytes;
  memory->used += growth;
  return absl::OkStatus();
}

absl::Status LocalMemory::LoadSection(std::string_view key, std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const SplitKey split, SplitUserKey(key));
  CHIMERA_ASSIGN_OR_RETURN(const std::string_view body,
                           Unseal(Family::kSections, key, value, 1 + 8));
  CHIMERA_ASSIGN_OR_RETURN(const UserPointer memory, UserForWrite(split.user));
  const Growth growth{.entries = 1, .bytes = static_cast<int64_t>(key.size() + value.size())};
  totals_.Add(growth);
  MutexLock lock(&memory->mutex);
  memory->sections[std::string(split.rest)] = {.epoch = GetInt(body, 1, 8), .bytes = growth.bytes};
  memory->used += growth;
  return absl::OkStatus();
}

}  // namespace chimera
