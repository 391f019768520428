// UserLearning's part in what the machine writes down by itself: the store as an Evolution sees it,
// what sessions tell, and what recalled facts are left.
#include <algorithm>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "memory/learning_arguments.h"
#include "memory/memory_arguments.h"
#include "memory/sentence.h"
#include "memory/user_learning.h"

namespace chimera {
namespace {

// Pieces of at most kItemsPerCallMax.
template <typename Item, typename Call>
absl::Status InPieces(std::span<const Item> items, const Call& call) {
  for (size_t at = 0; at < items.size(); at += kItemsPerCallMax) {
    CHIMERA_RETURN_IF_ERROR(call(items.subspan(at, std::min(kItemsPerCallMax, items.size() - at))));
  }
  return absl::OkStatus();
}

bool IsEvolved(Source source, uint32_t tags) {
  return source == Source::kInferred && (tags & kEvolvedTag) != 0;
}

}  // namespace

// Its calls come from the state's Evolution, which is used with the state's mutex held.
class UserLearning::EvolvedFacts final : public EvolutionStore {
 public:
  EvolvedFacts(UserLearning* learning, std::string user, State* state)
      : learning_(learning), user_(std::move(user)), state_(state) {}

  absl::StatusOr<std::vector<uint64_t>> Put(std::span<const ProposedFact> facts) override {
    std::vector<NewFact> to_store;
    for (const ProposedFact& fact : facts) {
      to_store.push_back(
          {.text = fact.text, .source = Source::kInferred, .weight = 0, .tags = kEvolvedTag});
    }
    CHIMERA_ASSIGN_OR_RETURN(const std::vector<RememberedFact> remembered,
                             memory().Remember(user_, to_store));
    std::vector<uint64_t> ids;
    for (size_t i = 0; i < facts.size(); ++i) {
      if (remembered[i].created) ids.push_back(facts[i].id);
    }
    return ids;
  }

  absl::Status Drop(std::span<const uint64_t> ids) override {
    return InPieces(ids, [this](std::span<const uint64_t> piece) {
      return memory().Drop(user_, piece).status();
    });
  }

  absl::Status SetWeight(uint64_t id, float weight) override {
    const FactWeight one = {.id = id, .weight = weight};
    return memory().SetWeights(user_, {&one, 1});
  }

  absl::StatusOr<std::vector<uint64_t>> List() override {
    std::vector<uint64_t> ids;
    uint64_t first = 0;
    while (true) {
      CHIMERA_ASSIGN_OR_RETURN(const std::vector<FactInfo> page,
                               memory().ListFacts(user_, first, kScanMax));
      for (const FactInfo& fact : page) {
        if (IsEvolved(fact.source, fact.tags)) ids.push_back(fact.id);
      }
      if (page.size() < kScanMax || page.back().id == UINT64_MAX) return ids;
      first = page.back().id + 1;
    }
  }

  int64_t Bytes() const override {
    const absl::StatusOr<MemoryStats> stats = learning_->memory_->Stats(user_);
    return stats.ok() ? stats->bytes : std::numeric_limits<int64_t>::max() / 2;  // no more, then
  }

  absl::StatusOr<LearnedBanks> Banks() override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    CHIMERA_RETURN_IF_ERROR(learning_->NeedCases(user_, state_));
    CHIMERA_RETURN_IF_ERROR(learning_->NeedGuidelines(user_, state_));
    return LearnedBanks{.cases = state_->cases->Encode(),
                        .guidelines = state_->guidelines->Encode()};
  }

