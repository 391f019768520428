// Backup, restore and Reset of a LocalMemory.
#include <rocksdb/utilities/backup_engine.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "memory/memory_arguments.h"
#include "memory/rocksdb_store.h"

namespace chimera {
namespace {

constexpr size_t kTokenizerBytesMax = size_t{64} << 20;
constexpr int kBackupsMax = 1000;

// The backup folder: tokenizer.model and db/, which is RocksDB's.
std::string TokenizerIn(const std::string& folder) { return folder + "/tokenizer.model"; }
std::string BackupsIn(const std::string& folder) { return folder + "/db"; }

// The store's tokenizer goes beside its backups; another store's must not be there.
absl::Status KeepTokenizer(const std::string& store, const std::string& folder) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string own, ReadFile(TokenizerIn(store), kTokenizerBytesMax));
  const auto there = ReadFile(TokenizerIn(folder), kTokenizerBytesMax);
  if (absl::IsNotFound(there.status())) return WriteFileAtomic(TokenizerIn(folder), own);
  CHIMERA_RETURN_IF_ERROR(there.status());
  if (*there == own) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("backup folder ", folder, " belongs to a store with another tokenizer"));
}

bool HoldsAnything(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return false;
  return !std::filesystem::is_directory(path, error) || !std::filesystem::is_empty(path, error);
}

}  // namespace

absl::StatusOr<BackupReport> LocalMemory::Backup(const std::string& folder, int keep) {
  if (folder.empty()) return absl::InvalidArgumentError("backup has no folder");
  CHIMERA_RETURN_IF_ERROR(ValidateLimit(keep, kBackupsMax, "backup keep"));
  CHIMERA_RETURN_IF_ERROR(MakeDirs(folder));
  CHIMERA_RETURN_IF_ERROR(KeepTokenizer(options_.path, folder));
  return db_->Backup(BackupsIn(folder), keep);
}

absl::StatusOr<BackupReport> StoreDb::Backup(const std::string& folder, int keep) {
  const auto convert = [&folder](const rocksdb::Status& status) {
    return FromRocksdb(absl::StrCat("backup in ", folder), status);
  };
  MutexLock files_lock(&files_mutex_);
  rocksdb::BackupEngine* raw = nullptr;
  CHIMERA_RETURN_IF_ERROR(convert(rocksdb::BackupEngine::Open(
      db_->GetEnv(), rocksdb::BackupEngineOptions(folder, options_.env), &raw)));
  const std::unique_ptr<rocksdb::BackupEngine> engine(raw);
  std::string identity;
  CHIMERA_RETURN_IF_ERROR(Convert(db_->GetDbIdentity(identity)));
  rocksdb::BackupInfo info;
  const rocksdb::Status latest = engine->GetLatestBackupInfo(&info);
  if (!latest.IsNotFound()) CHIMERA_RETURN_IF_ERROR(convert(latest));
  if (latest.ok() && info.app_metadata != identity) {
    return absl::FailedPreconditionError(
        absl::StrCat("backup folder ", folder, " holds backups of another store"));
  }
  rocksdb::CreateBackupOptions create;
  create.flush_before_backup = true;
  CHIMERA_RETURN_IF_ERROR(
      convert(engine->CreateNewBackupWithMetadata(create, db_.get(), identity)));
  CHIMERA_RETURN_IF_ERROR(convert(engine->PurgeOldBackups(static_cast<uint32_t>(keep))));
  std::vector<rocksdb::BackupInfo> infos;
  engine->GetBackupInfo(&infos);
  if (infos.empty()) return absl::InternalError(absl::StrCat("no backup in ", folder));
  return BackupReport{.backup_id = infos.back().backup_id,
                      .bytes = static_cast<int64_t>(infos.back().size),
                      .backups_kept = static_cast<int64_t>(infos.size())};
}

absl::Status RestoreMemory(const std::string& folder, const std::string& path, rocksdb::Env* env) {
  if (HoldsAnything(path)) {
    return absl::FailedPreconditionError(
        absl::StrCat("restore into ", path, ", which is not an empty folder"));
  }
  const auto convert = [&folder](const rocksdb::Status& status) {
    if (status.IsNotFound()) return absl::NotFoundError(absl::StrCat("no backup in ", folder));
    return FromRocksdb(absl::StrCat("backup in ", folder), status);
  };
  std::error_code error;
  if (!std::filesystem::is_directory(BackupsIn(folder), error)) {
    return absl::NotFoundError(absl::StrCat("no backup in ", folder));
  }
  CHIMERA_ASSIGN_OR_RETURN(const std::string tokenizer,
                           ReadFile(TokenizerIn(folder), kTokenizerBytesMax));
  if (env == nullptr) env = rocksdb::Env::Default();
  rocksdb::BackupEngineReadOnly* raw = nullptr;
  CHIMERA_RETURN_IF_ERROR(convert(rocksdb::BackupEngineReadOnly::Open(
      env, rocksdb::BackupEngineOptions(BackupsIn(folder)), &raw)));
  const std::unique_ptr<rocksdb::BackupEngineReadOnly> engine(raw);
  rocksdb::BackupInfo info;
  CHIMERA_RETURN_IF_ERROR(convert(engine->GetLatestBackupInfo(&info)));
  CHIMERA_RETURN_IF_ERROR(convert(engine->VerifyBackup(info.backup_id, true)));
  const std::string building = path + ".restoring";
  std::filesystem::remove_all(building, error);  // of a restore that was cut short
  CHIMERA_RETURN_IF_ERROR(MakeDirs(building));
  const std::string db = building + "/db";
  CHIMERA_RETURN_IF_ERROR(convert(engine->RestoreDBFromBackup(info.backup_id, db, db)));
  CHIMERA_RETURN_IF_ERROR(WriteFileAtomic(TokenizerIn(building), tokenizer));
  std::filesystem::remove(path, error);  // at most an empty folder
  std::filesystem::rename(building, path, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("cannot rename ", building, " to ", path, ": ", error.message()));
}

absl::StatusOr<int64_t> LocalMemory::Reset(const std::string& user) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  const UserPointer memory = FindUser(user);
  if (memory == nullptr) return 0;
  const KeyRange range = UserRange(user);
  constexpr Family kAllOfUser[] = {Family::kFacts,      Family::kSketches,  Family::kUsage,
                                   Family::kAbouts,     Family::kRelations, Family::kCases,
                                   Family::kGuidelines, Family::kSections};
  Growth gone;
  {
    MutexLock write_lock(&memory->write_mutex);
    {
      MutexLock lock(&memory->mutex);
      gone = -memory->used;
    }
    rocksdb::WriteBatch batch;
    for (const Family family : kAllOfUser) {
      batch.DeleteRange(db_->handle(family), ToSlice(range.first), ToSlice(range.last));
    }
    CHIMERA_RETURN_IF_ERROR(Commit(user, memory.get(), &batch, gone, {}));
    MutexLock lock(&memory->mutex);
    memory->facts = FactIndex();
    memory->relations = RelationTable();
    for (auto& records : memory->records) records.clear();
    memory->sections.clear();
  }
  // Also when nothing was known: a damaged record, or an earlier call cut short, leaves bytes.
  CHIMERA_RETURN_IF_ERROR(db_->Scrub(kAllOfUser, range));
  return -gone.entries;
}

}  // namespace chimera
