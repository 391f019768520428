#include "cluster/remote_learning.h"

#include <utility>

#include "base/status_macros.h"
#include "cluster/learning_proto.h"
#include "cluster/memory_channel.h"
#include "memory/learning_arguments.h"
#include "memory/memory_arguments.h"

namespace chimera {

namespace pb = memory::v1;

struct RemoteLearning::Impl : MemoryChannel {
  using MemoryChannel::MemoryChannel;
};

RemoteLearning::RemoteLearning(const RemoteMemoryOptions& options)
    : impl_(std::make_unique<Impl>(options)) {}

RemoteLearning::~RemoteLearning() = default;

absl::StatusOr<std::vector<AddedCase>> RemoteLearning::AddCases(const std::string& user,
                                                                std::span<const NewCase> cases) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateNewCases(cases));
  pb::CasesRequest request;
  request.set_user(user);
  for (const NewCase& one : cases) WriteNewCase(one, request.mutable_add()->add_cases());
  pb::CasesResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Cases, request, &response));
  CHIMERA_RETURN_IF_ERROR(impl_->CheckCount(response.added().cases_size(), cases.size()));
  std::vector<AddedCase> added;
  for (const pb::AddedCase& one : response.added().cases()) {
    added.push_back({.case_id = one.case_id(), .created = one.created()});
  }
  return added;
}

absl::StatusOr<std::vector<std::vector<FoundCase>>> RemoteLearning::FindCases(
    const std::string& user, std::span<const std::string> situations, int k) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateSituations(situations, k));
  pb::CasesRequest request;
  request.set_user(user);
  for (const std::string& one : situations) request.mutable_find()->add_situations(one);
  request.mutable_find()->set_limit(k);
  pb::CasesResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Cases, request, &response));
  CHIMERA_RETURN_IF_ERROR(impl_->CheckCount(response.found().answers_size(), situations.size()));
  std::vector<std::vector<FoundCase>> answers;
  for (const pb::CasesOfSituation& answer : response.found().answers()) {
    std::vector<FoundCase>& cases = answers.emplace_back();
    for (const pb::FoundCase& one : answer.cases()) cases.push_back(ReadFoundCase(one));
  }
  return answers;
}

absl::StatusOr<int64_t> RemoteLearning::RecordCaseOutcomes(const std::string& user,
                                                           std::span<const CaseOutcome> outcomes) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateCaseOutcomes(outcomes));
  pb::CasesRequest request;
  request.set_user(user);
  for (const CaseOutcome& one : outcomes) {
    WriteCaseOutcome(one, request.mutable_record()->add_outcomes());
  }
  pb::CasesResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Cases, request, &response));
  return response.recorded().recorded();
}

absl::StatusOr<LearnedGuideline> RemoteLearning::LearnGuideline(const std::string& user,
                                                                const NewGuideline& guideline) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateNewGuideline(guideline));
  pb::GuidelinesRequest request;
  request.set_user(user);
  WriteNewGuideline(guideline, request.mutable_learn());
  pb::GuidelinesResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Guidelines, request, &response));
  return LearnedGuideline{.guideline_id = response.learned().guideline_id(),
                          .created = response.learned().created()};
}

absl::StatusOr<std::optional<GivenAdvice>> RemoteLearning::AskGuidelines(
    const std::string& user, const std::string& context) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateFactText(context, "context"));
  pb::GuidelinesRequest request;
  request.set_user(user);
  request.mutable_ask()->set_context(context);
  pb::GuidelinesResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Guidelines, request, &response));
  return ReadAdvice(response.advice());
}

absl::StatusOr<int64_t> RemoteLearning::RecordAdviceOutcome(
    const std::string& user, std::span<const std::string> guideline_ids, double outcome) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateVoters(guideline_ids));
  CHIMERA_RETURN_IF_ERROR(ValidateOutcome(outcome));
  pb::GuidelinesRequest request;
  request.set_user(user);
  for (const std::string& id : guideline_ids) request.mutable_record()->add_guideline_ids(id);
  request.mutable_record()->set_outcome(outcome);
  pb::GuidelinesResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Guidelines, request, &response));
  return response.recorded().recorded();
}

absl::StatusOr<std::vector<EntityChange>> RemoteLearning::SetEntities(
    const std::string& user, std::span<const EntityStatement> statements) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateStatements(statements));
  pb::EntitiesRequest request;
  request.set_user(user);
  for (const EntityStatement& one : statements) {
    WriteStatement(one, request.mutable_set()->add_statements());
  }
  pb::EntitiesResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Entities, request, &response));
  CHIMERA_RETURN_IF_ERROR(impl_->CheckCount(response.changes().changes_size(), statements.size()));
  std::vector<EntityChange> changes;
  for (const pb::EntityChange& one : response.changes().changes()) {
    changes.push_back(
        {.created = one.created(), .replaced = one.replaced(), .evicted = one.evicted()});
  }
  return changes;
}

absl::StatusOr<bool> RemoteLearning::ForgetEntity(const std::string& user,
                                                  const std::string& name) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateEntityText(name, "name"));
  pb::EntitiesRequest request;
  request.set_user(user);
  request.set_forget(name);
  pb::EntitiesResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Entities, request, &response));
  return response.forgotten();
}

absl::StatusOr<std::vector<EntityInfo>> RemoteLearning::ListEntities(const std::string& user,
                                                                     const EntityFilter& filter) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateEntityFilter(filter));
  pb::EntitiesRequest request;
  request.set_user(user);
  pb::ListEntities* const list = request.mutable_list();
  if (filter.number) list->set_number(*filter.number);
  if (filter.gender) list->set_gender(*filter.gender);
  pb::EntitiesResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::MemoryService::Stub::Entities, request, &response));
  std::vector<EntityInfo> entities;
  for (const pb::Entity& one : response.entities().entities()) {
    CHIMERA_ASSIGN_OR_RETURN(EntityInfo entity, ReadEntity(one));
    entities.push_back(std::move(entity));
  }
  return entities;
}

}  // namespace chimera
