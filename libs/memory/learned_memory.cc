#include "memory/learned_memory.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace chimera {

absl::StatusOr<std::vector<RememberedFact>> LearnedMemory::Remember(
    const std::string& user, std::span<const NewFact> facts) {
  for (size_t i = 0; i < facts.size(); ++i) {
    if ((facts[i].tags & kEvolvedTag) != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("fact ", i, ": tag bit 31 is the store's own"));
    }
    if (facts[i].source == Source::kUser) CHIMERA_RETURN_IF_ERROR(learning_->CheckUserStore());
  }
  return store_->Remember(user, facts);
}

absl::StatusOr<std::vector<std::vector<RecalledFact>>> LearnedMemory::Recall(
    const std::string& user, std::span<const std::string> queries, const RecallOptions& options) {
  CHIMERA_ASSIGN_OR_RETURN(std::vector<std::vector<RecalledFact>> answers,
                           store_->Recall(user, queries, options));
  for (size_t i = 0; i < answers.size(); ++i) learning_->Sift(user, queries[i], &answers[i]);
  return answers;
}

absl::StatusOr<LearnReport> LearnedMemory::Learn(const std::string& user, const LearnBatch& batch) {
  return learning_->Learn(user, batch);
}

absl::StatusOr<ImportReport> LearnedMemory::Import(const std::string& user, std::string_view lines,
                                                   int64_t first_line) {
  return learning_->Import(user, lines, first_line);
}

absl::StatusOr<int64_t> LearnedMemory::Reset(const std::string& user) {
  return learning_->Reset(user);
}

absl::StatusOr<int64_t> LearnedMemory::Reinforce(const std::string& user,
                                                 std::span<const FactUse> uses) {
  return store_->Reinforce(user, uses);
}

absl::StatusOr<int64_t> LearnedMemory::Forget(const std::string& user, const std::string& fact_id) {
  return store_->Forget(user, fact_id);
}

absl::StatusOr<int64_t> LearnedMemory::ForgetAll(const std::string& user) {
  return store_->ForgetAll(user);
}

absl::StatusOr<int64_t> LearnedMemory::Relate(const std::string& user,
                                              std::span<const Relation> relations, Source source) {
  return store_->Relate(user, relations, source);
}

absl::StatusOr<std::vector<Relation>> LearnedMemory::Related(const std::string& user,
                                                             const RelationPattern& pattern,
                                                             int limit) {
  return store_->Related(user, pattern, limit);
}

absl::StatusOr<int64_t> LearnedMemory::Unrelate(const std::string& user,
                                                const RelationPattern& pattern) {
  return store_->Unrelate(user, pattern);
}

absl::Status LearnedMemory::Sync() { return store_->Sync(); }

absl::Status LearnedMemory::Export(const std::string& user,
                                   const std::function<absl::Status(std::string_view)>& receive) {
  return store_->Export(user, receive);
}

absl::StatusOr<BackupReport> LearnedMemory::Backup(const std::string& folder, int keep) {
  return store_->Backup(folder, keep);
}

absl::StatusOr<MemoryStats> LearnedMemory::Stats(const std::string& user) {
  return store_->Stats(user);
}

}  // namespace chimera
