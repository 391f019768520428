#include "memory/rocksdb_store.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "hdc/sketch.h"
#include "memory/fact_plan.h"

namespace chimera {
namespace {

std::string TokenizerFile(const LocalMemoryOptions& options) {
  return options.path + "/tokenizer.model";
}

}  // namespace

LocalMemory::LocalMemory(const LocalMemoryOptions& options) : options_(options) {}
LocalMemory::~LocalMemory() = default;

absl::StatusOr<std::unique_ptr<LocalMemory>> LocalMemory::Open(const LocalMemoryOptions& options) {
  CHIMERA_RETURN_IF_ERROR(ValidateStoreOptions(options));
  std::error_code error;
  const auto kind = std::filesystem::status(options.path, error).type();
  if (kind != std::filesystem::file_type::directory &&
      kind != std::filesystem::file_type::not_found) {
    return absl::FailedPreconditionError(
        absl::StrCat("memory store ", options.path, " is not a folder"));
  }
  CHIMERA_RETURN_IF_ERROR(MakeDirs(options.path));
  std::unique_ptr<LocalMemory> memory(new LocalMemory(options));
  CHIMERA_ASSIGN_OR_RETURN(memory->db_, StoreDb::Open(options));
  CHIMERA_RETURN_IF_ERROR(memory->LoadOrCreateMeta());
  CHIMERA_RETURN_IF_ERROR(memory->LoadUsers());
  return memory;
}

absl::Status LocalMemory::LoadOrCreateMeta() {
  const absl::StatusOr<std::string> value = db_->Get(Family::kMeta, kStoreMetaKey);
  if (absl::IsNotFound(value.status())) return CreateMeta();
  CHIMERA_RETURN_IF_ERROR(value.status());
  return LoadMeta(*value);
}

absl::Status LocalMemory::CreateMeta() {
  for (int i = 0; i < kFamilies; ++i) {
    const auto it = db_->Scan(static_cast<Family>(i));
    it->SeekToFirst();
    if (it->Valid()) {
      return absl::DataLossError(
          absl::StrCat("memory store ", options_.path, " has items but no meta record"));
    }
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
  rocksdb::WriteBatch batch;
  batch.Put(ToSlice(kStoreMetaKey), ToSlice(EncodeStoreMeta(meta)));
  return db_->Write(&batch, true, 0);
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

absl::StatusOr<HyperVector> LocalMemory::Sketch(std::string_view text) const {
  return SketchText(*codebook_, tokenizer_->Encode(text), text);
}

LocalMemory::UserPointer LocalMemory::FindUser(const std::string& user) {
  MutexLock lock(&users_mutex_);
  const auto found = users_.find(user);
  return found == users_.end() ? nullptr : found->second;
}

absl::StatusOr<LocalMemory::UserPointer> LocalMemory::UserForWrite(const std::string& user) {
  MutexLock lock(&users_mutex_);
  const auto found = users_.find(user);
  if (found != users_.end()) return found->second;
  if (static_cast<int64_t>(users_.size()) >= options_.ceilings.users) {
    return absl::ResourceExhaustedError(absl::StrCat("memory store has ", users_.size(), " users, ",
                                                     user, " would be one more; the limit is ",
                                                     options_.ceilings.users));
  }
  return users_.emplace(user, std::make_shared<UserMemory>()).first->second;
}

std::vector<LocalMemory::UserPointer> LocalMemory::AllUsers() {
  MutexLock lock(&users_mutex_);
  std::vector<UserPointer> all;
  all.reserve(users_.size());
  for (const auto& [name, memory] : users_) all.push_back(memory);
  return all;
}

absl::Status LocalMemory::Commit(const std::string& user, UserMemory* memory,
                                 rocksdb::WriteBatch* batch, const Growth& growth,
                                 const WriteTerms& terms) {
  const MemoryQuota& quota = options_.quota;
  if (terms.rate == Rate::kSpend &&
      !memory->bucket.Take(quota, options_.clock->NowNs(), terms.items)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("user ", user, " writes ", terms.items, " more items; the limit is ",
                     quota.writes_per_second, " a second after a burst of ", quota.write_burst));
  }
  {
    MutexLock lock(&memory->mutex);
    CHIMERA_RETURN_IF_ERROR(CheckUserRoom(options_, user, memory->used, growth));
  }
  CHIMERA_RETURN_IF_ERROR(totals_.Reserve(options_, growth));
  const absl::Status written = db_->Write(batch, terms.sync, terms.items);
  if (!written.ok()) {
    totals_.Add(-growth);
    return written;
  }
  MutexLock lock(&memory->mutex);
  memory->used += growth;
  return absl::OkStatus();
}

absl::Status LocalMemory::CommitFacts(const std::string& user, UserMemory* memory, FactPlan* plan,
                                      const WriteTerms& terms) {
  if (plan->items() == 0) return absl::OkStatus();
  CHIMERA_RETURN_IF_ERROR(Commit(user, memory, plan->batch(), plan->growth(), terms));
  plan->Apply();
  return absl::OkStatus();
}

absl::Status LocalMemory::Sync() { return db_->Sync(); }

void LocalMemory::CountCorrupt(const std::string& what, const absl::Status& fault) {
  LogWarning(absl::StrCat("memory store ", options_.path, " skipped ", what, ": ",
                          std::string(ToStd(fault.message()))));
  MutexLock lock(&users_mutex_);
  ++corrupt_records_;
}

}  // namespace chimera
