#include "memory/evolution.h"

#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

// What the ceiling counts of a fact before it is stored.
int64_t BytesOf(const ProposedFact& fact) {
  return static_cast<int64_t>(sizeof fact.sketch + fact.text.size());
}

}  // namespace

Evolution::Evolution(const EvolutionOptions& options, const ActionCodes& codes,
                     EvolutionStore* store, StateFile file)
    : options_(options),
      codes_(&codes),
      store_(store),
      file_(std::move(file)),
      gate_(options.gate),
      live_(options.pool),
      cases_(options.cases),
      guidelines_(codes, options.guidelines),
      safety_(options.safety),
      good_(Live()) {}

absl::StatusOr<std::unique_ptr<Evolution>> Evolution::Open(const EvolutionOptions& options,
                                                           const ActionCodes& codes,
                                                           EvolutionStore* store,
                                                           const std::string& state_path) {
  CHIMERA_ASSIGN_OR_RETURN(StateFile file, StateFile::Open(state_path));
  std::unique_ptr<Evolution> evolution(new Evolution(options, codes, store, std::move(file)));
  CHIMERA_RETURN_IF_ERROR(evolution->Load());
  CHIMERA_RETURN_IF_ERROR(evolution->Recover());
  CHIMERA_RETURN_IF_ERROR(evolution->MeetStore());
  return evolution;
}

absl::Status Evolution::Load() {
  const auto& sections = file_.image().sections;
  if (sections.empty()) return absl::OkStatus();
  for (const StateSection section :
       {StateSection::kFactPool, StateSection::kCases, StateSection::kGuidelines,
        StateSection::kSafety, StateSection::kGoodFactPool, StateSection::kGoodCases,
        StateSection::kGoodGuidelines}) {
    if (sections.contains(section)) continue;
    return absl::DataLossError(
        absl::StrCat("state file: section ", static_cast<uint32_t>(section), " is missing"));
  }
  const auto bytes = [&](StateSection section) -> const std::string& {
    return sections.at(section);
  };
  CHIMERA_ASSIGN_OR_RETURN(live_, FactPool::Decode(options_.pool, bytes(StateSection::kFactPool)));
  CHIMERA_ASSIGN_OR_RETURN(cases_,
                           EpisodicCases::Decode(options_.cases, bytes(StateSection::kCases)));
  CHIMERA_ASSIGN_OR_RETURN(guidelines_, Guidelines::Decode(*codes_, options_.guidelines,
                                                           bytes(StateSection::kGuidelines)));
  CHIMERA_ASSIGN_OR_RETURN(safety_,
                           SafetyState::Decode(options_.safety, bytes(StateSection::kSafety)));
  CHIMERA_ASSIGN_OR_RETURN(good_.pool,
                           FactPool::Decode(options_.pool, bytes(StateSection::kGoodFactPool)));
  good_.cases = bytes(StateSection::kGoodCases);
  good_.guidelines = bytes(StateSection::kGoodGuidelines);
  CHIMERA_RETURN_IF_ERROR(EpisodicCases::Decode(options_.cases, good_.cases).status());
  CHIMERA_RETURN_IF_ERROR(
      Guidelines::Decode(*codes_, options_.guidelines, good_.guidelines).status());
  rollback_due_ = options_.rollback && safety_.state() == EvolutionState::kFrozen;
  return absl::OkStatus();
}

absl::Status Evolution::MeetStore() {
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<EvolutionStore::Held> held, store_->List());
  std::unordered_set<uint64_t> in_store;
  for (const EvolutionStore::Held& fact : held) in_store.insert(fact.id);
  for (FactPool* pool : {&live_, &good_.pool}) {
    for (const PooledFact& fact : pool->Facts()) {
      if (!in_store.contains(fact.id)) pool->Erase(fact.id);
    }
    for (const EvolutionStore::Held& fact : held) {
      const PooledFact* pooled = pool->Find(fact.id);
      if (!fact.pinned || (pooled != nullptr && pooled->pinned)) continue;
      const PooledFact pinned{.id = fact.id, .pinned = true};
      CHIMERA_RETURN_IF_ERROR(pool->Append({&pinned, 1}).status());
    }
  }
  return SweepStore();
}

