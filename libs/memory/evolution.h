// One user's learning, tied together (math-inference-training C.6, D.3, D.4, D.9): gate -> pool ->
// validation -> guidelines, watched by the safety state and kept in one state file. Facts
// themselves are in a store behind an interface.
//
// Three generations of what was learned exist: *live*, in use; *candidate*, a copy of it that waits
// to be trusted; *good*, the last candidate that was followed by 256 tokens and 64 contrastive
// evaluations without a monitor firing. When one fires, live becomes good again. The store holds
// the facts of all three, so nothing a rollback needs is ever gone. What the user stores or forgets
// himself happens in all three at once and in every state.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "memory/episodic_cases.h"
#include "memory/fact_pool.h"
#include "memory/guidelines.h"
#include "memory/safety_state.h"
#include "memory/state_file.h"
#include "memory/write_gate.h"

namespace chimera {

struct EvolutionOptions {
  bool memory_growth = true;           // tier1.memory_growth.enabled
  bool contrastive_validation = true;  // tier1.memory_growth.contrastive_validation
  bool user_store = true;              // tier1.memory_growth.user_explicit_store
  bool guidelines_enabled = true;      // tier2.meta_guidelines.enabled
  bool cases_enabled = true;           // tier2.episodic_cases.enabled
  bool rollback = true;                // safety.rollback_on_degradation; false: stays frozen
  WriteGateOptions gate;
  ContrastiveOptions contrastive;
  FactPoolOptions pool;
  EpisodicOptions cases;
  GuidelineOptions guidelines;
  SafetyOptions safety;
};

struct ProposedFact {
  uint64_t id = 0;
  HyperVector sketch;
  std::string text;
};

// What Evolution needs of a store of facts, for one user. Calls are made one at a time and may be
// repeated after an error: putting a fact that is there and dropping one that is not are OK.
class EvolutionStore {
 public:
  struct Held {
    uint64_t id = 0;
    bool pinned = false;
  };
  virtual ~EvolutionStore() = default;
  virtual absl::Status Put(const ProposedFact& fact, bool pinned) = 0;
  virtual absl::Status Drop(uint64_t id) = 0;
  virtual absl::Status SetWeight(uint64_t id, float weight) = 0;
  virtual absl::StatusOr<std::vector<Held>> List() = 0;
  // Of all facts, as the ceiling counts them.
  virtual int64_t Bytes() const = 0;
};

// One contrastive evaluation, as the session made it.
struct Evaluation {
  uint64_t fact_id = 0;
  double nll_with = 0;     // nats over the window, the fact readable
  double nll_without = 0;  // the same window, the fact masked
  int tokens = 0;
  HyperVector context;  // of the retrieval
  // What a guideline would say, should this have done harm.
  GuidelineAction action = GuidelineAction::kIgnoreItemClass;
  std::string guideline_text;
};

struct EvolutionCounters {
  uint64_t proposed = 0;   // facts offered by the session
  uint64_t written = 0;    // that went into the pool
  uint64_t refused = 0;    // by the safety state or a ceiling
  uint64_t evaluated = 0;  // contrastive evaluations
  uint64_t rejected = 0;   // facts dropped by their evaluations
  uint64_t rollbacks = 0;
};

// Thread-compatible; borrows codes and store.
class Evolution {
 public:
  // Reads the state file and brings pool and store together: facts of the user that the store has
  // are pooled and pinned, other facts the pool does not know are dropped, and what the store has
  // lost leaves the pool. An interrupted rollback is finished.
  static absl::StatusOr<std::unique_ptr<Evolution>> Open(const EvolutionOptions& options,
                                                         const ActionCodes& codes,
                                                         EvolutionStore* store,
                                                         const std::string& state_path);

  // A new session: a new gate.
  void StartSession() { gate_ = WriteGate(options_.gate); }
  // One committed token. True when the session should Propose a fact made of what it just read.
  // Allocates nothing unless a monitor fires, which rolls back; the error is the rollback's, and
  // evolution stays frozen until Recover succeeds.
  absl::StatusOr<bool> OnToken(double surprise, bool failed);

