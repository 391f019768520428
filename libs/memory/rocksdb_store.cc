#include "memory/rocksdb_store.h"

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "hdc/sketch.h"
#include "memory/memory_arguments.h"

namespace chimera {
namespace {

constexpr size_t kWriteBufferBytes = size_t{8} << 20;
constexpr size_t kBlockCacheBytes = size_t{8} << 20;
constexpr int kOpenFilesMax = 256;

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view FromSlice(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

rocksdb::Options DatabaseOptions() {
  rocksdb::Options options;
  options.create_if_missing = true;
  // A torn last record was never acknowledged and is dropped; damage before it fails the open
  // instead of silently losing what followed.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.write_buffer_size = kWriteBufferBytes;
  // Small files, because Forget rewrites every file that holds a key of the user.
  options.target_file_size_base = kWriteBufferBytes;
  options.max_open_files = kOpenFilesMax;
  options.compression = rocksdb::kNoCompression;  // sketches do not compress
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.keep_log_file_num = 2;
  options.max_background_jobs = 2;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kBlockCacheBytes);
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

rocksdb::WriteOptions Synced() {
  rocksdb::WriteOptions options;
  options.sync = true;
  return options;
}

absl::Status CheckOptions(const LocalMemoryOptions& options) {
  if (options.path.empty()) return absl::InvalidArgumentError("memory store has no path");
  if (options.facts_max < 1 || options.facts_max > kMemoryFactsMaxLimit) {
    return absl::InvalidArgumentError(absl::StrCat("memory store facts_max ", options.facts_max,
                                                   "; it is 1 to ", kMemoryFactsMaxLimit));
  }
  if (options.facts_per_user_max < 1 || options.facts_per_user_max > kMemoryFactsMaxLimit) {
    return absl::InvalidArgumentError(absl::StrCat("memory store facts_per_user_max ",
                                                   options.facts_per_user_max, "; it is 1 to ",
                                                   kMemoryFactsMaxLimit));
  }
  return absl::OkStatus();
}

std::string TokenizerFile(const LocalMemoryOptions& options) {
  return options.path + "/tokenizer.model";
}

}  // namespace

LocalMemory::LocalMemory(const LocalMemoryOptions& options) : options_(options) {}
LocalMemory::~LocalMemory() = default;

absl::StatusOr<std::unique_ptr<LocalMemory>> LocalMemory::Open(const LocalMemoryOptions& options) {
  CHIMERA_RETURN_IF_ERROR(CheckOptions(options));
  std::unique_ptr<LocalMemory> memory(new LocalMemory(options));
  CHIMERA_RETURN_IF_ERROR(memory->OpenDatabase());
  CHIMERA_RETURN_IF_ERROR(memory->LoadOrCreateMeta());
  CHIMERA_RETURN_IF_ERROR(memory->LoadIndex());
  return memory;
}

absl::Status LocalMemory::OpenDatabase() {
  std::error_code error;
  const auto kind = std::filesystem::status(options_.path, error).type();
  if (kind != std::filesystem::file_type::directory &&
      kind != std::filesystem::file_type::not_found) {
    return absl::FailedPreconditionError(
        absl::StrCat("memory store ", options_.path, " is not a folder"));
  }
  CHIMERA_RETURN_IF_ERROR(MakeDirs(options_.path));
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(DatabaseOptions(), options_.path + "/db", &db);
  db_.reset(db);
  return FromRocksdb(status);
}

absl::Status LocalMemory::LoadOrCreateMeta() {
  std::string value;
  const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), ToSlice(kStoreMetaKey), &value);
  CHIMERA_RETURN_IF_ERROR(status.IsNotFound() ? CreateMeta() : FromRocksdb(status));
  if (status.ok()) CHIMERA_RETURN_IF_ERROR(LoadMeta(value));
  return absl::OkStatus();
}

