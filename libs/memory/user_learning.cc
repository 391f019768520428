#include "memory/user_learning.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>

#include "base/status_macros.h"
#include "memory/learning_arguments.h"
#include "memory/memory_arguments.h"

namespace chimera {
namespace {

template <typename Item>
std::vector<uint64_t> IdsOf(const std::vector<Item>& items) {
  std::vector<uint64_t> ids;
  ids.reserve(items.size());
  for (const Item& item : items) ids.push_back(item.id);
  return ids;
}

// Those of `before` that are not there any more.
template <typename Item>
std::vector<uint64_t> GoneOf(const std::vector<uint64_t>& before, const std::vector<Item>& items) {
  const std::vector<uint64_t> after = IdsOf(items);
  const std::unordered_set<uint64_t> there(after.begin(), after.end());
  std::vector<uint64_t> gone;
  std::copy_if(before.begin(), before.end(), std::back_inserter(gone),
               [&there](uint64_t id) { return !there.contains(id); });
  return gone;
}

}  // namespace

UserLearning::UserLearning(LocalMemory* memory, const UserLearningOptions& options)
    : memory_(memory),
      options_(options),
      action_codes_(memory->codebook()),
      entity_codes_(memory->codebook().seed()) {}

UserLearning::~UserLearning() = default;

absl::StatusOr<std::vector<AddedCase>> UserLearning::AddCases(const std::string& user,
                                                              std::span<const NewCase> cases) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateNewCases(cases));
  std::vector<HyperVector> sketches;
  for (const NewCase& one : cases) {
    CHIMERA_ASSIGN_OR_RETURN(sketches.emplace_back(), memory_->Sketch(one.situation));
  }
  const auto now_s = static_cast<uint32_t>(options_.clock->WallMs() / 1000);
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  CHIMERA_RETURN_IF_ERROR(NeedCases(user, state.get()));
  CHIMERA_RETURN_IF_ERROR(AdmitCases(user, cases.size(), state.get()));
  const std::vector<uint64_t> before = IdsOf(state->cases->cases());
  std::vector<AddedCase> added;
  std::vector<uint64_t> changed;
  for (size_t i = 0; i < cases.size(); ++i) {
    const NewCase& one = cases[i];
    const absl::StatusOr<bool> created =
        state->cases->Insert(sketches[i], one.plan, one.tags, one.outcome, now_s);
    if (!created.ok()) {
      Drop(state.get());  // those before it are in the copy only
      return created.status();
    }
    const uint64_t id = CaseIdOf(sketches[i], one.plan, one.tags);
    if (*created) changed.push_back(id);
    added.push_back({.case_id = FactIdToHex(id), .created = *created});
  }
  if (changed.empty()) return added;
  const std::vector<uint64_t> gone = GoneOf(before, state->cases->cases());
  CHIMERA_RETURN_IF_ERROR(WriteCases(user, changed, gone, state.get()));
  return added;
}

absl::StatusOr<std::vector<std::vector<FoundCase>>> UserLearning::FindCases(
    const std::string& user, std::span<const std::string> situations, int k) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateSituations(situations, k));
  std::vector<HyperVector> sketches;
  for (const std::string& situation : situations) {
    CHIMERA_ASSIGN_OR_RETURN(sketches.emplace_back(), memory_->Sketch(situation));
  }
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  if (!options_.cases_enabled) return std::vector<std::vector<FoundCase>>(situations.size());
  CHIMERA_RETURN_IF_ERROR(NeedCases(user, state.get()));
  std::unordered_map<uint64_t, const EpisodicCase*> by_id;
  for (const EpisodicCase& c : state->cases->cases()) by_id[c.id] = &c;
  const uint64_t hits = state->cases->counters().hits;
  std::vector<std::vector<FoundCase>> answers;
  for (const HyperVector& sketch : sketches) {
    std::vector<CaseChoice> choices = state->cases->Retrieve(sketch, false);
    choices.resize(std::min(choices.size(), static_cast<size_t>(k)));
    std::vector<FoundCase>& found = answers.emplace_back();
    for (const CaseChoice& choice : choices) {
      const EpisodicCase& c = *by_id.at(choice.id);
      found.push_back({.case_id = FactIdToHex(c.id),
                       .plan = c.plan,
                       .tags = c.tags,
                       .similarity = Similarity(choice.distance),
                       .q = static_cast<double>(c.q),
                       .outcomes = c.n,
                       .probability = choice.probability,
                       .share = choice.share});
    }
  }
  case_retrievals_ += static_cast<int64_t>(sketches.size());
  case_hits_ += static_cast<int64_t>(state->cases->counters().hits - hits);
  return answers;
}

