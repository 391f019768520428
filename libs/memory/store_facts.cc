// Facts of a LocalMemory.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "memory/fact_plan.h"
#include "memory/fact_record.h"
#include "memory/memory_arguments.h"
#include "memory/rocksdb_store.h"
#include "memory/usage_merge.h"

namespace chimera {
namespace {

constexpr Family kFactFamilies[] = {Family::kFacts, Family::kSketches, Family::kUsage};

bool IsUncertain(const RecalledFact& fact) {
  return (fact.source == Source::kInferred && fact.weight < kCertainWeightMin) ||
         fact.similarity < kCertainSimilarityMin;
}

}  // namespace

absl::StatusOr<std::vector<RememberedFact>> LocalMemory::Remember(const std::string& user,
                                                                  std::span<const NewFact> facts) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateNewFacts(facts));
  std::vector<FactToStore> to_store;
  bool any_of_user = false;
  for (const NewFact& fact : facts) {
    FactToStore& next = to_store.emplace_back();
    next.fact = fact;
    next.created_ms = options_.clock->WallMs();
    CHIMERA_ASSIGN_OR_RETURN(next.sketch, Sketch(fact.text));
    any_of_user |= fact.source == Source::kUser;
  }
  CHIMERA_ASSIGN_OR_RETURN(const UserPointer memory, UserForWrite(user));
  MutexLock write_lock(&memory->write_mutex);
  FactPlan plan(db_.get(), user, memory.get());
  std::vector<RememberedFact> answers;
  for (const FactToStore& fact : to_store) {
    CHIMERA_ASSIGN_OR_RETURN(answers.emplace_back(), plan.Add(fact));
  }
  CHIMERA_RETURN_IF_ERROR(
      CommitFacts(user, memory.get(), &plan, {.sync = any_of_user, .items = plan.items()}));
  return answers;
}

absl::StatusOr<std::vector<std::vector<RecalledFact>>> LocalMemory::Recall(
    const std::string& user, std::span<const std::string> queries, const RecallOptions& options) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateQueries(queries, options));
  std::vector<std::vector<RecalledFact>> answers(queries.size());
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return answers;
  for (size_t i = 0; i < queries.size(); ++i) {
    CHIMERA_ASSIGN_OR_RETURN(answers[i], RecallOne(user, memory.get(), queries[i], options));
  }
  return answers;
}

absl::StatusOr<std::vector<RecalledFact>> LocalMemory::RecallOne(const std::string& user,
                                                                 UserMemory* memory,
                                                                 const std::string& query,
                                                                 const RecallOptions& options) {
  CHIMERA_ASSIGN_OR_RETURN(const HyperVector sketch, Sketch(query));
  std::vector<SketchMatch> matches;
  {
    MutexLock lock(&memory->mutex);
    matches = memory->facts.Nearest(sketch, options.k, options.tags_any);
  }
  std::vector<RecalledFact> facts;
  for (const SketchMatch& match : matches) {
    if (Similarity(match.distance) < options.similarity_min) break;
    const std::string key = IdKey(user, match.id);
    const auto value = db_->Get(Family::kFacts, key);
    if (absl::IsNotFound(value.status())) continue;  // forgotten since the scan
    if (!value.ok() && !absl::IsDataLoss(value.status())) return value.status();
    auto record = value.ok() ? DecodeFact(key, *value) : value.status();
    if (!record.ok()) {
      DropDamaged(user, memory, match.id, record.status());
      continue;
    }
    RecalledFact& fact = facts.emplace_back();
    fact.fact_id = FactIdToHex(match.id);
    fact.text = std::move(record->text);
    fact.about = std::move(record->about);
    fact.similarity = Similarity(match.distance);
    fact.created_ms = record->head.created_ms;
    fact.source = record->head.source;
    fact.tags = record->head.tags;
    const UsageRecord usage = ReadUsage(user, match.id);
    fact.weight = usage.weight;
    fact.uses = usage.uses;
    fact.uncertain = IsUncertain(fact);
    if (options.with_sketches) {
      CHIMERA_ASSIGN_OR_RETURN(fact.sketch, Sketch(fact.text));
    }
  }
  return facts;
}

UsageRecord LocalMemory::ReadUsage(const std::string& user, uint64_t id) {
  const std::string key = IdKey(user, id);
  const auto value = db_->Get(Family::kUsage, key);
  if (absl::IsNotFound(value.status())) return {};
  const auto usage = value.ok() ? DecodeUsage(key, *value) : value.status();
  if (usage.ok()) return *usage;
  CountCorrupt(absl::StrCat("usage of fact ", FactIdToHex(id), " of user ", user), usage.status());
  return {};
}

void LocalMemory::DropDamaged(const std::string& user, UserMemory* memory, uint64_t id,
                              const absl::Status& fault) {
  {
    MutexLock write_lock(&memory->write_mutex);
    MutexLock lock(&memory->mutex);
    const FactHead* head = memory->facts.Find(id);
    if (head == nullptr) return;  // counted by another call
    const Growth gone{.facts = -1,
                      .entries = -1,
                      .bytes = -FactBytes(user.size(), head->about_bytes, head->text_bytes)};
    memory->facts.Erase(id);
    memory->used += gone;
    totals_.Add(gone);
  }
  CountCorrupt(absl::StrCat("fact ", FactIdToHex(id), " of user ", user), fault);
}