absl::Status LocalMemory::CreateMeta() {
  std::unique_ptr<rocksdb::Iterator> facts(db_->NewIterator(rocksdb::ReadOptions()));
  facts->SeekToFirst();
  if (facts->Valid()) {
    return absl::DataLossError(
        absl::StrCat("memory store ", options_.path, " has facts but no meta record"));
  }
  tokenizer_ = options_.tokenizer;
  if (tokenizer_ == nullptr) {
    if (options_.tokenizer_path.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat("memory store ", options_.path, " is new and no tokenizer was given"));
    }
    CHIMERA_ASSIGN_OR_RETURN(tokenizer_, Tokenizer::FromFile(options_.tokenizer_path));
  }
  // The meta record comes last: without it the next open starts over.
  CHIMERA_RETURN_IF_ERROR(tokenizer_->WriteFile(TokenizerFile(options_)));
  const StoreMeta meta{.codebook_seed = kDefaultCodebookSeed, .tokenizer_hash = tokenizer_->Hash()};
  codebook_ = std::make_unique<FeatureCodebook>(meta.codebook_seed);
  return FromRocksdb(db_->Put(Synced(), ToSlice(kStoreMetaKey), ToSlice(EncodeStoreMeta(meta))));
}

absl::Status LocalMemory::LoadMeta(std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const StoreMeta meta, DecodeStoreMeta(value));
  CHIMERA_ASSIGN_OR_RETURN(tokenizer_, Tokenizer::FromFile(TokenizerFile(options_)));
  if (tokenizer_->Hash() != meta.tokenizer_hash) {
    return absl::DataLossError(absl::StrCat("memory store ", options_.path,
                                            " was made with another tokenizer than the one in ",
                                            TokenizerFile(options_)));
  }
  codebook_ = std::make_unique<FeatureCodebook>(meta.codebook_seed);
  std::shared_ptr<const Tokenizer> given = options_.tokenizer;
  if (given == nullptr && !options_.tokenizer_path.empty()) {
    auto read = Tokenizer::FromFile(options_.tokenizer_path);
    if (read.ok()) given = *std::move(read);
  }
  if (given != nullptr && given->Hash() != meta.tokenizer_hash) {
    LogWarning(absl::StrCat("memory store ", options_.path,
                            " keeps the tokenizer it was made with; the given one is ignored"));
  }
  return absl::OkStatus();
}

absl::Status LocalMemory::LoadIndex() {
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read));
  for (it->Seek(ToSlice(kFactKeyPrefix)); it->Valid(); it->Next()) {
    const std::string_view bytes = FromSlice(it->key());
    if (bytes.substr(0, kFactKeyPrefix.size()) != kFactKeyPrefix) break;
    const auto key = DecodeFactKey(bytes);
    const auto record = DecodeFact(bytes, FromSlice(it->value()));
    if (!key.ok() || !record.ok()) {
      CountCorrupt(key.ok() ? key->user : "", key.ok() ? key->id : 0,
                   key.ok() ? record.status() : key.status());
      continue;
    }
    MutexLock lock(&index_mutex_);
    if (index_.facts() == kMemoryFactsMaxLimit) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "memory store ", options_.path, " has more than ", kMemoryFactsMaxLimit, " facts"));
    }
    index_.Insert(key->user, key->id, record->sketch, static_cast<int64_t>(record->text.size()));
  }
  return FromRocksdb(it->status());
}

absl::StatusOr<HyperVector> LocalMemory::Sketch(std::string_view text) const {
  return SketchText(*codebook_, tokenizer_->Encode(text), text);
}

absl::StatusOr<FactRecord> LocalMemory::ReadFact(const std::string& user, uint64_t id) const {
  const std::string key = EncodeFactKey(user, id);
  std::string value;
  CHIMERA_RETURN_IF_ERROR(FromRocksdb(db_->Get(rocksdb::ReadOptions(), ToSlice(key), &value)));
  return DecodeFact(key, value);
}

absl::Status LocalMemory::CheckRoom(const std::string& user) {
  if (index_.facts(user) >= options_.facts_per_user_max) {
    return absl::ResourceExhaustedError(absl::StrCat("user ", user, " has ", index_.facts(user),
                                                     " facts; the limit for a user is ",
                                                     options_.facts_per_user_max));
  }
  if (index_.facts() >= options_.facts_max) {
    return absl::ResourceExhaustedError(absl::StrCat("memory store has ", index_.facts(),
                                                     " facts; its limit is ", options_.facts_max));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RememberedFact>> LocalMemory::Remember(const std::string& user,
                                                                  std::span<const NewFact> facts) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateNewFacts(facts));
  std::vector<RememberedFact> remembered;
  for (const NewFact& fact : facts) {
    CHIMERA_ASSIGN_OR_RETURN(remembered.emplace_back(), RememberOne(user, fact));
  }
  return remembered;
}