absl::StatusOr<int64_t> UserLearning::RecordCaseOutcomes(const std::string& user,
                                                         std::span<const CaseOutcome> outcomes) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateCaseOutcomes(outcomes));
  const auto now_s = static_cast<uint32_t>(options_.clock->WallMs() / 1000);
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  CHIMERA_RETURN_IF_ERROR(NeedCases(user, state.get()));
  CHIMERA_RETURN_IF_ERROR(AdmitCases(user, 0, state.get()));
  int64_t there = 0;
  std::vector<uint64_t> changed;
  for (const CaseOutcome& one : outcomes) {
    const CaseChoice choice{.id = FactIdFromHex(one.case_id), .share = one.share};
    const absl::StatusOr<bool> known = state->cases->RecordOutcome(choice, one.outcome, now_s);
    if (!known.ok()) {
      Drop(state.get());  // those before it are in the copy only
      return known.status();
    }
    there += *known;
    if (*known && std::find(changed.begin(), changed.end(), choice.id) == changed.end()) {
      changed.push_back(choice.id);
    }
  }
  CHIMERA_RETURN_IF_ERROR(WriteCases(user, changed, {}, state.get()));
  return there;
}

absl::StatusOr<LearnedGuideline> UserLearning::LearnGuideline(const std::string& user,
                                                              const NewGuideline& guideline) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateNewGuideline(guideline));
  CHIMERA_ASSIGN_OR_RETURN(const HyperVector context, memory_->Sketch(guideline.context));
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  CHIMERA_RETURN_IF_ERROR(NeedGuidelines(user, state.get()));
  CHIMERA_RETURN_IF_ERROR(AdmitGuidelines(user, guideline.text.size(), state.get()));
  CHIMERA_ASSIGN_OR_RETURN(const bool created,
                           KeepGuideline(user, context, guideline, state.get()));
  const uint64_t id = GuidelineIdOf(context, Bind(context, action_codes_.code(guideline.action)));
  return LearnedGuideline{.guideline_id = FactIdToHex(id), .created = created};
}

absl::StatusOr<bool> UserLearning::KeepGuideline(const std::string& user,
                                                 const HyperVector& context,
                                                 const NewGuideline& guideline, State* state) {
  const std::vector<uint64_t> before = IdsOf(state->guidelines->guidelines());
  // It learns, or says why not and changes nothing.
  CHIMERA_ASSIGN_OR_RETURN(
      const bool created,
      state->guidelines->Learn(context, guideline.action, guideline.text, guideline.delta));
  if (!created) return false;
  const uint64_t id = GuidelineIdOf(context, Bind(context, action_codes_.code(guideline.action)));
  const std::vector<uint64_t> gone = GoneOf(before, state->guidelines->guidelines());
  CHIMERA_RETURN_IF_ERROR(WriteGuidelines(user, std::span(&id, 1), gone, state));
  return true;
}

absl::StatusOr<std::optional<GivenAdvice>> UserLearning::AskGuidelines(const std::string& user,
                                                                       const std::string& context) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateFactText(context, "context"));
  CHIMERA_ASSIGN_OR_RETURN(const HyperVector sketch, memory_->Sketch(context));
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  if (!options_.guidelines_enabled) return std::optional<GivenAdvice>();
  CHIMERA_RETURN_IF_ERROR(NeedGuidelines(user, state.get()));
  const std::optional<Advice> advice = state->guidelines->Ask(sketch);
  if (!advice) return std::optional<GivenAdvice>();
  ++guidelines_advised_;
  GivenAdvice given{.action = advice->action, .votes = advice->votes};
  for (const uint64_t id : advice->voters) {
    const Guideline& voter = *state->guidelines->Find(id);
    given.voters.push_back(
        {.guideline_id = FactIdToHex(id), .text = voter.text, .weight = voter.weight});
  }
  return std::optional(std::move(given));
}

