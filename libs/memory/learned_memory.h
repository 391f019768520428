// A LocalMemory together with what its users' machines learned by themselves: the Memory that a
// service or a session in this process talks to.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "memory/rocksdb_store.h"
#include "memory/user_learning.h"

namespace chimera {

// Every verb is the store's, but for these: Recall is sifted (UserLearning::Sift), Remember obeys
// user_explicit_store and refuses the store's own tag, Learn, Reset and Import go through learning.
// Thread-safe.
class LearnedMemory final : public Memory {
 public:
  // Both are borrowed; learning is over the store.
  LearnedMemory(LocalMemory* store, UserLearning* learning) : store_(store), learning_(learning) {}

  using Memory::Recall;
  using Memory::Remember;
  absl::StatusOr<std::vector<RememberedFact>> Remember(const std::string& user,
                                                       std::span<const NewFact> facts) override;
  absl::StatusOr<std::vector<std::vector<RecalledFact>>> Recall(
      const std::string& user, std::span<const std::string> queries,
      const RecallOptions& options) override;
  absl::StatusOr<LearnReport> Learn(const std::string& user, const LearnBatch& batch) override;
  absl::StatusOr<ImportReport> Import(const std::string& user, std::string_view lines,
                                      int64_t first_line) override;
  absl::StatusOr<int64_t> Reset(const std::string& user) override;

  absl::StatusOr<int64_t> Reinforce(const std::string& user,
                                    std::span<const FactUse> uses) override;
  absl::StatusOr<int64_t> Forget(const std::string& user, const std::string& fact_id) override;
  absl::StatusOr<int64_t> ForgetAll(const std::string& user) override;
  absl::StatusOr<int64_t> Relate(const std::string& user, std::span<const Relation> relations,
                                 Source source) override;
  absl::StatusOr<std::vector<Relation>> Related(const std::string& user,
                                                const RelationPattern& pattern, int limit) override;
  absl::StatusOr<int64_t> Unrelate(const std::string& user,
                                   const RelationPattern& pattern) override;
  absl::Status Sync() override;
  absl::Status Export(const std::string& user,
                      const std::function<absl::Status(std::string_view)>& receive) override;
  absl::StatusOr<BackupReport> Backup(const std::string& folder, int keep) override;
  absl::StatusOr<MemoryStats> Stats(const std::string& user) override;

 private:
  LocalMemory* const store_;
  UserLearning* const learning_;
};

}  // namespace chimera