  absl::Status RestoreBanks(const LearnedBanks& banks) override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    CHIMERA_RETURN_IF_ERROR(learning_->NeedCases(user_, state_));
    CHIMERA_RETURN_IF_ERROR(learning_->NeedGuidelines(user_, state_));
    const EpisodicOptions options = learning_->CaseOptions();
    EpisodicCases cases(options);
    if (!banks.cases.empty()) {
      CHIMERA_ASSIGN_OR_RETURN(cases, EpisodicCases::Decode(options, banks.cases));
    }
    Guidelines guidelines(learning_->action_codes_, learning_->options_.guidelines);
    if (!banks.guidelines.empty()) {
      CHIMERA_ASSIGN_OR_RETURN(
          guidelines, Guidelines::Decode(learning_->action_codes_, learning_->options_.guidelines,
                                         banks.guidelines));
    }
    std::vector<MemoryRecord> records;
    for (const EpisodicCase& c : cases.cases()) {
      records.push_back({.id = c.id, .bytes = EncodeCase(c)});
    }
    CHIMERA_RETURN_IF_ERROR(Replace(RecordClass::kCase, state_->cases->cases(), records));
    records.clear();
    for (const Guideline& one : guidelines.guidelines()) {
      records.push_back({.id = one.id, .bytes = guidelines.EncodeOne(one)});
    }
    CHIMERA_RETURN_IF_ERROR(
        Replace(RecordClass::kGuideline, state_->guidelines->guidelines(), records));
    state_->cases.emplace(std::move(cases));
    state_->guidelines.emplace(std::move(guidelines));
    return absl::OkStatus();
  }

 private:
  LocalMemory& memory() const { return *learning_->memory_; }

  // The records of a class instead of those of the items.
  template <typename Item>
  absl::Status Replace(RecordClass record_class, const std::vector<Item>& items,
                       std::span<const MemoryRecord> records) {
    std::vector<uint64_t> ids;
    for (const Item& item : items) ids.push_back(item.id);
    CHIMERA_RETURN_IF_ERROR(
        InPieces(std::span<const uint64_t>(ids), [&](std::span<const uint64_t> piece) {
          return memory().EraseRecords(user_, record_class, piece).status();
        }));
    return InPieces(records, [&](std::span<const MemoryRecord> piece) {
      return memory().PutRecords(user_, record_class, piece, Source::kUser);
    });
  }

  UserLearning* const learning_;
  const std::string user_;
  State* const state_;
};

EpisodicOptions UserLearning::CaseOptions() const {
  EpisodicOptions options = options_.cases;
  options.chosen_max = kFoundCasesMax;
  return options;
}

std::string UserLearning::StateFolderOf(const std::string& user) const {
  const std::string folder =
      options_.state_folder.empty() ? memory_->path() + "/learning" : options_.state_folder;
  return absl::StrCat(folder, "/user-", user);  // a user may be called ".."
}

absl::Status UserLearning::NeedEvolution(const std::string& user, State* state) {
  if (state->evolution == nullptr) {
    if (state->evolved_facts == nullptr) {
      state->evolved_facts = std::make_unique<EvolvedFacts>(this, user, state);
    }
    CHIMERA_ASSIGN_OR_RETURN(
        state->evolution,
        Evolution::Open(options_.evolution, state->evolved_facts.get(),
                        absl::StrCat(StateFolderOf(user), "/", options_.state_file)));
  }
  CHIMERA_RETURN_IF_ERROR(state->evolution->Recover());
  state->evolution_state = state->evolution->safety().state();
  Count(state);
  return absl::OkStatus();
}

absl::Status UserLearning::ResetEvolution(const std::string& user, State* state) {
  const std::string folder = StateFolderOf(user);
  if (state->evolution == nullptr && !std::filesystem::exists(folder)) return absl::OkStatus();
  state->evolution.reset();
  state->evolution_state = EvolutionState::kNormal;
  // A damaged file must not stand in the way of its own end.
  CHIMERA_RETURN_IF_ERROR(MakeDirs(folder));
  CHIMERA_RETURN_IF_ERROR(ResetStateFile(absl::StrCat(folder, "/", options_.state_file)).status());
  std::error_code error;
  std::filesystem::remove_all(folder, error);
  if (error) return absl::InternalError(absl::StrCat(folder, ": ", error.message()));
  return absl::OkStatus();
}

