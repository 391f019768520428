// UserLearning's copies of users, and their way to and from the store: records of cases and
// guidelines, the section of entities.
#include <iterator>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "memory/user_learning.h"

namespace chimera {
namespace {

constexpr char kEntitiesSection[] = "entities";
// Of an entity table and its words, whatever is in them.
constexpr int64_t kEntitiesBytes = 288 << 10;

// Every record of a class, in pages.
template <typename Take>
absl::Status ForEachRecord(LocalMemory* memory, const std::string& user, RecordClass record_class,
                           const Take& take) {
  uint64_t first = 0;
  while (true) {
    CHIMERA_ASSIGN_OR_RETURN(const std::vector<MemoryRecord> page,
                             memory->ScanRecords(user, record_class, first, kScanMax));
    for (const MemoryRecord& record : page) {
      const absl::Status taken = take(record);
      if (taken.ok()) continue;
      LogWarning(absl::StrCat("record ", FactIdToHex(record.id), " of user ", user,
                              " is not used: ", std::string(taken.message())));
    }
    if (page.size() < kScanMax || page.back().id == UINT64_MAX) return absl::OkStatus();
    first = page.back().id + 1;
  }
}

}  // namespace

UserLearning::StatePointer UserLearning::Pin(const std::string& user) {
  std::list<Held> gone;  // freed after the lock
  MutexLock lock(&users_mutex_);
  const auto found = users_.find(user);
  if (found != users_.end()) {
    recent_.splice(recent_.begin(), recent_, found->second);
  } else {
    recent_.push_front({.user = user, .state = std::make_shared<State>()});
    users_[user] = recent_.begin();
  }
  const StatePointer state = recent_.front().state;
  Trim(&gone);
  return state;
}

void UserLearning::Trim(std::list<Held>* gone) {
  int64_t bytes = 0;
  for (const Held& held : recent_) bytes += held.state->bytes;
  for (auto it = recent_.end(); it != recent_.begin();) {
    --it;
    if (recent_.size() <= options_.users_max && bytes <= options_.bytes_max) return;
    if (it->state.use_count() > 1) continue;  // only Pin, under this lock, makes it more
    bytes -= it->state->bytes;
    users_.erase(it->user);
    const auto next = std::next(it);
    gone->splice(gone->begin(), recent_, it);
    it = next;
  }
}

void UserLearning::Count(State* state) {
  int64_t bytes = 0;
  if (state->cases) bytes += state->cases->bytes();
  if (state->guidelines) bytes += state->guidelines->bytes();
  if (state->entities) bytes += kEntitiesBytes;
  if (state->evolution) bytes += state->evolution->bytes();
  state->bytes = bytes;
}

void UserLearning::Drop(State* state) {
  state->cases.reset();
  state->guidelines.reset();
  state->entities.reset();
  Count(state);
}

int64_t UserLearning::CacheBytes() {
  MutexLock lock(&users_mutex_);
  int64_t bytes = 0;
  for (const Held& held : recent_) bytes += held.state->bytes;
  return bytes;
}

absl::Status UserLearning::NeedCases(const std::string& user, State* state) {
  if (state->cases) return absl::OkStatus();
  EpisodicCases cases(CaseOptions());
  CHIMERA_RETURN_IF_ERROR(ForEachRecord(
      memory_, user, RecordClass::kCase, [&cases](const MemoryRecord& record) -> absl::Status {
        CHIMERA_ASSIGN_OR_RETURN(EpisodicCase c, DecodeCase(record.bytes));
        if (c.id != record.id) return absl::DataLossError("case: it has another id");
        if (cases.Restore(std::move(c))) return absl::OkStatus();
        return absl::ResourceExhaustedError("case: there are too many");
      }));
  state->cases.emplace(std::move(cases));
  Count(state);
  return absl::OkStatus();
}

absl::Status UserLearning::NeedGuidelines(const std::string& user, State* state) {
  if (state->guidelines) return absl::OkStatus();
  Guidelines guidelines(action_codes_, options_.guidelines);
  CHIMERA_RETURN_IF_ERROR(ForEachRecord(memory_, user, RecordClass::kGuideline,
                                        [&guidelines](const MemoryRecord& record) -> absl::Status {
                                          return guidelines.Restore(record.id, record.bytes);
                                        }));
  state->guidelines.emplace(std::move(guidelines));
  Count(state);
  return absl::OkStatus();
}

absl::Status UserLearning::NeedEntities(const std::string& user, State* state) {
  if (state->entities) return absl::OkStatus();
  const absl::StatusOr<MemorySection> section = memory_->GetSection(user, kEntitiesSection);
  if (absl::IsNotFound(section.status())) {
    state->entities.emplace(&entity_codes_);
    state->entities_epoch = 0;
  } else {
    CHIMERA_RETURN_IF_ERROR(section.status());
    CHIMERA_ASSIGN_OR_RETURN(EntityMemory entities,
                             EntityMemory::Decode(section->bytes, &entity_codes_));
    state->entities.emplace(std::move(entities));
    state->entities_epoch = section->epoch;
  }
  Count(state);
  return absl::OkStatus();
}

absl::Status UserLearning::WriteCases(const std::string& user, std::span<const uint64_t> changed,
                                      std::span<const uint64_t> gone, State* state) {
  std::vector<MemoryRecord> records;
  for (const uint64_t id : changed) {
    if (const EpisodicCase* c = state->cases->Find(id)) {
      records.push_back({.id = id, .bytes = EncodeCase(*c)});
    }
  }
  const absl::Status written = Replace(user, RecordClass::kCase, records, gone);
  if (!written.ok()) state->cases.reset();
  Count(state);
  return written;
}

absl::Status UserLearning::WriteGuidelines(const std::string& user,
                                           std::span<const uint64_t> changed,
                                           std::span<const uint64_t> gone, State* state) {
  std::vector<MemoryRecord> records;
  for (const uint64_t id : changed) {
    if (const Guideline* guideline = state->guidelines->Find(id)) {
      records.push_back({.id = id, .bytes = state->guidelines->EncodeOne(*guideline)});
    }
  }
  const absl::Status written = Replace(user, RecordClass::kGuideline, records, gone);
  if (!written.ok()) state->guidelines.reset();
  Count(state);
  return written;
}

absl::Status UserLearning::Replace(const std::string& user, RecordClass record_class,
                                   std::span<const MemoryRecord> records,
                                   std::span<const uint64_t> gone) {
  // Room first: the store refuses one record more than a user may have.
  if (!gone.empty()) {
    CHIMERA_RETURN_IF_ERROR(memory_->EraseRecords(user, record_class, gone).status());
  }
  if (records.empty()) return absl::OkStatus();
  return memory_->PutRecords(user, record_class, records, Source::kUser);
}

absl::Status UserLearning::WriteEntities(const std::string& user, State* state) {
  const MemorySection section = {.epoch = state->entities_epoch + 1,
                                 .bytes = state->entities->Encode()};
  const absl::Status written = memory_->PutSection(user, kEntitiesSection, section);
  if (written.ok()) {
    state->entities_epoch = section.epoch;
  } else {
    state->entities.reset();
  }
  Count(state);
  return written;
}

}  // namespace chimera