absl::StatusOr<int64_t> UserLearning::RecordAdviceOutcome(
    const std::string& user, std::span<const std::string> guideline_ids, double outcome) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateVoters(guideline_ids));
  CHIMERA_RETURN_IF_ERROR(ValidateOutcome(outcome));
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  CHIMERA_RETURN_IF_ERROR(NeedGuidelines(user, state.get()));
  CHIMERA_RETURN_IF_ERROR(AdmitGuidelines(user, 0, state.get()));
  Advice advice;
  for (const std::string& hex : guideline_ids) {
    const uint64_t id = FactIdFromHex(hex);
    const bool twice =
        std::find(advice.voters.begin(), advice.voters.end(), id) != advice.voters.end();
    if (!twice && state->guidelines->Find(id) != nullptr) advice.voters.push_back(id);
  }
  CHIMERA_RETURN_IF_ERROR(state->guidelines->RecordOutcome(advice, outcome));
  CHIMERA_RETURN_IF_ERROR(WriteGuidelines(user, advice.voters, {}, state.get()));
  return static_cast<int64_t>(advice.voters.size());
}

absl::StatusOr<std::vector<EntityChange>> UserLearning::SetEntities(
    const std::string& user, std::span<const EntityStatement> statements) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateStatements(statements));
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  CHIMERA_RETURN_IF_ERROR(NeedEntities(user, state.get()));
  std::vector<EntityChange> changes;
  for (const EntityStatement& statement : statements) {
    absl::StatusOr<EntityChange> change = state->entities->Set(statement);
    if (!change.ok()) {
      Drop(state.get());  // those before it are in the copy only
      return change.status();
    }
    changes.push_back(*std::move(change));
  }
  CHIMERA_RETURN_IF_ERROR(WriteEntities(user, state.get()));
  return changes;
}

absl::StatusOr<bool> UserLearning::ForgetEntity(const std::string& user, const std::string& name) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateEntityText(name, "name"));
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  CHIMERA_RETURN_IF_ERROR(NeedEntities(user, state.get()));
  if (!state->entities->Forget(name)) return false;
  CHIMERA_RETURN_IF_ERROR(WriteEntities(user, state.get()));
  return true;
}

absl::StatusOr<std::vector<EntityInfo>> UserLearning::ListEntities(const std::string& user,
                                                                   const EntityFilter& filter) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateEntityFilter(filter));
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  CHIMERA_RETURN_IF_ERROR(NeedEntities(user, state.get()));
  return state->entities->List(filter);
}

absl::StatusOr<int64_t> UserLearning::Reset(const std::string& user) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  Drop(state.get());
  CHIMERA_RETURN_IF_ERROR(ResetEvolution(user, state.get()));
  return memory_->Reset(user);
}

absl::StatusOr<ImportReport> UserLearning::Import(const std::string& user, std::string_view lines,
                                                  int64_t first_line) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  Drop(state.get());
  return memory_->Import(user, lines, first_line);
}

LearningFigures UserLearning::Figures() {
  LearningFigures figures = {.case_retrievals = case_retrievals_,
                             .case_hits = case_hits_,
                             .guidelines_advised = guidelines_advised_};
  {
    MutexLock lock(&learned_mutex_);
    figures.written = learned_.written;
    figures.refused = learned_.refused;
    figures.evaluated = learned_.evaluated;
    figures.rejected = learned_.rejected;
    figures.rollbacks = learned_.rollbacks;
    figures.guidelines_made = learned_.guidelines;
  }
  MutexLock lock(&users_mutex_);
  for (const Held& held : recent_) {
    figures.users_held_back += held.state->evolution_state != EvolutionState::kNormal;
  }
  return figures;
}

}  // namespace chimera
