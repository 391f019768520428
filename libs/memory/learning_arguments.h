// The checks of a UserLearning's arguments: INVALID_ARGUMENT naming the value and the limit. Pure.
#pragma once

#include <span>
#include <string>

#include "absl/status/status.h"
#include "memory/learn_batch.h"
#include "memory/learning_types.h"

namespace chimera {

absl::Status ValidateNewCases(std::span<const NewCase> cases);
// k is 1..64.
absl::Status ValidateSituations(std::span<const std::string> situations, int k);
absl::Status ValidateCaseOutcomes(std::span<const CaseOutcome> outcomes);
absl::Status ValidateNewGuideline(const NewGuideline& guideline);
// 0..1; a number.
absl::Status ValidateOutcome(double outcome);
absl::Status ValidateVoters(std::span<const std::string> guideline_ids);
absl::Status ValidateStatements(std::span<const EntityStatement> statements);
absl::Status ValidateEntityText(std::string_view text, std::string_view what);
absl::Status ValidateEntityFilter(const EntityFilter& filter);
absl::Status ValidateLearnBatch(const LearnBatch& batch);

}  // namespace chimera