  // Takes a fact in that the session came to by itself; it is stored with its batch of
  // pool.batch_max, or by Flush. False when learning is off, frozen, on probation or at its
  // ceiling.
  absl::StatusOr<bool> Propose(ProposedFact fact);
  absl::Status Flush();
  // A fact the user stores: at once, pinned, in every state. RESOURCE_EXHAUSTED at the ceiling or
  // when everything in the pool is pinned; FAILED_PRECONDITION when user_store is off.
  absl::Status Remember(const ProposedFact& fact);
  // Out of pool, store and every snapshot. False when it was nowhere.
  absl::StatusOr<bool> Forget(uint64_t id);

  // Whether retrieving this fact is to be evaluated; facts of the user never are.
  bool WantsEvaluation(uint64_t fact_id) const;
  // kDrop: the fact has been dropped. NOT_FOUND when it is not in the pool.
  absl::StatusOr<TrialVerdict> OnEvaluation(const Evaluation& evaluation);

  // Whether a retrieved fact may be used: it is in the live pool.
  bool IsReadable(uint64_t id) const { return live_.Find(id) != nullptr; }
  std::vector<CaseChoice> RetrieveCases(const HyperVector& sketch, bool explore);
  // Both false when the safety state or a ceiling refused.
  absl::StatusOr<bool> RecordCaseOutcome(const CaseChoice& choice, double r, uint32_t now_s);
  absl::StatusOr<bool> InsertCase(const HyperVector& sketch, std::string_view plan,
                                  std::string_view tags, double r, uint32_t now_s);
  std::optional<Advice> AskGuidelines(const HyperVector& context);
  absl::Status RecordAdviceOutcome(const Advice& advice, double outcome);

  // Writes the state file; in NORMAL also makes a candidate of live when there is none. To be
  // called at the end of a session and whenever WantsCheckpoint says so.
  absl::Status Checkpoint();
  bool WantsCheckpoint() const { return live_.WantsSnapshot(); }
  // Finishes a rollback that an error interrupted; OK when there is nothing to do.
  absl::Status Recover();
  // Forgets everything, the user's facts included, and returns the state file's hash
  // (StateFile::Reset).
  absl::StatusOr<std::string> UserReset();

  const SafetyState& safety() const { return safety_; }
  const FactPool& pool() const { return live_; }
  const EpisodicCases& cases() const { return cases_; }
  const Guidelines& guidelines() const { return guidelines_; }
  const EvolutionCounters& counters() const { return counters_; }
  int64_t pending() const { return static_cast<int64_t>(pending_.size()); }
  uint64_t epoch() const { return file_.image().epoch; }

 private:
  struct Snapshot {
    FactPool pool;
    std::string cases;       // EpisodicCases::Encode
    std::string guidelines;  // Guidelines::Encode
  };

  Evolution(const EvolutionOptions& options, const ActionCodes& codes, EvolutionStore* store,
            StateFile file);
  absl::Status Load();
  absl::Status MeetStore();
  Snapshot Live() const;
  std::map<StateSection, std::string> Sections();
  void TrustCandidate();
  bool IsNeeded(uint64_t id) const;
  absl::Status DropUnneeded(std::span<const uint64_t> ids);
  absl::Status SweepStore();
  bool Admit(GrowthClass growth, int64_t bytes_now, int64_t bytes_more);

  EvolutionOptions options_;
  const ActionCodes* codes_;
  EvolutionStore* store_;
  StateFile file_;
  WriteGate gate_;
  FactPool live_;
  EpisodicCases cases_;
  Guidelines guidelines_;
  SafetyState safety_;
  Snapshot good_;
  std::optional<Snapshot> candidate_;
  int64_t candidate_tokens_ = 0;       // seen since it was made
  int64_t candidate_evaluations_ = 0;  // likewise
  bool rollback_due_ = false;
  std::vector<ProposedFact> pending_;
  EvolutionCounters counters_;
};

}  // namespace chimera
