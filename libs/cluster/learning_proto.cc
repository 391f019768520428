#include "cluster/learning_proto.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace chimera {

namespace pb = memory::v1;

namespace {

absl::Status Unset(const char* field) {
  return absl::InvalidArgumentError(absl::StrCat(field, " must be set"));
}

// Numbers on the wire are one above ours, whose zero means something.
pb::GuidelineAction WriteAction(GuidelineAction action) {
  return static_cast<pb::GuidelineAction>(static_cast<int>(action) + 1);
}

absl::StatusOr<GuidelineAction> ReadAction(pb::GuidelineAction action) {
  const int number = action;
  if (number >= 1 && number <= kGuidelineActions) return static_cast<GuidelineAction>(number - 1);
  return absl::InvalidArgumentError(
      absl::StrCat("guideline action ", number, "; it is 1 to ", kGuidelineActions));
}

// The name has no number on the wire: zero is its own, which is unset there.
absl::StatusOr<EntityRole> ReadRole(pb::EntityRole role) {
  const int number = role;
  if (number >= 1 && number < kEntityRoles) return static_cast<EntityRole>(number);
  return absl::InvalidArgumentError(
      absl::StrCat("entity role ", number, "; it is 1 to ", kEntityRoles - 1));
}

}  // namespace

void WriteNewCase(const NewCase& one, pb::NewCase* out) {
  out->set_situation(one.situation);
  out->set_plan(one.plan);
  out->set_tags(one.tags);
  out->set_outcome(one.outcome);
}

absl::StatusOr<NewCase> ReadNewCase(const pb::NewCase& in) {
  if (!in.has_outcome()) return Unset("outcome");
  return NewCase{
      .situation = in.situation(), .plan = in.plan(), .tags = in.tags(), .outcome = in.outcome()};
}

void WriteFoundCase(FoundCase one, pb::FoundCase* out) {
  out->set_case_id(std::move(one.case_id));
  out->set_plan(std::move(one.plan));
  out->set_tags(std::move(one.tags));
  out->set_similarity(one.similarity);
  out->set_q(one.q);
  out->set_outcomes(one.outcomes);
  out->set_probability(one.probability);
  out->set_share(one.share);
}

FoundCase ReadFoundCase(const pb::FoundCase& in) {
  return {.case_id = in.case_id(),
          .plan = in.plan(),
          .tags = in.tags(),
          .similarity = in.similarity(),
          .q = in.q(),
          .outcomes = in.outcomes(),
          .probability = in.probability(),
          .share = in.share()};
}

void WriteCaseOutcome(const CaseOutcome& one, pb::CaseOutcome* out) {
  out->set_case_id(one.case_id);
  out->set_outcome(one.outcome);
  out->set_share(one.share);
}

absl::StatusOr<CaseOutcome> ReadCaseOutcome(const pb::CaseOutcome& in) {
  if (!in.has_outcome()) return Unset("outcome");
  return CaseOutcome{
      .case_id = in.case_id(), .outcome = in.outcome(), .share = in.has_share() ? in.share() : 1};
}

void WriteNewGuideline(const NewGuideline& guideline, pb::LearnGuideline* out) {
  out->set_context(guideline.context);
  out->set_action(WriteAction(guideline.action));
  out->set_text(guideline.text);
  out->set_delta(guideline.delta);
}

absl::StatusOr<NewGuideline> ReadNewGuideline(const pb::LearnGuideline& in) {
  if (!in.has_delta()) return Unset("delta");
  CHIMERA_ASSIGN_OR_RETURN(const GuidelineAction action, ReadAction(in.action()));
  return NewGuideline{
      .context = in.context(), .action = action, .text = in.text(), .delta = in.delta()};
}

void WriteAdvice(const std::optional<GivenAdvice>& advice, pb::Advice* out) {
  if (!advice) return;
  out->set_action(WriteAction(advice->action));
  out->set_votes(advice->votes);
  for (const GivenAdvice::Voter& voter : advice->voters) {
    pb::AdviceVoter* const one = out->add_voters();
    one->set_guideline_id(voter.guideline_id);
    one->set_text(voter.text);
    one->set_weight(voter.weight);
  }
}

absl::StatusOr<std::optional<GivenAdvice>> ReadAdvice(const pb::Advice& in) {
  if (in.action() == pb::GUIDELINE_ACTION_UNSPECIFIED) return std::optional<GivenAdvice>();
  GivenAdvice advice{.votes = in.votes()};
  CHIMERA_ASSIGN_OR_RETURN(advice.action, ReadAction(in.action()));
  for (const pb::AdviceVoter& one : in.voters()) {
    advice.voters.push_back(
        {.guideline_id = one.guideline_id(), .text = one.text(), .weight = one.weight()});
  }
  return std::optional(std::move(advice));
}

void WriteStatement(const EntityStatement& one, pb::EntityStatement* out) {
  out->set_name(one.name);
  out->set_role(static_cast<pb::EntityRole>(one.role));
  out->set_filler(one.filler);
}

absl::StatusOr<EntityStatement> ReadStatement(const pb::EntityStatement& in) {
  CHIMERA_ASSIGN_OR_RETURN(const EntityRole role, ReadRole(in.role()));
  return EntityStatement{.name = in.name(), .role = role, .filler = in.filler()};
}

void WriteEntity(const EntityInfo& entity, pb::Entity* out) {
  out->set_name(entity.name);
  for (const EntityInfo::Part& part : entity.parts) {
    pb::EntityPart* const one = out->add_parts();
    one->set_role(static_cast<pb::EntityRole>(part.role));
    one->set_filler(part.filler);
  }
}

absl::StatusOr<EntityInfo> ReadEntity(const pb::Entity& in) {
  EntityInfo entity{.name = in.name()};
  for (const pb::EntityPart& one : in.parts()) {
    CHIMERA_ASSIGN_OR_RETURN(const EntityRole role, ReadRole(one.role()));
    entity.parts.push_back({.role = role, .filler = one.filler()});
  }
  return entity;
}

}  // namespace chimera
