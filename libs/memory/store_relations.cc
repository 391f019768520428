// Relations of a LocalMemory.
#include "base/status_macros.h"
#include "memory/memory_arguments.h"
#include "memory/relation_plan.h"
#include "memory/rocksdb_store.h"

namespace chimera {

absl::StatusOr<int64_t> LocalMemory::Relate(const std::string& user,
                                            std::span<const Relation> relations, Source source) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateRelations(relations));
  CHIMERA_RETURN_IF_ERROR(ValidateSource(source));
  return WriteRelations(user, relations, source, {.sync = source == Source::kUser});
}

absl::StatusOr<int64_t> LocalMemory::WriteRelations(const std::string& user,
                                                    std::span<const Relation> relations,
                                                    Source source, const WriteTerms& terms) {
  CHIMERA_ASSIGN_OR_RETURN(const UserPointer memory, UserForWrite(user));
  MutexLock write_lock(&memory->write_mutex);
  RelationPlan plan(db_.get(), user, memory.get());
  for (const Relation& relation : relations) {
    CHIMERA_RETURN_IF_ERROR(plan.Put(relation, source));
  }
  if (plan.items() == 0) return 0;
  WriteTerms counted = terms;
  counted.items = plan.items();
  CHIMERA_RETURN_IF_ERROR(Commit(user, memory.get(), plan.batch(), plan.growth(), counted));
  plan.Apply();
  return plan.growth().relations;
}

absl::StatusOr<std::vector<Relation>> LocalMemory::Related(const std::string& user,
                                                           const RelationPattern& pattern,
                                                           int limit) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidatePattern(pattern));
  CHIMERA_RETURN_IF_ERROR(ValidateLimit(limit, kRelatedMax, "query of relations"));
  std::vector<Relation> related;
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return related;
  MutexLock lock(&memory->mutex);
  const RelationTable& table = memory->relations;
  TriplePattern resolved;
  if (!ResolvePattern(table, pattern, &resolved)) return related;
  for (const Triple& triple : table.Match(resolved, static_cast<size_t>(limit))) {
    related.push_back({table.Name(triple.subject), table.Name(triple.predicate),
                       table.Name(triple.object), triple.weight});
  }
  return related;
}

absl::StatusOr<int64_t> LocalMemory::Unrelate(const std::string& user,
                                              const RelationPattern& pattern) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidatePattern(pattern));
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return 0;
  int64_t erased = 0;
  {
    MutexLock write_lock(&memory->write_mutex);
    RelationPlan plan(db_.get(), user, memory.get());
    plan.Erase(pattern);
    if (plan.items() == 0) return 0;
    CHIMERA_RETURN_IF_ERROR(Commit(user, memory.get(), plan.batch(), plan.growth(), {}));
    plan.Apply();
    erased = -plan.growth().relations;
  }
  constexpr Family kFamiliesOfRelations[] = {Family::kRelations};
  const KeyRange range = UserRange(user);
  CHIMERA_RETURN_IF_ERROR(db_->Scrub(kFamiliesOfRelations, range));
  return erased;
}

}  // namespace chimera