absl::Status Evolution::SweepStore() {
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<EvolutionStore::Held> held, store_->List());
  for (const EvolutionStore::Held& fact : held) {
    if (!IsNeeded(fact.id)) CHIMERA_RETURN_IF_ERROR(store_->Drop(fact.id));
  }
  return absl::OkStatus();
}

Evolution::Snapshot Evolution::Live() const {
  return {.pool = live_, .cases = cases_.Encode(), .guidelines = guidelines_.Encode()};
}

std::map<StateSection, std::string> Evolution::Sections() {
  return {
      {StateSection::kFactPool, live_.Encode()},          {StateSection::kCases, cases_.Encode()},
      {StateSection::kGuidelines, guidelines_.Encode()},  {StateSection::kSafety, safety_.Encode()},
      {StateSection::kGoodFactPool, good_.pool.Encode()}, {StateSection::kGoodCases, good_.cases},
      {StateSection::kGoodGuidelines, good_.guidelines}};
}

bool Evolution::IsNeeded(uint64_t id) const {
  return live_.Find(id) != nullptr || good_.pool.Find(id) != nullptr ||
         (candidate_.has_value() && candidate_->pool.Find(id) != nullptr);
}

absl::Status Evolution::DropUnneeded(std::span<const uint64_t> ids) {
  for (const uint64_t id : ids) {
    if (!IsNeeded(id)) CHIMERA_RETURN_IF_ERROR(store_->Drop(id));
  }
  return absl::OkStatus();
}

bool Evolution::Admit(GrowthClass growth, int64_t bytes_now, int64_t bytes_more) {
  if (!rollback_due_ && safety_.CheckGrowth(growth, bytes_now, bytes_more).ok() &&
      safety_.AdmitWrite()) {
    return true;
  }
  ++counters_.refused;
  return false;
}

absl::StatusOr<bool> Evolution::OnToken(double surprise, bool failed) {
  ++candidate_tokens_;
  const bool write = gate_.Observe(surprise) && options_.memory_growth;
  if (safety_.OnToken(failed)) {
    rollback_due_ = options_.rollback;
    CHIMERA_RETURN_IF_ERROR(Recover());
    return false;
  }
  return write;
}

absl::StatusOr<bool> Evolution::Propose(ProposedFact fact) {
  ++counters_.proposed;
  if (!options_.memory_growth) return false;
  int64_t waiting = 0;
  for (const ProposedFact& other : pending_) {
    if (other.id == fact.id) return false;
    waiting += BytesOf(other);
  }
  if (live_.Find(fact.id) != nullptr) return false;
  if (!Admit(GrowthClass::kMemory, store_->Bytes() + waiting, BytesOf(fact))) return false;
  pending_.push_back(std::move(fact));
  if (pending_.size() >= static_cast<size_t>(options_.pool.batch_max)) {
    CHIMERA_RETURN_IF_ERROR(Flush());
  }
  return true;
}

absl::Status Evolution::Flush() {
  if (pending_.empty()) return absl::OkStatus();
  // Into the store first: the pool never names a fact that the store does not have.
  std::vector<PooledFact> batch;
  std::vector<uint64_t> ids;
  for (const ProposedFact& fact : pending_) {
    CHIMERA_RETURN_IF_ERROR(store_->Put(fact, false));
    batch.push_back({.id = fact.id});
    ids.push_back(fact.id);
  }
  const absl::StatusOr<std::vector<uint64_t>> gone = live_.Append(batch);
  if (!gone.ok() && !absl::IsResourceExhausted(gone.status())) return gone.status();
  // The user's own facts may leave no room for others.
  (gone.ok() ? counters_.written : counters_.refused) += batch.size();
  pending_.clear();
  return DropUnneeded(gone.ok() ? *gone : ids);
}

