#include "cluster/memory_proto.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "hdc/hypervector.h"

namespace chimera {

namespace pb = memory::v1;

pb::FactSource WriteSource(Source source) {
  return source == Source::kUser ? pb::FACT_SOURCE_USER : pb::FACT_SOURCE_INFERRED;
}

absl::StatusOr<Source> ReadSource(pb::FactSource source) {
  switch (source) {
    case pb::FACT_SOURCE_UNSPECIFIED:
    case pb::FACT_SOURCE_USER:
      return Source::kUser;
    case pb::FACT_SOURCE_INFERRED:
      return Source::kInferred;
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("source ", static_cast<int>(source), "; it is 1 (user) or 2 (inferred)"));
  }
}

void WriteNewFact(const NewFact& fact, pb::NewFact* out) {
  out->set_text(fact.text);
  out->set_about(fact.about);
  out->set_source(WriteSource(fact.source));
  out->set_weight(fact.weight);
  out->set_tags(fact.tags);
}

absl::StatusOr<NewFact> ReadNewFact(const pb::NewFact& in) {
  NewFact fact;
  fact.text = in.text();
  fact.about = in.about();
  CHIMERA_ASSIGN_OR_RETURN(fact.source, ReadSource(in.source()));
  if (in.has_weight()) fact.weight = in.weight();
  fact.tags = in.tags();
  return fact;
}

void WriteRemembered(const RememberedFact& fact, pb::RememberedFact* out) {
  out->set_fact_id(fact.fact_id);
  out->set_created(fact.created);
  out->set_superseded_id(fact.superseded_id);
  out->set_overruled(fact.overruled);
}

RememberedFact ReadRemembered(const pb::RememberedFact& in) {
  return {.fact_id = in.fact_id(),
          .created = in.created(),
          .superseded_id = in.superseded_id(),
          .overruled = in.overruled()};
}

void WriteRecalled(RecalledFact fact, pb::Fact* out) {
  out->set_fact_id(std::move(fact.fact_id));
  out->set_text(std::move(fact.text));
  out->set_similarity(fact.similarity);
  out->set_created_ms(fact.created_ms);
  out->set_about(std::move(fact.about));
  out->set_source(WriteSource(fact.source));
  out->set_weight(fact.weight);
  out->set_uses(fact.uses);
  out->set_tags(fact.tags);
  out->set_uncertain(fact.uncertain);
  out->set_evaluate(fact.evaluate);
  if (fact.sketch.has_value()) {
    const std::array<uint8_t, kHyperBytes> bytes = ToBytes(*fact.sketch);
    out->set_sketch(bytes.data(), bytes.size());
  }
}

absl::StatusOr<RecalledFact> ReadRecalled(const pb::Fact& in) {
  RecalledFact fact;
  fact.fact_id = in.fact_id();
  fact.text = in.text();
  fact.similarity = in.similarity();
  fact.created_ms = in.created_ms();
  fact.about = in.about();
  CHIMERA_ASSIGN_OR_RETURN(fact.source, ReadSource(in.source()));
  fact.weight = in.weight();
  fact.uses = in.uses();
  fact.tags = in.tags();
  fact.uncertain = in.uncertain();
  fact.evaluate = in.evaluate();
  if (in.sketch().empty()) return fact;
  std::array<uint8_t, kHyperBytes> bytes;
  if (in.sketch().size() != bytes.size()) {
    return absl::DataLossError(absl::StrCat("the sketch of fact ", in.fact_id(), " has ",
                                            in.sketch().size(), " bytes, not ", bytes.size()));
  }
  std::copy(in.sketch().begin(), in.sketch().end(), bytes.begin());
  fact.sketch = FromBytes(bytes);
  return fact;
}

void WriteRelation(const Relation& relation, pb::Relation* out) {
  out->set_subject(relation.subject);
  out->set_predicate(relation.predicate);
  out->set_object(relation.object);
  out->set_weight(relation.weight);
}

Relation ReadRelation(const pb::Relation& in) {
  return {.subject = in.subject(),
          .predicate = in.predicate(),
          .object = in.object(),
          .weight = in.has_weight() ? in.weight() : 1.0f};
}