absl::Status UserLearning::AdmitCases(const std::string& user, size_t more, State* state) {
  if (!options_.cases_enabled) {
    return absl::FailedPreconditionError(
        "cases are switched off (self_evolution.tier2.episodic_cases.enabled)");
  }
  CHIMERA_RETURN_IF_ERROR(NeedEvolution(user, state));
  // A full bank makes room itself.
  const size_t room =
      static_cast<size_t>(options_.cases.cases_max) -
      std::min(state->cases->cases().size(), static_cast<size_t>(options_.cases.cases_max));
  return state->evolution->Admit(GrowthClass::kEpisodic, state->cases->bytes(),
                                 static_cast<int64_t>(std::min(more, room) * kCaseBytes));
}

absl::Status UserLearning::AdmitGuidelines(const std::string& user, size_t more_bytes,
                                           State* state) {
  if (!options_.guidelines_enabled) {
    return absl::FailedPreconditionError(
        "guidelines are switched off (self_evolution.tier2.meta_guidelines.enabled)");
  }
  CHIMERA_RETURN_IF_ERROR(NeedEvolution(user, state));
  return state->evolution->Admit(
      GrowthClass::kGuidelines, state->guidelines->bytes(),
      more_bytes == 0
          ? 0
          : static_cast<int64_t>(kGuidelineRecordBytesMax - kGuidelineTextBytesMax + more_bytes));
}

absl::Status UserLearning::CheckUserStore() const {
  if (options_.user_store) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "facts of the user are switched off "
      "(self_evolution.tier1.memory_growth.user_explicit_store)");
}

absl::StatusOr<LearnReport> UserLearning::Learn(const std::string& user, const LearnBatch& batch) {
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(user));
  CHIMERA_RETURN_IF_ERROR(ValidateLearnBatch(batch));
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  CHIMERA_RETURN_IF_ERROR(NeedEvolution(user, state.get()));
  CHIMERA_RETURN_IF_ERROR(MakeDirs(StateFolderOf(user)));  // a rollback may write there at once
  Evolution& evolution = *state->evolution;
  const EvolutionCounters before = evolution.counters();
  const FreezeReason reason_before = evolution.safety().reason();
  LearnReport report;
  CHIMERA_RETURN_IF_ERROR(LearnTokens(user, batch.tokens, state.get()));
  CHIMERA_RETURN_IF_ERROR(LearnEvaluations(user, batch.evaluations, state.get(), &report));
  const EvolutionCounters& now = evolution.counters();
  report.written = static_cast<int64_t>(now.written - before.written);
  report.refused = static_cast<int64_t>(now.refused - before.refused);
  report.evaluated = static_cast<int64_t>(now.evaluated - before.evaluated);
  report.rejected = static_cast<int64_t>(now.rejected - before.rejected);
  report.rollbacks = static_cast<int64_t>(now.rollbacks - before.rollbacks);
  report.state = evolution.safety().state();
  report.reason = evolution.safety().reason();
  if (report.written > 0 || report.evaluated > 0 || report.rollbacks > 0 ||
      report.state != state->evolution_state || report.reason != reason_before) {
    CHIMERA_RETURN_IF_ERROR(evolution.Checkpoint());
  }
  state->evolution_state = report.state;
  Count(state.get());
  MutexLock sums(&learned_mutex_);
  learned_.written += report.written;
  learned_.refused += report.refused;
  learned_.evaluated += report.evaluated;
  learned_.rejected += report.rejected;
  learned_.guidelines += report.guidelines;
  learned_.rollbacks += report.rollbacks;
  return report;
}

absl::Status UserLearning::LearnTokens(const std::string& user, std::span<const ReadToken> tokens,
                                       State* state) {
  std::vector<ProposedFact> proposed;
  const auto flush = [&]() -> absl::Status {
    if (proposed.empty()) return absl::OkStatus();
    CHIMERA_RETURN_IF_ERROR(state->evolution->Propose(proposed).status());
    proposed.clear();
    return absl::OkStatus();
  };
  for (size_t i = 0; i < tokens.size(); ++i) {
    const ReadToken& token = tokens[i];
    const uint64_t rollbacks = state->evolution->counters().rollbacks;
    CHIMERA_ASSIGN_OR_RETURN(const bool write,
                             state->evolution->OnToken(static_cast<double>(token.surprise),
                                                       token.failed, token.offered));
    if (state->evolution->counters().rollbacks != rollbacks) proposed.clear();
    if (!write) continue;
    std::string text = SentenceAround(tokens, i);
    if (text.empty()) continue;
    proposed.push_back({.id = FactIdOf(user, text), .text = std::move(text)});
    if (proposed.size() == static_cast<size_t>(options_.evolution.pool.batch_max)) {
      CHIMERA_RETURN_IF_ERROR(flush());
    }
  }
  return flush();
}

