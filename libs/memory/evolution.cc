#include "memory/evolution.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "hdc/hypervector.h"

namespace chimera {
namespace {

// What the ceiling counts of a fact before it is stored.
int64_t BytesOf(const ProposedFact& fact) {
  return static_cast<int64_t>(kHyperBytes + fact.text.size());
}

}  // namespace

Evolution::Evolution(const EvolutionOptions& options, EvolutionStore* store, StateFile file)
    : options_(options),
      store_(store),
      file_(std::move(file)),
      gate_(options.gate),
      live_(options.pool),
      safety_(options.safety),
      good_{.pool = live_, .banks = {}} {}

absl::StatusOr<std::unique_ptr<Evolution>> Evolution::Open(const EvolutionOptions& options,
                                                           EvolutionStore* store,
                                                           const std::string& state_path) {
  CHIMERA_ASSIGN_OR_RETURN(StateFile file, StateFile::Open(state_path));
  std::unique_ptr<Evolution> evolution(new Evolution(options, store, std::move(file)));
  CHIMERA_RETURN_IF_ERROR(evolution->Load());
  CHIMERA_RETURN_IF_ERROR(evolution->Recover());
  CHIMERA_RETURN_IF_ERROR(evolution->MeetStore());
  return evolution;
}

absl::Status Evolution::Load() {
  const auto& sections = file_.image().sections;
  if (sections.empty()) return absl::OkStatus();
  for (const StateSection section :
       {StateSection::kFactPool, StateSection::kSafety, StateSection::kGoodFactPool,
        StateSection::kGoodCases, StateSection::kGoodGuidelines}) {
    if (sections.contains(section)) continue;
    return absl::DataLossError(
        absl::StrCat("state file: section ", static_cast<uint32_t>(section), " is missing"));
  }
  const auto bytes = [&](StateSection section) -> const std::string& {
    return sections.at(section);
  };
  CHIMERA_ASSIGN_OR_RETURN(live_, FactPool::Decode(options_.pool, bytes(StateSection::kFactPool)));
  CHIMERA_ASSIGN_OR_RETURN(safety_,
                           SafetyState::Decode(options_.safety, bytes(StateSection::kSafety)));
  CHIMERA_ASSIGN_OR_RETURN(good_.pool,
                           FactPool::Decode(options_.pool, bytes(StateSection::kGoodFactPool)));
  good_.banks = {.cases = bytes(StateSection::kGoodCases),
                 .guidelines = bytes(StateSection::kGoodGuidelines)};
  rollback_due_ = options_.rollback && safety_.state() == EvolutionState::kFrozen;
  return absl::OkStatus();
}

absl::Status Evolution::MeetStore() {
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<uint64_t> held, store_->List());
  const std::unordered_set<uint64_t> in_store(held.begin(), held.end());
  for (FactPool* pool : {&live_, &good_.pool}) {
    for (const PooledFact& fact : pool->Facts()) {
      if (!in_store.contains(fact.id)) pool->Erase(fact.id);
    }
  }
  if (file_.image().epoch == 0) {
    for (const uint64_t id : held) {
      const PooledFact fact{.id = id};
      CHIMERA_RETURN_IF_ERROR(live_.Append({&fact, 1}).status());
    }
    good_.pool = live_;
    CHIMERA_ASSIGN_OR_RETURN(good_.banks, store_->Banks());
  }
  return SweepStore();
}

absl::Status Evolution::SweepStore() {
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<uint64_t> held, store_->List());
  return DropUnneeded(held);
}

std::map<StateSection, std::string> Evolution::Sections() {
  return {{StateSection::kFactPool, live_.Encode()},
          {StateSection::kSafety, safety_.Encode()},
          {StateSection::kGoodFactPool, good_.pool.Encode()},
          {StateSection::kGoodCases, good_.banks.cases},
          {StateSection::kGoodGuidelines, good_.banks.guidelines}};
}

bool Evolution::IsNeeded(uint64_t id) const {
  return live_.Find(id) != nullptr || good_.pool.Find(id) != nullptr ||
         (candidate_.has_value() && candidate_->pool.Find(id) != nullptr);
}

absl::Status Evolution::DropUnneeded(std::span<const uint64_t> ids) {
  std::vector<uint64_t> unneeded;
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(unneeded),
               [this](uint64_t id) { return !IsNeeded(id); });
  return unneeded.empty() ? absl::OkStatus() : store_->Drop(unneeded);
}

int64_t Evolution::bytes() const {
  constexpr int64_t kPooledBytes = 80;
  const auto of = [](const Snapshot& snapshot) {
    return snapshot.pool.size() * kPooledBytes +
           static_cast<int64_t>(snapshot.banks.cases.size() + snapshot.banks.guidelines.size());
  };
  return live_.size() * kPooledBytes + of(good_) + (candidate_ ? of(*candidate_) : 0);
}

absl::Status Evolution::Admit(GrowthClass growth, int64_t bytes_now, int64_t bytes_more) {
  absl::Status status = safety_.CheckGrowth(growth, bytes_now, bytes_more);
  if (status.ok() && (rollback_due_ || !safety_.AdmitWrite())) {
    status = absl::FailedPreconditionError(
        absl::StrCat("learning is ", EvolutionStateName(safety_.state()), " (",
                     FreezeReasonName(safety_.reason()), ")",
                     safety_.state() == EvolutionState::kProbation
                         ? absl::StrCat(", which lets one write in ",
                                        options_.safety.probation_one_in, " through")
                         : ""));
  }
  counters_.refused += !status.ok();
  return status;
}