absl::Status Evolution::Remember(const ProposedFact& fact) {
  if (!options_.user_store) {
    return absl::FailedPreconditionError(
        "facts of the user are switched off (user_explicit_store)");
  }
  CHIMERA_RETURN_IF_ERROR(
      safety_.CheckGrowth(GrowthClass::kMemory, store_->Bytes(), BytesOf(fact)));
  std::vector<FactPool*> pools = {&live_, &good_.pool};
  if (candidate_.has_value()) pools.push_back(&candidate_->pool);
  const PooledFact pinned{.id = fact.id, .pinned = true};
  for (const FactPool* pool : pools) {
    if (pool->size() == options_.pool.facts_max && pool->pinned() == pool->size() &&
        pool->Find(fact.id) == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat("all ", pool->size(), " facts of the pool are the user's own"));
    }
  }
  CHIMERA_RETURN_IF_ERROR(store_->Put(fact, true));
  std::vector<uint64_t> gone;
  for (FactPool* pool : pools) {
    CHIMERA_ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, pool->Append({&pinned, 1}));
    gone.insert(gone.end(), ids.begin(), ids.end());
  }
  std::erase_if(pending_, [&](const ProposedFact& other) { return other.id == fact.id; });
  return DropUnneeded(gone);
}

absl::StatusOr<bool> Evolution::Forget(uint64_t id) {
  const size_t waiting =
      std::erase_if(pending_, [id](const ProposedFact& fact) { return fact.id == id; });
  const bool held = IsNeeded(id);
  if (!held) return waiting > 0;
  CHIMERA_RETURN_IF_ERROR(store_->Drop(id));
  live_.Erase(id);
  good_.pool.Erase(id);
  if (candidate_.has_value()) candidate_->pool.Erase(id);
  return true;
}

bool Evolution::WantsEvaluation(uint64_t fact_id) const {
  if (!options_.contrastive_validation || !IsEvaluated(options_.contrastive, fact_id)) return false;
  const PooledFact* fact = live_.Find(fact_id);
  return fact != nullptr && !fact->pinned;
}

absl::StatusOr<TrialVerdict> Evolution::OnEvaluation(const Evaluation& evaluation) {
  CHIMERA_ASSIGN_OR_RETURN(const double delta,
                           ContrastiveDelta(options_.contrastive, evaluation.nll_with,
                                            evaluation.nll_without, evaluation.tokens));
  const PooledFact* held = live_.Find(evaluation.fact_id);
  if (held == nullptr) return absl::NotFoundError("evaluation of a fact that is not in the pool");
  ++counters_.evaluated;
  ++candidate_evaluations_;
  if (safety_.OnEvaluation(delta)) {
    rollback_due_ = options_.rollback;
    CHIMERA_RETURN_IF_ERROR(Recover());
    return TrialVerdict::kOpen;
  }
  if (safety_.state() == EvolutionState::kFrozen || safety_.state() == EvolutionState::kOff) {
    return TrialVerdict::kOpen;  // nothing is written, weights neither
  }
  if (options_.guidelines_enabled && delta < options_.guidelines.trigger &&
      Admit(GrowthClass::kGuidelines, guidelines_.bytes(),
            2 * kHyperBytes + 64 + static_cast<int64_t>(evaluation.guideline_text.size()))) {
    const absl::StatusOr<bool> learned =
        guidelines_.Learn(evaluation.context, evaluation.action, evaluation.guideline_text, delta);
    if (!learned.ok() && !absl::IsResourceExhausted(learned.status())) return learned.status();
  }
  if (held->pinned) return TrialVerdict::kKeep;
  FactTrial trial = held->trial;
  const TrialVerdict verdict = RecordTrial(options_.contrastive, delta, &trial);
  if (verdict == TrialVerdict::kDrop) {
    live_.Erase(evaluation.fact_id);
    ++counters_.rejected;
    CHIMERA_RETURN_IF_ERROR(DropUnneeded({&evaluation.fact_id, 1}));
    return verdict;
  }
  CHIMERA_RETURN_IF_ERROR(live_.SetTrial(evaluation.fact_id, trial));
  CHIMERA_RETURN_IF_ERROR(store_->SetWeight(evaluation.fact_id, trial.weight));
  return verdict;
}

std::vector<CaseChoice> Evolution::RetrieveCases(const HyperVector& sketch, bool explore) {
  if (!options_.cases_enabled) return {};
  return cases_.Retrieve(sketch, explore);
}