absl::StatusOr<std::vector<std::vector<RecalledFact>>> LocalMemory::Recall(
    const std::string& user, std::span<const std::string> queries, const RecallOptions& options) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateQueries(queries, options));
  std::vector<std::vector<RecalledFact>> answers;
  for (const std::string& query : queries) {
    CHIMERA_ASSIGN_OR_RETURN(answers.emplace_back(), RecallOne(user, query, options));
  }
  return answers;
}

absl::StatusOr<RememberedFact> LocalMemory::RememberOne(const std::string& user,
                                                        const NewFact& fact) {
  const std::string& text = fact.text;
  const uint64_t id = FactIdOf(user, text);
  CHIMERA_ASSIGN_OR_RETURN(const HyperVector sketch, Sketch(text));
  MutexLock write_lock(&write_mutex_);
  const auto stored = ReadFact(user, id);
  if (stored.ok() && stored->text == text) return RememberedFact{.fact_id = FactIdToHex(id)};
  if (stored.ok()) {
    return absl::AlreadyExistsError(
        absl::StrCat("user ", user, " has another fact with id ", FactIdToHex(id)));
  }
  if (!absl::IsNotFound(stored.status()) && !absl::IsDataLoss(stored.status())) {
    return stored.status();
  }
  {
    MutexLock lock(&index_mutex_);
    if (!index_.Contains(user, id)) CHIMERA_RETURN_IF_ERROR(CheckRoom(user));
  }
  const std::string key = EncodeFactKey(user, id);
  const FactRecord record{
      .created_ms = options_.clock->WallMs(), .sketch = sketch, .text = std::string(text)};
  CHIMERA_RETURN_IF_ERROR(
      FromRocksdb(db_->Put(Synced(), ToSlice(key), ToSlice(EncodeFact(key, record)))));
  MutexLock lock(&index_mutex_);
  index_.Insert(user, id, sketch, static_cast<int64_t>(text.size()));
  return RememberedFact{.fact_id = FactIdToHex(id), .created = true};
}

absl::StatusOr<std::vector<RecalledFact>> LocalMemory::RecallOne(const std::string& user,
                                                                 const std::string& query,
                                                                 const RecallOptions& options) {
  CHIMERA_ASSIGN_OR_RETURN(const HyperVector sketch, Sketch(query));
  std::vector<FactIndex::Match> matches;
  {
    MutexLock lock(&index_mutex_);
    matches = index_.Nearest(user, sketch, options.k);
  }
  std::vector<RecalledFact> facts;
  for (const FactIndex::Match& match : matches) {
    auto record = ReadFact(user, match.id);
    if (absl::IsNotFound(record.status())) continue;  // forgotten since the scan
    if (absl::IsDataLoss(record.status())) {
      CountCorrupt(user, match.id, record.status());
      MutexLock lock(&index_mutex_);
      index_.Erase(user, match.id);  // counted once
      continue;
    }
    CHIMERA_RETURN_IF_ERROR(record.status());
    RecalledFact& fact = facts.emplace_back();
    fact.fact_id = FactIdToHex(match.id);
    fact.text = std::move(record->text);
    fact.similarity = Similarity(match.distance);
    fact.created_ms = record->created_ms;
  }
  return facts;
}

absl::StatusOr<int64_t> LocalMemory::Forget(const std::string& user, const std::string& fact_id) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateFactId(fact_id));
  const uint64_t id = FactIdFromHex(fact_id);
  const std::string key = EncodeFactKey(user, id);
  MutexLock write_lock(&write_mutex_);
  // Asks the database, not the index: a damaged record can be forgotten too.
  const absl::Status stored = ReadFact(user, id).status();
  if (absl::IsNotFound(stored)) return 0;
  if (!stored.ok() && !absl::IsDataLoss(stored)) return stored;
  CHIMERA_RETURN_IF_ERROR(FromRocksdb(db_->Delete(Synced(), ToSlice(key))));
  {
    MutexLock lock(&index_mutex_);
    index_.Erase(user, id);
  }
  CHIMERA_RETURN_IF_ERROR(Scrub(key, key));
  return 1;
}