absl::StatusOr<int64_t> LocalMemory::Reinforce(const std::string& user,
                                               std::span<const FactUse> uses) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateUses(uses));
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return 0;
  MutexLock write_lock(&memory->write_mutex);
  rocksdb::WriteBatch batch;
  int64_t counted = 0;
  for (const FactUse& use : uses) {
    const uint64_t id = FactIdFromHex(use.fact_id);
    {
      MutexLock lock(&memory->mutex);
      if (memory->facts.Find(id) == nullptr) continue;
    }
    const std::string key = IdKey(user, id);
    batch.Merge(db_->handle(Family::kUsage), ToSlice(key),
                ToSlice(EncodeUses(key, std::span<const float>(&use.benefit, 1))));
    ++counted;
  }
  if (counted == 0) return 0;
  CHIMERA_RETURN_IF_ERROR(
      Commit(user, memory.get(), &batch, Growth(), {.sync = false, .items = counted}));
  return counted;
}

absl::Status LocalMemory::SetWeights(const std::string& user, std::span<const FactWeight> weights) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateItemCount(weights.size(), "weights"));
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return absl::OkStatus();
  MutexLock write_lock(&memory->write_mutex);
  rocksdb::WriteBatch batch;
  int64_t items = 0;
  for (const FactWeight& one : weights) {
    {
      MutexLock lock(&memory->mutex);
      if (memory->facts.Find(one.id) == nullptr) continue;
    }
    const std::string key = IdKey(user, one.id);
    const UsageRecord usage = {.uses = ReadUsage(user, one.id).uses, .weight = one.weight};
    batch.Put(db_->handle(Family::kUsage), ToSlice(key), ToSlice(EncodeUsage(key, usage)));
    ++items;
  }
  if (items == 0) return absl::OkStatus();
  return Commit(user, memory.get(), &batch, Growth(),
                {.sync = false, .items = items, .rate = Rate::kFree});
}

absl::StatusOr<std::vector<FactInfo>> LocalMemory::ListFacts(const std::string& user,
                                                             uint64_t first_id, int limit) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateLimit(limit, kScanMax, "list"));
  std::vector<FactInfo> infos;
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return infos;
  {
    MutexLock lock(&memory->mutex);
    for (const uint64_t id : memory->facts.Ids(first_id, static_cast<size_t>(limit))) {
      const FactHead& head = *memory->facts.Find(id);
      infos.push_back({.id = id,
                       .source = head.source,
                       .tags = head.tags,
                       .created_ms = head.created_ms,
                       .text_bytes = head.text_bytes});
    }
  }
  for (FactInfo& info : infos) {
    const UsageRecord usage = ReadUsage(user, info.id);
    info.weight = usage.weight;
    info.uses = usage.uses;
  }
  return infos;
}

absl::StatusOr<int64_t> LocalMemory::Drop(const std::string& user, std::span<const uint64_t> ids) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateItemCount(ids.size(), "ids"));
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return 0;
  MutexLock write_lock(&memory->write_mutex);
  FactPlan plan(db_.get(), user, memory.get());
  for (const uint64_t id : ids) {
    {
      MutexLock lock(&memory->mutex);
      const FactHead* head = memory->facts.Find(id);
      if (head == nullptr || head->source == Source::kUser) continue;
    }
    CHIMERA_RETURN_IF_ERROR(plan.Erase(id).status());
  }
  const int64_t dropped = -plan.growth().facts;
  CHIMERA_RETURN_IF_ERROR(
      CommitFacts(user, memory.get(), &plan, {.sync = false, .items = plan.items()}));
  return dropped;
}

absl::StatusOr<int64_t> LocalMemory::Forget(const std::string& user, const std::string& fact_id) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateFactId(fact_id));
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return 0;
  const uint64_t id = FactIdFromHex(fact_id);
  {
    MutexLock write_lock(&memory->write_mutex);
    FactPlan plan(db_.get(), user, memory.get());
    CHIMERA_ASSIGN_OR_RETURN(const bool found, plan.Erase(id));
    if (!found) return 0;
    CHIMERA_RETURN_IF_ERROR(CommitFacts(user, memory.get(), &plan, {}));
  }
  const std::string key = IdKey(user, id);
  CHIMERA_RETURN_IF_ERROR(db_->Scrub(kFactFamilies, {.first = key, .last = key}));
  return 1;
}

absl::StatusOr<int64_t> LocalMemory::ForgetAll(const std::string& user) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return 0;
  constexpr Family kFamiliesOfFacts[] = {Family::kFacts, Family::kSketches, Family::kUsage,
                                         Family::kAbouts};
  const KeyRange range = UserRange(user);
  Growth gone;
  {
    MutexLock write_lock(&memory->write_mutex);
    {
      MutexLock lock(&memory->mutex);
      gone.facts = gone.entries = -memory->facts.facts();
      for (const uint64_t id : memory->facts.Ids(0, static_cast<size_t>(memory->facts.facts()))) {
        const FactHead& head = *memory->facts.Find(id);
        gone.bytes -= FactBytes(user.size(), head.about_bytes, head.text_bytes);
      }
    }
    rocksdb::WriteBatch batch;
    for (const Family family : kFamiliesOfFacts) {
      batch.DeleteRange(db_->handle(family), ToSlice(range.first), ToSlice(range.last));
    }
    CHIMERA_RETURN_IF_ERROR(Commit(user, memory.get(), &batch, gone, {}));
    MutexLock lock(&memory->mutex);
    memory->facts = FactIndex();
  }
  // Also when the index knew nothing: a damaged record, or an earlier call cut short, leaves bytes.
  CHIMERA_RETURN_IF_ERROR(db_->Scrub(kFamiliesOfFacts, range));
  return -gone.facts;
}

}  // namespace chimera
