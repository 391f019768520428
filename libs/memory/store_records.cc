// Records and sections of a LocalMemory: bytes that mean something to their owners only.
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "memory/memory_arguments.h"
#include "memory/record_codec.h"
#include "memory/rocksdb_store.h"

namespace chimera {
namespace {

Family FamilyOf(RecordClass record_class) {
  return record_class == RecordClass::kCase ? Family::kCases : Family::kGuidelines;
}

size_t IndexOf(RecordClass record_class) { return static_cast<size_t>(record_class) - 1; }

int64_t CountMax(RecordClass record_class) {
  return record_class == RecordClass::kCase ? kCasesPerUserMax : kGuidelinesPerUserMax;
}

std::string EncodeRecord(Family family, std::string_view key, std::string_view bytes) {
  std::string body;
  PutInt(kBodyVersion, 1, &body);
  body += bytes;
  return Seal(family, key, std::move(body));
}

}  // namespace

absl::Status LocalMemory::PutRecords(const std::string& user, RecordClass record_class,
                                     std::span<const MemoryRecord> records, Source source) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateRecordClass(record_class));
  CHIMERA_RETURN_IF_ERROR(ValidateRecords(records));
  CHIMERA_RETURN_IF_ERROR(ValidateSource(source));
  return WriteRecords(
      user, record_class, records,
      {.sync = source == Source::kUser, .items = static_cast<int64_t>(records.size())});
}

absl::Status LocalMemory::WriteRecords(const std::string& user, RecordClass record_class,
                                       std::span<const MemoryRecord> records,
                                       const WriteTerms& terms) {
  CHIMERA_ASSIGN_OR_RETURN(const UserPointer memory, UserForWrite(user));
  MutexLock write_lock(&memory->write_mutex);
  const Family family = FamilyOf(record_class);
  std::map<uint64_t, int64_t> before;
  {
    MutexLock lock(&memory->mutex);
    before = memory->records[IndexOf(record_class)];
  }
  std::map<uint64_t, int64_t> after = before;
  rocksdb::WriteBatch batch;
  Growth growth;
  for (const MemoryRecord& record : records) {
    const std::string key = IdKey(user, record.id);
    const std::string value = EncodeRecord(family, key, record.bytes);
    batch.Put(db_->handle(family), ToSlice(key), ToSlice(value));
    int64_t& bytes = after[record.id];
    growth.bytes += static_cast<int64_t>(key.size() + value.size()) - bytes;
    bytes = static_cast<int64_t>(key.size() + value.size());
  }
  growth.entries = static_cast<int64_t>(after.size()) - static_cast<int64_t>(before.size());
  if (growth.entries > 0 && static_cast<int64_t>(after.size()) > CountMax(record_class)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("user ", user, " has ", before.size(), " ", FamilyName(family), ", ",
                     growth.entries, " more exceed the limit ", CountMax(record_class)));
  }
  CHIMERA_RETURN_IF_ERROR(Commit(user, memory.get(), &batch, growth, terms));
  MutexLock lock(&memory->mutex);
  memory->records[IndexOf(record_class)] = std::move(after);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<MemoryRecord>> LocalMemory::ScanRecords(const std::string& user,
                                                                   RecordClass record_class,
                                                                   uint64_t first_id, int limit) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateRecordClass(record_class));
  CHIMERA_RETURN_IF_ERROR(ValidateLimit(limit, kScanMax, "scan"));
  const Family family = FamilyOf(record_class);
  const KeyRange range = UserRange(user);
  std::vector<MemoryRecord> records;
  const auto it = db_->Scan(family);
  for (it->Seek(ToSlice(IdKey(user, first_id))); it->Valid(); it->Next()) {
    const std::string_view key = FromSlice(it->key());
    if (key >= range.last || records.size() == static_cast<size_t>(limit)) break;
    const auto body = Unseal(family, key, FromSlice(it->value()), 2);
    const uint64_t id =
        key.size() == range.first.size() + 8 ? GetBigEndian(key, range.first.size(), 8) : 0;
    if (!body.ok()) {
      CountCorrupt(absl::StrCat("record ", id, " of user ", user), body.status());
      continue;
    }
    records.push_back({.id = id, .bytes = std::string(body->substr(1))});
  }
  CHIMERA_RETURN_IF_ERROR(db_->Convert(it->status()));
  return records;
}