void WriteLearnBatch(const LearnBatch& batch, pb::LearnRequest* out) {
  for (const ReadToken& token : batch.tokens) {
    pb::ReadToken* const one = out->add_tokens();
    one->set_text(token.text);
    one->set_surprise(token.surprise);
    one->set_failed(token.failed);
    one->set_offered(token.offered);
  }
  for (const FactEvaluation& evaluation : batch.evaluations) {
    pb::FactEvaluation* const one = out->add_evaluations();
    one->set_fact_id(evaluation.fact_id);
    one->set_nll_with(evaluation.nll_with);
    one->set_nll_without(evaluation.nll_without);
    one->set_tokens(evaluation.tokens);
    one->set_context(evaluation.context);
  }
}

absl::StatusOr<LearnBatch> ReadLearnBatch(const pb::LearnRequest& in) {
  LearnBatch batch;
  for (const pb::ReadToken& one : in.tokens()) {
    batch.tokens.push_back({.text = one.text(),
                            .surprise = one.surprise(),
                            .failed = one.failed(),
                            .offered = one.offered()});
  }
  for (const pb::FactEvaluation& one : in.evaluations()) {
    if (!one.has_nll_with() || !one.has_nll_without()) {
      return absl::InvalidArgumentError("an evaluation needs nll_with and nll_without");
    }
    batch.evaluations.push_back({.fact_id = one.fact_id(),
                                 .nll_with = one.nll_with(),
                                 .nll_without = one.nll_without(),
                                 .tokens = one.tokens(),
                                 .context = one.context()});
  }
  return batch;
}

// The state is one more on the wire, where 0 says nothing.
void WriteLearnReport(const LearnReport& report, pb::LearnResponse* out) {
  out->set_written(report.written);
  out->set_refused(report.refused);
  out->set_evaluated(report.evaluated);
  out->set_rejected(report.rejected);
  out->set_guidelines(report.guidelines);
  out->set_rollbacks(report.rollbacks);
  out->set_state(static_cast<pb::LearningState>(static_cast<int>(report.state) + 1));
  out->set_reason(static_cast<pb::FreezeReason>(report.reason));
}

absl::StatusOr<LearnReport> ReadLearnReport(const pb::LearnResponse& in) {
  const int state = static_cast<int>(in.state()) - 1, reason = static_cast<int>(in.reason());
  if (state < 0 || state > static_cast<int>(EvolutionState::kOff) || reason < 0 ||
      reason > static_cast<int>(FreezeReason::kContrast)) {
    return absl::DataLossError(
        absl::StrCat("learning state ", state + 1, " or freeze reason ", reason, " is unknown"));
  }
  return LearnReport{.written = in.written(),
                     .refused = in.refused(),
                     .evaluated = in.evaluated(),
                     .rejected = in.rejected(),
                     .guidelines = in.guidelines(),
                     .rollbacks = in.rollbacks(),
                     .state = static_cast<EvolutionState>(state),
                     .reason = static_cast<FreezeReason>(reason)};
}

void WriteStats(const MemoryStats& stats, pb::StatsResponse* out) {
  out->set_facts(stats.facts);
  out->set_users(stats.users);
  out->set_text_bytes(stats.text_bytes);
  out->set_facts_max(stats.facts_max);
  out->set_corrupt_records_skipped(stats.corrupt_records_skipped);
  out->set_user_facts(stats.user_facts);
  out->set_relations(stats.relations);
  out->set_relations_max(stats.relations_max);
  out->set_cases(stats.cases);
  out->set_guidelines(stats.guidelines);
  out->set_sections(stats.sections);
  out->set_entries(stats.entries);
  out->set_entries_max(stats.entries_max);
  out->set_bytes(stats.bytes);
  out->set_bytes_max(stats.bytes_max);
}

MemoryStats ReadStats(const pb::StatsResponse& in) {
  return {.facts = in.facts(),
          .users = in.users(),
          .text_bytes = in.text_bytes(),
          .facts_max = in.facts_max(),
          .corrupt_records_skipped = in.corrupt_records_skipped(),
          .user_facts = in.user_facts(),
          .relations = in.relations(),
          .relations_max = in.relations_max(),
          .cases = in.cases(),
          .guidelines = in.guidelines(),
          .sections = in.sections(),
          .entries = in.entries(),
          .entries_max = in.entries_max(),
          .bytes = in.bytes(),
          .bytes_max = in.bytes_max()};
}

}  // namespace chimera
