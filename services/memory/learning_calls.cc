#include "services/memory/learning_calls.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/learning_proto.h"

namespace chimera {
namespace {

namespace pb = memory::v1;

constexpr int kFindDefault = 4;

absl::Status Lacks() { return absl::UnimplementedError("this service keeps no learning"); }

absl::Status CheckLength(const std::string& text, size_t bytes_max, const char* what) {
  if (text.size() <= bytes_max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(what, " has ", text.size(), " bytes, this server takes ", bytes_max));
}

absl::Status AddAll(const LearningCalls& calls, const std::string& user, const pb::AddCases& add,
                    pb::AddedCases* out) {
  std::vector<NewCase> cases;
  for (const pb::NewCase& one : add.cases()) {
    CHIMERA_RETURN_IF_ERROR(CheckLength(one.situation(), calls.text_bytes_max, "situation"));
    CHIMERA_ASSIGN_OR_RETURN(NewCase read, ReadNewCase(one));
    cases.push_back(std::move(read));
  }
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<AddedCase> added,
                           calls.learning->AddCases(user, cases));
  for (const AddedCase& one : added) {
    pb::AddedCase* const answer = out->add_cases();
    answer->set_case_id(one.case_id);
    answer->set_created(one.created);
  }
  return absl::OkStatus();
}

absl::Status FindAll(const LearningCalls& calls, const std::string& user, const pb::FindCases& find,
                     pb::FoundCases* out) {
  for (const std::string& one : find.situations()) {
    CHIMERA_RETURN_IF_ERROR(CheckLength(one, calls.text_bytes_max, "situation"));
  }
  const std::vector<std::string> situations(find.situations().begin(), find.situations().end());
  const int limit = find.limit() == 0 ? kFindDefault : find.limit();
  CHIMERA_ASSIGN_OR_RETURN(std::vector<std::vector<FoundCase>> answers,
                           calls.learning->FindCases(user, situations, limit));
  for (std::vector<FoundCase>& answer : answers) {
    pb::CasesOfSituation* const cases = out->add_answers();
    for (FoundCase& one : answer) WriteFoundCase(std::move(one), cases->add_cases());
  }
  if (out->ByteSizeLong() <= calls.answer_bytes_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the answer to ", situations.size(), " situations has ", out->ByteSizeLong(),
                   " bytes, the limit is ", calls.answer_bytes_max, "; ask for fewer"));
}

}  // namespace

absl::Status LearningCalls::Cases(const pb::CasesRequest& request,
                                  pb::CasesResponse* response) const {
  if (learning == nullptr) return Lacks();
  switch (request.what_case()) {
    case pb::CasesRequest::kAdd:
      return AddAll(*this, request.user(), request.add(), response->mutable_added());
    case pb::CasesRequest::kFind:
      return FindAll(*this, request.user(), request.find(), response->mutable_found());
    case pb::CasesRequest::kRecord: {
      std::vector<CaseOutcome> outcomes;
      for (const pb::CaseOutcome& one : request.record().outcomes()) {
        CHIMERA_ASSIGN_OR_RETURN(CaseOutcome read, ReadCaseOutcome(one));
        outcomes.push_back(std::move(read));
      }
      CHIMERA_ASSIGN_OR_RETURN(const int64_t there,
                               learning->RecordCaseOutcomes(request.user(), outcomes));
      response->mutable_recorded()->set_recorded(there);
      return absl::OkStatus();
    }
    default:
      return absl::InvalidArgumentError("say what to do with cases: add, find or record");
  }
}

absl::Status LearningCalls::Guidelines(const pb::GuidelinesRequest& request,
                                       pb::GuidelinesResponse* response) const {
  if (learning == nullptr) return Lacks();
  switch (request.what_case()) {
    case pb::GuidelinesRequest::kLearn: {
      CHIMERA_RETURN_IF_ERROR(CheckLength(request.learn().context(), text_bytes_max, "context"));
      CHIMERA_ASSIGN_OR_RETURN(const NewGuideline guideline, ReadNewGuideline(request.learn()));
      CHIMERA_ASSIGN_OR_RETURN(const LearnedGuideline learned,
                               learning->LearnGuideline(request.user(), guideline));
      response->mutable_learned()->set_guideline_id(learned.guideline_id);
      response->mutable_learned()->set_created(learned.created);
      return absl::OkStatus();
    }
    case pb::GuidelinesRequest::kAsk: {
      CHIMERA_RETURN_IF_ERROR(CheckLength(request.ask().context(), text_bytes_max, "context"));
      CHIMERA_ASSIGN_OR_RETURN(const std::optional<GivenAdvice> advice,
                               learning->AskGuidelines(request.user(), request.ask().context()));
      WriteAdvice(advice, response->mutable_advice());
      return absl::OkStatus();
    }
    case pb::GuidelinesRequest::kRecord: {
      const pb::RecordAdviceOutcome& record = request.record();
      if (!record.has_outcome()) return absl::InvalidArgumentError("outcome must be set");
      const std::vector<std::string> ids(record.guideline_ids().begin(),
                                         record.guideline_ids().end());
      CHIMERA_ASSIGN_OR_RETURN(const int64_t there, learning->RecordAdviceOutcome(
                                                        request.user(), ids, record.outcome()));
      response->mutable_recorded()->set_recorded(there);
      return absl::OkStatus();
    }
    default:
      return absl::InvalidArgumentError("say what to do with guidelines: learn, ask or record");
  }
}

absl::Status LearningCalls::Entities(const pb::EntitiesRequest& request,
                                     pb::EntitiesResponse* response) const {
  if (learning == nullptr) return Lacks();
  switch (request.what_case()) {
    case pb::EntitiesRequest::kSet: {
      std::vector<EntityStatement> statements;
      for (const pb::EntityStatement& one : request.set().statements()) {
        CHIMERA_ASSIGN_OR_RETURN(EntityStatement read, ReadStatement(one));
        statements.push_back(std::move(read));
      }
      CHIMERA_ASSIGN_OR_RETURN(const std::vector<EntityChange> changes,
                               learning->SetEntities(request.user(), statements));
      for (const EntityChange& one : changes) {
        pb::EntityChange* const out = response->mutable_changes()->add_changes();
        out->set_created(one.created);
        out->set_replaced(one.replaced);
        out->set_evicted(one.evicted);
      }
      return absl::OkStatus();
    }
    case pb::EntitiesRequest::kForget: {
      CHIMERA_ASSIGN_OR_RETURN(const bool forgotten,
                               learning->ForgetEntity(request.user(), request.forget()));
      response->set_forgotten(forgotten);
      return absl::OkStatus();
    }
    case pb::EntitiesRequest::kList: {
      EntityFilter filter;
      if (request.list().has_number()) filter.number = request.list().number();
      if (request.list().has_gender()) filter.gender = request.list().gender();
      CHIMERA_ASSIGN_OR_RETURN(const std::vector<EntityInfo> entities,
                               learning->ListEntities(request.user(), filter));
      pb::EntityList* const out = response->mutable_entities();
      for (const EntityInfo& one : entities) WriteEntity(one, out->add_entities());
      return absl::OkStatus();
    }
    default:
      return absl::InvalidArgumentError("say what to do with entities: set, forget or list");
  }
}

}  // namespace chimera