absl::StatusOr<bool> Evolution::RecordCaseOutcome(const CaseChoice& choice, double r,
                                                  uint32_t now_s) {
  if (!options_.cases_enabled || !Admit(GrowthClass::kEpisodic, cases_.bytes(), 0)) return false;
  return cases_.RecordOutcome(choice, r, now_s);
}

absl::StatusOr<bool> Evolution::InsertCase(const HyperVector& sketch, std::string_view plan,
                                           std::string_view tags, double r, uint32_t now_s) {
  if (!options_.cases_enabled) return false;
  const bool full = cases_.cases().size() >= static_cast<size_t>(options_.cases.cases_max);
  const int64_t more = full ? 0 : static_cast<int64_t>(kCaseBytes);
  if (!Admit(GrowthClass::kEpisodic, cases_.bytes(), more)) return false;
  return cases_.Insert(sketch, plan, tags, r, now_s);
}

std::optional<Advice> Evolution::AskGuidelines(const HyperVector& context) {
  if (!options_.guidelines_enabled) return std::nullopt;
  return guidelines_.Ask(context);
}

absl::Status Evolution::RecordAdviceOutcome(const Advice& advice, double outcome) {
  if (!Admit(GrowthClass::kGuidelines, guidelines_.bytes(), 0)) return absl::OkStatus();
  return guidelines_.RecordOutcome(advice, outcome);
}

void Evolution::TrustCandidate() {
  const bool watched =
      candidate_tokens_ >= options_.safety.monitor_tokens &&
      (!options_.contrastive_validation || candidate_evaluations_ >= kMonitoredEvaluations);
  if (!candidate_.has_value() || !watched || safety_.state() != EvolutionState::kNormal) return;
  good_ = *std::exchange(candidate_, std::nullopt);
}

absl::Status Evolution::Checkpoint() {
  CHIMERA_RETURN_IF_ERROR(Recover());
  CHIMERA_RETURN_IF_ERROR(Flush());
  TrustCandidate();
  if (!candidate_.has_value() && safety_.state() == EvolutionState::kNormal) {
    candidate_ = Live();
    candidate_tokens_ = 0;
    candidate_evaluations_ = 0;
  }
  CHIMERA_RETURN_IF_ERROR(file_.Write(Sections()));
  return SweepStore();
}

absl::Status Evolution::Recover() {
  if (!rollback_due_) return absl::OkStatus();
  CHIMERA_ASSIGN_OR_RETURN(EpisodicCases cases, EpisodicCases::Decode(options_.cases, good_.cases));
  CHIMERA_ASSIGN_OR_RETURN(Guidelines guidelines,
                           Guidelines::Decode(*codes_, options_.guidelines, good_.guidelines));
  pending_.clear();
  candidate_.reset();
  live_ = good_.pool;
  cases_ = std::move(cases);
  guidelines_ = std::move(guidelines);
  if (safety_.state() == EvolutionState::kFrozen) CHIMERA_RETURN_IF_ERROR(safety_.Restored());
  // The file first: after a crash here the rollback has happened, and Open sweeps the store.
  CHIMERA_RETURN_IF_ERROR(file_.Write(Sections()));
  CHIMERA_RETURN_IF_ERROR(SweepStore());
  for (const PooledFact& fact : live_.Facts()) {
    CHIMERA_RETURN_IF_ERROR(store_->SetWeight(fact.id, fact.trial.weight));
  }
  rollback_due_ = false;
  ++counters_.rollbacks;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Evolution::UserReset() {
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<EvolutionStore::Held> held, store_->List());
  for (const EvolutionStore::Held& fact : held) CHIMERA_RETURN_IF_ERROR(store_->Drop(fact.id));
  live_ = FactPool(options_.pool);
  cases_ = EpisodicCases(options_.cases);
  guidelines_ = Guidelines(*codes_, options_.guidelines);
  safety_.Reset();
  good_ = Live();
  candidate_.reset();
  pending_.clear();
  rollback_due_ = false;
  gate_ = WriteGate(options_.gate);
  counters_ = {};
  return file_.Reset();
}

}  // namespace chimera
