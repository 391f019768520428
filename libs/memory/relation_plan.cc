#include "memory/relation_plan.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace chimera {

RelationPlan::RelationPlan(StoreDb* db, const std::string& user, UserMemory* memory)
    : db_(db), user_(user), memory_(memory) {
  MutexLock lock(&memory_->mutex);
  next_name_id_ = memory_->relations.next_name_id();
}

uint32_t RelationPlan::Intern(const std::string& name) {
  {
    MutexLock lock(&memory_->mutex);
    const uint32_t known = memory_->relations.FindName(name);
    if (known != kAnyName) return known;
  }
  const auto [at, added] = new_names_.emplace(name, next_name_id_);
  if (!added) return at->second;
  CHIMERA_CHECK(next_name_id_ != kAnyName);
  const std::string key = NameKey(user_, next_name_id_);
  batch_.Put(db_->handle(Family::kRelations), ToSlice(key), ToSlice(EncodeName(key, name)));
  ++growth_.entries;
  growth_.bytes += NameBytes(user_.size(), name.size());
  return next_name_id_++;
}

absl::StatusOr<Source> RelationPlan::SourceOf(const Triple& triple) {
  const auto planned = planned_.find({triple.subject, triple.predicate, triple.object});
  if (planned != planned_.end()) return planned->second;
  const std::string key = TripleKey(user_, triple);
  const auto value = db_->Get(Family::kRelations, key);
  if (!value.ok() && !absl::IsNotFound(value.status()) && !absl::IsDataLoss(value.status())) {
    return value.status();
  }
  const auto record = value.ok() ? DecodeTriple(key, *value) : value.status();
  return record.ok() ? record->source : Source::kInferred;
}

absl::Status RelationPlan::Put(const Relation& relation, Source source) {
  const Triple triple{Intern(relation.subject), Intern(relation.predicate), Intern(relation.object),
                      relation.weight};
  const std::array<uint32_t, 3> ids{triple.subject, triple.predicate, triple.object};
  bool known = planned_.contains(ids);
  if (!known) {
    MutexLock lock(&memory_->mutex);
    known = memory_->relations.Find(ids[0], ids[1], ids[2]) != nullptr;
  }
  if (known && source == Source::kInferred) {
    CHIMERA_ASSIGN_OR_RETURN(const Source stored, SourceOf(triple));
    if (stored == Source::kUser) return absl::OkStatus();
  }
  const std::string key = TripleKey(user_, triple);
  batch_.Put(db_->handle(Family::kRelations), ToSlice(key),
             ToSlice(EncodeTriple(key, {.source = source, .weight = triple.weight})));
  put_.push_back(triple);
  planned_[ids] = source;
  if (!known) {
    ++growth_.relations;
    ++growth_.entries;
    growth_.bytes += TripleBytes(user_.size());
  }
  return absl::OkStatus();
}

void RelationPlan::Erase(const RelationPattern& pattern) {
  MutexLock lock(&memory_->mutex);
  const RelationTable& table = memory_->relations;
  TriplePattern resolved;
  if (!ResolvePattern(table, pattern, &resolved)) return;
  erased_ = table.Match(resolved, static_cast<size_t>(table.triples()));
  const auto count = static_cast<int64_t>(erased_.size());
  for (const Triple& triple : erased_) {
    batch_.Delete(db_->handle(Family::kRelations), ToSlice(TripleKey(user_, triple)));
  }
  erased_names_ = table.NamesOnlyIn(erased_);
  for (const uint32_t id : erased_names_) {
    batch_.Delete(db_->handle(Family::kRelations), ToSlice(NameKey(user_, id)));
    growth_.bytes -= NameBytes(user_.size(), table.Name(id).size());
  }
  growth_.relations -= count;
  growth_.entries -= count + static_cast<int64_t>(erased_names_.size());
  growth_.bytes -= count * TripleBytes(user_.size());
}

void RelationPlan::Apply() {
  MutexLock lock(&memory_->mutex);
  RelationTable& table = memory_->relations;
  for (const auto& [name, id] : new_names_) table.AddName(id, name);
  for (const Triple& triple : put_) table.Put(triple);
  table.Erase(erased_);
  for (const uint32_t id : erased_names_) table.EraseName(id);
}

bool ResolvePattern(const RelationTable& table, const RelationPattern& pattern,
                    TriplePattern* resolved) {
  const std::pair<const std::string&, uint32_t&> parts[] = {
      {pattern.subject, resolved->subject},
      {pattern.predicate, resolved->predicate},
      {pattern.object, resolved->object}};
  for (const auto& [name, id] : parts) {
    if (name.empty()) continue;
    id = table.FindName(name);
    if (id == kAnyName) return false;
  }
  return true;
}

}  // namespace chimera