absl::Status UserLearning::LearnEvaluations(const std::string& user,
                                            std::span<const FactEvaluation> evaluations,
                                            State* state, LearnReport* report) {
  for (const FactEvaluation& one : evaluations) {
    const absl::StatusOr<Judgement> judged =
        state->evolution->OnEvaluation({.fact_id = FactIdFromHex(one.fact_id),
                                        .nll_with = one.nll_with,
                                        .nll_without = one.nll_without,
                                        .tokens = one.tokens});
    if (absl::IsNotFound(judged.status())) continue;  // gone since it was recalled
    CHIMERA_RETURN_IF_ERROR(judged.status());
    if (!judged->counted || judged->delta >= options_.guidelines.trigger) continue;
    CHIMERA_ASSIGN_OR_RETURN(const bool made, LearnFromHarm(user, one, judged->delta, state));
    report->guidelines += made;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> UserLearning::LearnFromHarm(const std::string& user,
                                                 const FactEvaluation& evaluation, double delta,
                                                 State* state) {
  if (!options_.guidelines_enabled) return false;
  CHIMERA_ASSIGN_OR_RETURN(const HyperVector context, memory_->Sketch(evaluation.context));
  CHIMERA_RETURN_IF_ERROR(NeedGuidelines(user, state));
  const NewGuideline guideline = {
      .context = evaluation.context,
      .action = GuidelineAction::kIgnoreItemClass,
      .text = absl::StrFormat("In a context like this one, fact %s made each token %.3f nats less "
                              "likely: leave out what was concluded without being told.",
                              evaluation.fact_id, -delta),
      .delta = delta};
  if (!AdmitGuidelines(user, guideline.text.size(), state).ok()) return false;
  const absl::StatusOr<bool> made = KeepGuideline(user, context, guideline, state);
  if (absl::IsResourceExhausted(made.status())) return false;
  return made;
}

void UserLearning::Sift(const std::string& user, const std::string& query,
                        std::vector<RecalledFact>* facts) {
  const auto evolved = [](const RecalledFact& fact) { return IsEvolved(fact.source, fact.tags); };
  if (std::none_of(facts->begin(), facts->end(), evolved)) return;
  const StatePointer state = Pin(user);
  MutexLock lock(&state->mutex);
  bool ignore = false;
  const absl::Status status = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
    CHIMERA_RETURN_IF_ERROR(NeedEvolution(user, state.get()));
    if (!options_.guidelines_enabled) return absl::OkStatus();
    CHIMERA_RETURN_IF_ERROR(NeedGuidelines(user, state.get()));
    if (state->guidelines->guidelines().empty()) return absl::OkStatus();
    CHIMERA_ASSIGN_OR_RETURN(const HyperVector sketch, memory_->Sketch(query));
    const std::optional<Advice> advice = state->guidelines->Ask(sketch);
    if (!advice) return absl::OkStatus();
    ++guidelines_advised_;
    ignore = advice->action == GuidelineAction::kIgnoreItemClass;
    return absl::OkStatus();
  }();
  if (!status.ok()) {
    LogWarning(absl::StrCat("what was learned of user ", user,
                            " is left out: ", std::string(status.message())));
    ignore = true;
  }
  std::erase_if(*facts, [&](RecalledFact& fact) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    if (!evolved(fact)) return false;
    const uint64_t id = FactIdFromHex(fact.fact_id);
    if (ignore || !state->evolution->IsReadable(id)) return true;
    fact.evaluate = state->evolution->WantsEvaluation(id);
    return false;
  });
}

}  // namespace chimera
