#include "memory/fact_plan.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "memory/memory.h"
#include "memory/record_codec.h"

namespace chimera {
namespace {

bool IsNoneOrDamaged(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsDataLoss(status);
}

}  // namespace

FactPlan::FactPlan(StoreDb* db, const std::string& user, UserMemory* memory)
    : db_(db), user_(user), memory_(memory), batch_(rocksdb::BytewiseComparator(), 0, true) {}

absl::StatusOr<std::string> FactPlan::Get(Family family, std::string_view key) {
  std::string value;
  CHIMERA_RETURN_IF_ERROR(db_->Convert(batch_.GetFromBatchAndDB(
      db_->db(), rocksdb::ReadOptions(), db_->handle(family), ToSlice(key), &value)));
  return value;
}

std::optional<FactHead> FactPlan::HeadOf(uint64_t id) {
  const auto planned = changes_.find(id);
  if (planned != changes_.end()) {
    if (!planned->second.has_value()) return std::nullopt;
    return planned->second->head;
  }
  MutexLock lock(&memory_->mutex);
  const FactHead* head = memory_->facts.Find(id);
  if (head == nullptr) return std::nullopt;
  return *head;
}

absl::StatusOr<RememberedFact> FactPlan::Add(const FactToStore& fact) {
  const uint64_t id = FactIdOf(user_, fact.fact.text);
  const std::string key = IdKey(user_, id);
  const auto value = Get(Family::kFacts, key);
  if (!value.ok() && !IsNoneOrDamaged(value.status())) return value.status();
  if (value.ok()) {
    auto stored = DecodeFact(key, *value);
    if (stored.ok() && stored->text != fact.fact.text) {
      return absl::AlreadyExistsError(
          absl::StrCat("user ", user_, " has another fact with id ", FactIdToHex(id)));
    }
    // Without its sketch in the index it is damaged, like one whose text cannot be read.
    if (stored.ok() && HeadOf(id).has_value()) return AddAgain(id, fact, *std::move(stored));
  }
  return AddNew(id, fact);
}

absl::StatusOr<RememberedFact> FactPlan::AddNew(uint64_t id, const FactToStore& fact) {
  RememberedFact answer{.fact_id = FactIdToHex(id)};
  CHIMERA_ASSIGN_OR_RETURN(const bool overruled, SettleConflict(id, fact.fact, &answer));
  if (overruled) return answer;
  FactRecord record;
  record.head.source = fact.fact.source;
  record.head.created_ms = fact.created_ms;
  record.head.tags = fact.fact.tags;
  record.about = fact.fact.about;
  record.text = fact.fact.text;
  Put(id, record, fact.sketch);
  CHIMERA_RETURN_IF_ERROR(PutUsage(id, {.uses = fact.uses, .weight = fact.fact.weight}));
  answer.created = true;
  return answer;
}

absl::StatusOr<RememberedFact> FactPlan::AddAgain(uint64_t id, const FactToStore& fact,
                                                  FactRecord stored) {
  RememberedFact answer{.fact_id = FactIdToHex(id)};
  const NewFact& again = fact.fact;
  const bool weaker = stored.head.source == Source::kUser && again.source == Source::kInferred;
  const bool upgrade = stored.head.source == Source::kInferred && again.source == Source::kUser;
  const bool moves = !again.about.empty() && again.about != stored.about;
  const bool tagged = (stored.head.tags | again.tags) != stored.head.tags;
  if (weaker || !(upgrade || moves || tagged)) return answer;
  if (moves) {
    CHIMERA_ASSIGN_OR_RETURN(const bool overruled, SettleConflict(id, again, &answer));
    if (overruled) return answer;
    CHIMERA_RETURN_IF_ERROR(EraseAbout(id, stored.about));
    stored.about = again.about;
  }
  stored.head.source = again.source;
  stored.head.tags |= again.tags;
  Put(id, stored, fact.sketch);
  if (upgrade) {
    const std::string key = IdKey(user_, id);
    const auto value = Get(Family::kUsage, key);
    UsageRecord usage;
    if (value.ok()) usage = DecodeUsage(key, *value).value_or(UsageRecord());
    CHIMERA_RETURN_IF_ERROR(PutUsage(id, {.uses = usage.uses, .weight = again.weight}));
  }
  return answer;
}

absl::StatusOr<bool> FactPlan::SettleConflict(uint64_t id, const NewFact& fact,
                                              RememberedFact* answer) {
  if (fact.about.empty()) return false;
  const std::string key = AboutKey(user_, fact.about);
  const auto value = Get(Family::kAbouts, key);
  if (absl::IsNotFound(value.status())) return false;
  CHIMERA_RETURN_IF_ERROR(value.status());
  const auto holder = DecodeAbout(key, *value);
  if (!holder.ok() || holder->id == id) return false;  // a damaged record is written anew
  if (holder->source == Source::kUser && fact.source == Source::kInferred) {
    answer->fact_id = FactIdToHex(holder->id);
    answer->overruled = true;
    return true;
  }
  CHIMERA_ASSIGN_OR_RETURN(const bool erased, Erase(holder->id));
  if (erased) answer->superseded_id = FactIdToHex(holder->id);
  return false;
}

void FactPlan::Put(uint64_t id, const FactRecord& record, const HyperVector& sketch) {
  const std::optional<FactHead> before = HeadOf(id);
  FactRecord whole = record;
  whole.head.about_bytes = static_cast<uint32_t>(record.about.size());
  whole.head.text_bytes = static_cast<uint32_t>(record.text.size());
  const SketchRecord sketched{.head = whole.head, .sketch = sketch};
  const std::string key = IdKey(user_, id);
  batch_.Put(db_->handle(Family::kFacts), ToSlice(key), ToSlice(EncodeFact(key, whole)));
  batch_.Put(db_->handle(Family::kSketches), ToSlice(key), ToSlice(EncodeSketch(key, sketched)));
  if (!record.about.empty()) {
    const std::string about = AboutKey(user_, record.about);
    batch_.Put(db_->handle(Family::kAbouts), ToSlice(about),
               ToSlice(EncodeAbout(about, {.id = id, .source = whole.head.source})));
  }
  growth_.bytes += FactBytes(user_.size(), whole.head.about_bytes, whole.head.text_bytes);
  if (before.has_value()) {
    growth_.bytes -= FactBytes(user_.size(), before->about_bytes, before->text_bytes);
  } else {
    ++growth_.facts;
    ++growth_.entries;
  }
  changes_[id] = sketched;
  ++items_;
}

absl::Status FactPlan::PutUsage(uint64_t id, const UsageRecord& usage) {
  const std::string key = IdKey(user_, id);
  return db_->Convert(
      batch_.Put(db_->handle(Family::kUsage), ToSlice(key), ToSlice(EncodeUsage(key, usage))));
}

absl::StatusOr<bool> FactPlan::Erase(uint64_t id) {
  const std::string key = IdKey(user_, id);
  const auto value = Get(Family::kFacts, key);
  const std::optional<FactHead> head = HeadOf(id);
  if (absl::IsNotFound(value.status()) && !head.has_value()) return false;
  if (!value.ok() && !IsNoneOrDamaged(value.status())) return value.status();
  const auto record =
      value.ok() ? DecodeFact(key, *value) : absl::StatusOr<FactRecord>(value.status());
  CHIMERA_RETURN_IF_ERROR(record.ok() ? EraseAbout(id, record->about) : EraseAboutsOf(id));
  for (const Family family : {Family::kFacts, Family::kSketches, Family::kUsage}) {
    batch_.Delete(db_->handle(family), ToSlice(key));
  }
  if (head.has_value()) {
    growth_.bytes -= FactBytes(user_.size(), head->about_bytes, head->text_bytes);
    --growth_.facts;
    --growth_.entries;
  }
  changes_[id] = std::nullopt;
  ++items_;
  return true;
}

absl::Status FactPlan::EraseAbout(uint64_t id, const std::string& about) {
  if (about.empty()) return absl::OkStatus();
  const std::string key = AboutKey(user_, about);
  const auto value = Get(Family::kAbouts, key);
  if (absl::IsNotFound(value.status())) return absl::OkStatus();
  CHIMERA_RETURN_IF_ERROR(value.status());
  const auto holder = DecodeAbout(key, *value);
  if (holder.ok() && holder->id != id) return absl::OkStatus();
  return db_->Convert(batch_.Delete(db_->handle(Family::kAbouts), ToSlice(key)));
}

// For a fact whose text, and so its about, cannot be read.
absl::Status FactPlan::EraseAboutsOf(uint64_t id) {
  const KeyRange range = UserRange(user_);
  const auto it = db_->Scan(Family::kAbouts);
  for (it->Seek(ToSlice(range.first)); it->Valid(); it->Next()) {
    const std::string_view key = FromSlice(it->key());
    if (key >= range.last) break;
    const auto holder = DecodeAbout(key, FromSlice(it->value()));
    if (holder.ok() && holder->id == id) {
      batch_.Delete(db_->handle(Family::kAbouts), it->key());
    }
  }
  return db_->Convert(it->status());
}

void FactPlan::Apply() {
  MutexLock lock(&memory_->mutex);
  for (const auto& [id, change] : changes_) {
    if (change.has_value()) {
      memory_->facts.Insert(id, change->head, change->sketch);
    } else {
      memory_->facts.Erase(id);
    }
  }
}

}  // namespace chimera