absl::StatusOr<bool> Evolution::OnToken(double surprise, bool failed, bool offered) {
  ++candidate_tokens_;
  const bool write = offered && gate_.Observe(surprise) && options_.memory_growth;
  if (safety_.OnToken(failed)) {
    rollback_due_ = options_.rollback;
    CHIMERA_RETURN_IF_ERROR(Recover());
    return false;
  }
  return write;
}

absl::StatusOr<int> Evolution::Propose(std::span<const ProposedFact> facts) {
  CHIMERA_CHECK(!facts.empty() && facts.size() <= static_cast<size_t>(options_.pool.batch_max));
  counters_.proposed += facts.size();
  if (!options_.memory_growth) return 0;
  std::vector<PooledFact> batch;
  std::vector<ProposedFact> fresh;
  const int64_t now = store_->Bytes();
  int64_t more = 0;
  for (const ProposedFact& fact : facts) {
    const auto same = [&fact](const auto& other) { return other.id == fact.id; };
    if (live_.Find(fact.id) != nullptr || std::any_of(batch.begin(), batch.end(), same) ||
        std::any_of(fresh.begin(), fresh.end(), same) ||
        !Admit(GrowthClass::kMemory, now + more, BytesOf(fact)).ok()) {
      continue;
    }
    if (IsNeeded(fact.id)) {  // another generation has it: the store does, too
      batch.push_back({.id = fact.id});
      continue;
    }
    more += BytesOf(fact);
    fresh.push_back(fact);
  }
  // Into the store first: the pool never names a fact that the store does not have.
  std::vector<uint64_t> stored;
  if (!fresh.empty()) {
    absl::StatusOr<std::vector<uint64_t>> put = store_->Put(fresh);
    if (!put.ok() && !absl::IsResourceExhausted(put.status())) return put.status();
    if (put.ok()) stored = *std::move(put);
    counters_.refused += fresh.size() - stored.size();
    for (const uint64_t id : stored) batch.push_back({.id = id});
  }
  if (batch.empty()) return 0;
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<uint64_t> gone, live_.Append(batch));
  counters_.written += batch.size();
  CHIMERA_RETURN_IF_ERROR(DropUnneeded(gone));
  return static_cast<int>(batch.size());
}

bool Evolution::WantsEvaluation(uint64_t fact_id) const {
  return options_.contrastive_validation && IsEvaluated(options_.contrastive, fact_id) &&
         live_.Find(fact_id) != nullptr;
}

absl::StatusOr<Judgement> Evolution::OnEvaluation(const Evaluation& evaluation) {
  Judgement judgement;
  CHIMERA_ASSIGN_OR_RETURN(judgement.delta,
                           ContrastiveDelta(options_.contrastive, evaluation.nll_with,
                                            evaluation.nll_without, evaluation.tokens));
  const PooledFact* held = live_.Find(evaluation.fact_id);
  if (held == nullptr) return absl::NotFoundError("evaluation of a fact that is not in the pool");
  ++counters_.evaluated;
  ++candidate_evaluations_;
  if (safety_.OnEvaluation(judgement.delta)) {
    rollback_due_ = options_.rollback;
    CHIMERA_RETURN_IF_ERROR(Recover());
    return judgement;
  }
  if (safety_.state() == EvolutionState::kFrozen || safety_.state() == EvolutionState::kOff) {
    return judgement;  // nothing is written, weights neither
  }
  judgement.counted = true;
  FactTrial trial = held->trial;
  judgement.verdict = RecordTrial(options_.contrastive, judgement.delta, &trial);
  if (judgement.verdict == TrialVerdict::kDrop) {
    live_.Erase(evaluation.fact_id);
    ++counters_.rejected;
    CHIMERA_RETURN_IF_ERROR(DropUnneeded({&evaluation.fact_id, 1}));
    return judgement;
  }
  CHIMERA_RETURN_IF_ERROR(live_.SetTrial(evaluation.fact_id, trial));
  CHIMERA_RETURN_IF_ERROR(store_->SetWeight(evaluation.fact_id, trial.weight));
  return judgement;
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
  TrustCandidate();
  if (!candidate_.has_value() && safety_.state() == EvolutionState::kNormal) {
    CHIMERA_ASSIGN_OR_RETURN(LearnedBanks banks, store_->Banks());
    candidate_ = {.pool = live_, .banks = std::move(banks)};
    candidate_tokens_ = 0;
    candidate_evaluations_ = 0;
  }
  CHIMERA_RETURN_IF_ERROR(file_.Write(Sections()));
  return SweepStore();
}

absl::Status Evolution::Recover() {
  if (!rollback_due_) return absl::OkStatus();
  // May have been done before an error; doing it again is harmless.
  CHIMERA_RETURN_IF_ERROR(store_->RestoreBanks(good_.banks));
  candidate_.reset();
  live_ = good_.pool;
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

absl::StatusOr<std::string> Evolution::Reset() {
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<uint64_t> held, store_->List());
  if (!held.empty()) CHIMERA_RETURN_IF_ERROR(store_->Drop(held));
  live_ = FactPool(options_.pool);
  safety_.Reset();
  good_ = {.pool = live_, .banks = {}};
  candidate_.reset();
  rollback_due_ = false;
  gate_ = WriteGate(options_.gate);
  counters_ = {};
  return file_.Reset();
}

}  // namespace chimera
