// What a user's model learned from how things went, over the wire: the verbs of UserLearning,
// answered by a MemoryService. Its Reset and Import are RemoteMemory's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cluster/remote_memory.h"
#include "memory/learning_types.h"

namespace chimera {

// As RemoteMemory: on the caller's thread, never from a gRPC reaction; arguments are checked here
// too; UNAVAILABLE names the address. What the verbs mean: user_learning.h. Thread-safe.
class RemoteLearning {
 public:
  // Connects on first use.
  explicit RemoteLearning(const RemoteMemoryOptions& options);
  ~RemoteLearning();

  absl::StatusOr<std::vector<AddedCase>> AddCases(const std::string& user,
                                                  std::span<const NewCase> cases);
  absl::StatusOr<std::vector<std::vector<FoundCase>>> FindCases(
      const std::string& user, std::span<const std::string> situations, int k);
  absl::StatusOr<int64_t> RecordCaseOutcomes(const std::string& user,
                                             std::span<const CaseOutcome> outcomes);

  absl::StatusOr<LearnedGuideline> LearnGuideline(const std::string& user,
                                                  const NewGuideline& guideline);
  absl::StatusOr<std::optional<GivenAdvice>> AskGuidelines(const std::string& user,
                                                           const std::string& context);
  absl::StatusOr<int64_t> RecordAdviceOutcome(const std::string& user,
                                              std::span<const std::string> guideline_ids,
                                              double outcome);

  absl::StatusOr<std::vector<EntityChange>> SetEntities(
      const std::string& user, std::span<const EntityStatement> statements);
  absl::StatusOr<bool> ForgetEntity(const std::string& user, const std::string& name);
  absl::StatusOr<std::vector<EntityInfo>> ListEntities(const std::string& user,
                                                       const EntityFilter& filter);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