absl::StatusOr<int64_t> LocalMemory::EraseRecords(const std::string& user, RecordClass record_class,
                                                  std::span<const uint64_t> ids) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateRecordClass(record_class));
  CHIMERA_RETURN_IF_ERROR(ValidateItemCount(ids.size(), "ids"));
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return 0;
  MutexLock write_lock(&memory->write_mutex);
  std::map<uint64_t, int64_t> after;
  {
    MutexLock lock(&memory->mutex);
    after = memory->records[IndexOf(record_class)];
  }
  rocksdb::WriteBatch batch;
  Growth growth;
  for (const uint64_t id : ids) {
    const auto found = after.find(id);
    if (found == after.end()) continue;
    batch.Delete(db_->handle(FamilyOf(record_class)), ToSlice(IdKey(user, id)));
    growth.bytes -= found->second;
    --growth.entries;
    after.erase(found);
  }
  if (growth.entries == 0) return 0;
  CHIMERA_RETURN_IF_ERROR(
      Commit(user, memory.get(), &batch, growth, {.sync = false, .items = -growth.entries}));
  MutexLock lock(&memory->mutex);
  memory->records[IndexOf(record_class)] = std::move(after);
  return -growth.entries;
}

absl::Status LocalMemory::PutSection(const std::string& user, const std::string& name,
                                     const MemorySection& section) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateSection(name, section));
  return WriteSection(user, name, section, {});
}

absl::Status LocalMemory::WriteSection(const std::string& user, const std::string& name,
                                       const MemorySection& section, const WriteTerms& terms) {
  CHIMERA_ASSIGN_OR_RETURN(const UserPointer memory, UserForWrite(user));
  MutexLock write_lock(&memory->write_mutex);
  const std::string key = UserKey(user, name);
  std::string body;
  PutInt(kBodyVersion, 1, &body);
  PutInt(section.epoch, 8, &body);
  body += section.bytes;
  const std::string value = Seal(Family::kSections, key, std::move(body));
  const SectionInfo info{.epoch = section.epoch,
                         .bytes = static_cast<int64_t>(key.size() + value.size())};
  Growth growth{.entries = 1, .bytes = info.bytes};
  {
    MutexLock lock(&memory->mutex);
    const auto found = memory->sections.find(name);
    if (found != memory->sections.end()) {
      if (section.epoch <= found->second.epoch) {
        return absl::FailedPreconditionError(absl::StrCat("section ", name, " of user ", user,
                                                          " has epoch ", found->second.epoch, "; ",
                                                          section.epoch, " is not above"));
      }
      growth = {.bytes = info.bytes - found->second.bytes};
    } else if (memory->sections.size() >= kSectionsPerUserMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("user ", user, " has ", memory->sections.size(), " sections; the limit is ",
                       kSectionsPerUserMax));
    }
  }
  rocksdb::WriteBatch batch;
  batch.Put(db_->handle(Family::kSections), ToSlice(key), ToSlice(value));
  CHIMERA_RETURN_IF_ERROR(Commit(user, memory.get(), &batch, growth, terms));
  MutexLock lock(&memory->mutex);
  memory->sections[name] = info;
  return absl::OkStatus();
}

absl::StatusOr<MemorySection> LocalMemory::GetSection(const std::string& user,
                                                      const std::string& name) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateSectionName(name));
  const std::string key = UserKey(user, name);
  const auto value = db_->Get(Family::kSections, key);
  if (absl::IsNotFound(value.status())) {
    return absl::NotFoundError(absl::StrCat("user ", user, " has no section ", name));
  }
  CHIMERA_RETURN_IF_ERROR(value.status());
  CHIMERA_ASSIGN_OR_RETURN(const std::string_view body,
                           Unseal(Family::kSections, key, *value, 1 + 8));
  return MemorySection{.epoch = GetInt(body, 1, 8), .bytes = std::string(body.substr(9))};
}

}  // namespace chimera
