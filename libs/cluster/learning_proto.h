// What a UserLearning takes and gives, to and from the wire (proto/chimera/memory/v1/memory.proto).
// Pure; ranges are checked by learning_arguments.h. INVALID_ARGUMENT names a field that must be set
// and is not, or a number this version does not know.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "chimera/memory/v1/memory.pb.h"
#include "memory/learning_types.h"

namespace chimera {

void WriteNewCase(const NewCase& one, memory::v1::NewCase* out);
absl::StatusOr<NewCase> ReadNewCase(const memory::v1::NewCase& in);
void WriteFoundCase(FoundCase one, memory::v1::FoundCase* out);
FoundCase ReadFoundCase(const memory::v1::FoundCase& in);
void WriteCaseOutcome(const CaseOutcome& one, memory::v1::CaseOutcome* out);
absl::StatusOr<CaseOutcome> ReadCaseOutcome(const memory::v1::CaseOutcome& in);

void WriteNewGuideline(const NewGuideline& guideline, memory::v1::LearnGuideline* out);
absl::StatusOr<NewGuideline> ReadNewGuideline(const memory::v1::LearnGuideline& in);
void WriteAdvice(const std::optional<GivenAdvice>& advice, memory::v1::Advice* out);
absl::StatusOr<std::optional<GivenAdvice>> ReadAdvice(const memory::v1::Advice& in);

void WriteStatement(const EntityStatement& one, memory::v1::EntityStatement* out);
absl::StatusOr<EntityStatement> ReadStatement(const memory::v1::EntityStatement& in);
void WriteEntity(const EntityInfo& entity, memory::v1::Entity* out);
absl::StatusOr<EntityInfo> ReadEntity(const memory::v1::Entity& in);

}  // namespace chimera
