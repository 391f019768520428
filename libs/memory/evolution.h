// What one user's machine writes into his memory by itself, tied together (math-inference-training
// C.6, D.9): gate -> pool -> validation, watched by the safety state and kept in one state file.
// The facts, and beside them the banks of cases and guidelines, are in a store behind an interface.
//
// Three generations of what was learned exist: *live*, in use; *candidate*, a copy of it that waits
// to be trusted; *good*, the last candidate that was followed by 256 tokens and 64 contrastive
// evaluations without a monitor firing. When one fires, live becomes good again. The store holds
// the facts of all three, so nothing a rollback needs is ever gone; of the banks it holds what is
// live, and the state file the other two. What the user says or forgets himself is the store's
// business alone: a fact of his is no fact of these, and one he has forgotten is in no generation.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "memory/fact_pool.h"
#include "memory/safety_state.h"
#include "memory/state_file.h"
#include "memory/write_gate.h"

namespace chimera {

struct EvolutionOptions {
  bool memory_growth = true;           // tier1.memory_growth.enabled
  bool contrastive_validation = true;  // tier1.memory_growth.contrastive_validation
  bool rollback = true;                // safety.rollback_on_degradation; false: stays frozen
  WriteGateOptions gate;
  ContrastiveOptions contrastive;
  FactPoolOptions pool;
  SafetyOptions safety;
};

struct ProposedFact {
  uint64_t id = 0;
  std::string text;
};

// Cases and guidelines, each as its bank encodes itself; "" is an empty bank.
struct LearnedBanks {
  std::string cases;
  std::string guidelines;
};

// What Evolution needs of a store, for one user. Calls are made one at a time and may be repeated
// after an error.
class EvolutionStore {
 public:
  virtual ~EvolutionStore() = default;
  // All or none. Returns the ids of those that are now facts which Put stored; a fact that was
  // there already, as the user said it or from elsewhere, is none. RESOURCE_EXHAUSTED when there is
  // no room.
  virtual absl::StatusOr<std::vector<uint64_t>> Put(std::span<const ProposedFact> facts) = 0;
  // Those that are not there, or have become the user's, are passed over.
  virtual absl::Status Drop(std::span<const uint64_t> ids) = 0;
  virtual absl::Status SetWeight(uint64_t id, float weight) = 0;
  // Facts that Put stored and the user has not said since.
  virtual absl::StatusOr<std::vector<uint64_t>> List() = 0;
  // Of all facts, as the ceiling counts them.
  virtual int64_t Bytes() const = 0;
  virtual absl::StatusOr<LearnedBanks> Banks() = 0;
  virtual absl::Status RestoreBanks(const LearnedBanks& banks) = 0;
};

// One contrastive evaluation, as the session made it.
struct Evaluation {
  uint64_t fact_id = 0;
  double nll_with = 0;     // nats over the window, the fact readable
  double nll_without = 0;  // the same window, the fact masked
  int tokens = 0;
};

struct Judgement {
  TrialVerdict verdict = TrialVerdict::kOpen;  // kDrop: the fact has been dropped
  double delta = 0;                            // nats a token that the fact was worth
  bool counted = false;  // false: learning stood still, and nothing was written
};

struct EvolutionCounters {
  uint64_t proposed = 0;   // facts offered by the session
  uint64_t written = 0;    // that went into the pool
  uint64_t refused = 0;    // writes that the safety state, a ceiling or the store refused
  uint64_t evaluated = 0;  // contrastive evaluations
  uint64_t rejected = 0;   // facts dropped by their evaluations
  uint64_t rollbacks = 0;
};

// Thread-compatible; borrows the store.
class Evolution {
 public:
  // Reads the state file and brings pool and store together: what the store has lost leaves the
  // pool, and facts that the pool does not know leave the store. Without a state, as after a
  // restore, they are taken into the pool instead. An interrupted rollback is finished.
  static absl::StatusOr<std::unique_ptr<Evolution>> Open(const EvolutionOptions& options,
                                                         EvolutionStore* store,
                                                         const std::string& state_path);

  // One committed token. offered: what was just read may be written down; true is the answer when
  // it should be. Allocates nothing unless a monitor fires, which rolls back; the error is the
  // rollback's, and evolution stays frozen until Recover succeeds.
  absl::StatusOr<bool> OnToken(double surprise, bool failed, bool offered);

  // Takes 1 .. pool.batch_max facts in that the session came to by itself and returns how many were
  // written: none when learning is off, frozen or at its ceiling, few on probation.
  absl::StatusOr<int> Propose(std::span<const ProposedFact> facts);

  // Whether retrieving this fact is to be evaluated.
  bool WantsEvaluation(uint64_t fact_id) const;
  // NOT_FOUND when the fact is not in the pool.
  absl::StatusOr<Judgement> OnEvaluation(const Evaluation& evaluation);

  // Whether a retrieved fact of these may be used: it is in the live pool.
  bool IsReadable(uint64_t id) const { return live_.Find(id) != nullptr; }

  // Whether the machine may write bytes_more to a bank (or to the facts) now; counts a write that
  // is let through on probation. The error names what stands against it: FAILED_PRECONDITION for
  // the safety state, RESOURCE_EXHAUSTED for the ceiling.
  absl::Status Admit(GrowthClass growth, int64_t bytes_now, int64_t bytes_more);

  // Writes the state file; in NORMAL also makes a candidate of live when there is none.
  absl::Status Checkpoint();
  // Finishes a rollback that an error interrupted; OK when there is nothing to do.
  absl::Status Recover();
  // Drops every fact of these, forgets everything and returns the state file's hash
  // (StateFile::Reset). The banks are the caller's to empty.
  absl::StatusOr<std::string> Reset();

  const SafetyState& safety() const { return safety_; }
  const FactPool& pool() const { return live_; }
  const EvolutionCounters& counters() const { return counters_; }
  uint64_t epoch() const { return file_.image().epoch; }
  // Of main memory, about.
  int64_t bytes() const;

 private:
  struct Snapshot {
    FactPool pool;
    LearnedBanks banks;
  };

  Evolution(const EvolutionOptions& options, EvolutionStore* store, StateFile file);
  absl::Status Load();
  absl::Status MeetStore();
  std::map<StateSection, std::string> Sections();
  void TrustCandidate();
  bool IsNeeded(uint64_t id) const;
  absl::Status DropUnneeded(std::span<const uint64_t> ids);
  absl::Status SweepStore();

  EvolutionOptions options_;
  EvolutionStore* store_;
  StateFile file_;
  WriteGate gate_;
  FactPool live_;
  SafetyState safety_;
  Snapshot good_;
  std::optional<Snapshot> candidate_;
  int64_t candidate_tokens_ = 0;       // seen since it was made
  int64_t candidate_evaluations_ = 0;  // likewise
  bool rollback_due_ = false;
  EvolutionCounters counters_;
};

}  // namespace chimera
