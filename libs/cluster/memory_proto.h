// What a Memory takes and gives, to and from the wire (proto/chimera/memory/v1/memory.proto).
// Functions are pure; ranges are checked by the Memory itself.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "chimera/memory/v1/memory.pb.h"
#include "memory/learn_batch.h"
#include "memory/memory_types.h"

namespace chimera {

void WriteNewFact(const NewFact& fact, memory::v1::NewFact* out);
// INVALID_ARGUMENT for a source this version does not know.
absl::StatusOr<NewFact> ReadNewFact(const memory::v1::NewFact& in);

void WriteRemembered(const RememberedFact& fact, memory::v1::RememberedFact* out);
RememberedFact ReadRemembered(const memory::v1::RememberedFact& in);

void WriteRecalled(RecalledFact fact, memory::v1::Fact* out);
// DATA_LOSS for a sketch of another size.
absl::StatusOr<RecalledFact> ReadRecalled(const memory::v1::Fact& in);

void WriteRelation(const Relation& relation, memory::v1::Relation* out);
Relation ReadRelation(const memory::v1::Relation& in);

memory::v1::FactSource WriteSource(Source source);
absl::StatusOr<Source> ReadSource(memory::v1::FactSource source);

void WriteLearnBatch(const LearnBatch& batch, memory::v1::LearnRequest* out);
// INVALID_ARGUMENT for an evaluation without its figures.
absl::StatusOr<LearnBatch> ReadLearnBatch(const memory::v1::LearnRequest& in);
void WriteLearnReport(const LearnReport& report, memory::v1::LearnResponse* out);
// DATA_LOSS for a state or reason this version does not know.
absl::StatusOr<LearnReport> ReadLearnReport(const memory::v1::LearnResponse& in);

void WriteStats(const MemoryStats& stats, memory::v1::StatsResponse* out);
MemoryStats ReadStats(const memory::v1::StatsResponse& in);

}  // namespace chimera