absl::StatusOr<int64_t> LocalMemory::ForgetAll(const std::string& user) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  const std::string first = FirstFactKey(user), last = LastFactKey(user);
  MutexLock write_lock(&write_mutex_);
  CHIMERA_RETURN_IF_ERROR(FromRocksdb(
      db_->DeleteRange(Synced(), db_->DefaultColumnFamily(), ToSlice(first), ToSlice(last))));
  int64_t deleted = 0;
  {
    MutexLock lock(&index_mutex_);
    deleted = index_.EraseUser(user);
  }
  // Also when the index knew nothing: a damaged record, or an earlier call cut short, leaves bytes.
  CHIMERA_RETURN_IF_ERROR(Scrub(first, last));
  return deleted;
}

absl::Status LocalMemory::Scrub(const std::string& first, const std::string& last) {
  CHIMERA_RETURN_IF_ERROR(FromRocksdb(db_->Flush(rocksdb::FlushOptions())));
  rocksdb::CompactRangeOptions compact;
  compact.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  const rocksdb::Slice begin(first), end(last);
  return FromRocksdb(db_->CompactRange(compact, &begin, &end));
}

absl::StatusOr<MemoryStats> LocalMemory::Stats(const std::string& user) {
  if (!user.empty()) CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  MutexLock lock(&index_mutex_);
  MemoryStats stats;
  stats.facts = user.empty() ? index_.facts() : index_.facts(user);
  stats.users = user.empty() ? index_.users() : stats.facts > 0;
  stats.text_bytes = user.empty() ? index_.text_bytes() : index_.text_bytes(user);
  stats.facts_max = user.empty() ? options_.facts_max : options_.facts_per_user_max;
  stats.corrupt_records_skipped = corrupt_records_;
  return stats;
}

int64_t LocalMemory::CacheBytes() {
  uint64_t blocks = 0, tables = 0;
  db_->GetIntProperty(rocksdb::DB::Properties::kBlockCacheUsage, &blocks);
  db_->GetIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &tables);
  MutexLock lock(&index_mutex_);
  return static_cast<int64_t>(blocks + tables) + index_.facts() * int64_t{sizeof(HyperVector)};
}

void LocalMemory::CountCorrupt(const std::string& user, uint64_t id, const absl::Status& fault) {
  LogWarning(absl::StrCat("memory store ", options_.path, " skipped fact ", FactIdToHex(id),
                          " of user ", user.empty() ? "(unreadable)" : user, ": ",
                          std::string(ToStd(fault.message()))));
  MutexLock lock(&index_mutex_);
  ++corrupt_records_;
}

absl::Status LocalMemory::FromRocksdb(const rocksdb::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  const std::string what = status.ToString();
  const std::string message = absl::StrCat("memory store ", options_.path, ": ", what);
  if (status.IsNotFound()) return absl::NotFoundError(message);
  if (status.IsNoSpace() || status.IsMemoryLimit()) return absl::ResourceExhaustedError(message);
  if (status.IsCorruption() || status.IsPathNotFound()) return absl::DataLossError(message);
  if (status.IsIOError()) {
    if (what.find("lock") != what.npos && what.find("LOCK") != what.npos &&
        what.find("Permission denied") == what.npos) {
      return absl::FailedPreconditionError(
          absl::StrCat("memory store ", options_.path, " is open elsewhere: ", what));
    }
    if (what.find("Permission denied") != what.npos ||
        what.find("Read-only file system") != what.npos) {
      return absl::PermissionDeniedError(message);
    }
    return absl::UnavailableError(message);
  }
  if (status.IsBusy() || status.IsTryAgain() || status.IsTimedOut() ||
      status.IsShutdownInProgress() || status.IsAborted()) {
    return absl::UnavailableError(message);
  }
  if (status.IsInvalidArgument()) return absl::DataLossError(message);
  return absl::InternalError(message);
}

}  // namespace chimera
