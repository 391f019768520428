// What each user's model learned from how things went: episodic cases (math-inference-training
// D.4), guidelines (D.3) and entities (C.5), kept in a LocalMemory as records of their classes and
// as the section "entities", and the facts that it wrote down by itself (C.6, D.9; evolution.h), of
// which a state file in a folder of the user's own says which are in use. What is acknowledged is
// on disk, synced; main memory holds copies of the users that were here last.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "hdc/entity_codes.h"
#include "memory/entity_memory.h"
#include "memory/episodic_cases.h"
#include "memory/evolution.h"
#include "memory/guidelines.h"
#include "memory/learn_batch.h"
#include "memory/learning_types.h"
#include "memory/rocksdb_store.h"

namespace chimera {

struct UserLearningOptions {
  EvolutionOptions evolution;
  EpisodicOptions cases;        // chosen_max is FindCases' business
  GuidelineOptions guidelines;  // as self_evolution.tier2 has them
  bool cases_enabled = true;
  bool guidelines_enabled = true;
  bool user_store = true;  // tier1.memory_growth.user_explicit_store
  // Holds a folder for each user who has learned, with his state file.
  std::string state_folder;  // empty: "learning" in the folder of the store
  std::string state_file = "chimera51_evolution.state";
  // Copies beyond either bound go, those of the user who was here least recently first, but never
  // one in use.
  size_t users_max = 64;
  int64_t bytes_max = int64_t{64} << 20;
  const Clock* clock = &Clock::Real();  // borrowed
};

// Since construction, of all users.
struct LearningFigures {
  int64_t case_retrievals = 0;     // situations that cases were asked for
  int64_t case_hits = 0;           // of those: a case was within EpisodicOptions::hit_distance
  int64_t guidelines_advised = 0;  // questions that got advice
  // What Learn did: LearnReport's figures, summed up.
  int64_t written = 0;
  int64_t refused = 0;
  int64_t evaluated = 0;
  int64_t rejected = 0;
  int64_t rollbacks = 0;
  int64_t guidelines_made = 0;  // by harm that Learn was told of
  // Users whose copies are here and whose learning is not in the state "normal".
  int64_t users_held_back = 0;
};

// Errors as in memory.h. While a user's learning is frozen or off, on probation for most calls, and
// at a ceiling, what would add to cases and guidelines is refused (Evolution::Admit). A record that
// is no case or guideline, which only an import can bring, is left where it is, logged by id and
// not used. The calls of one user run one after the other, those of different users beside each
// other. Writes are Source::kUser: synced before they return. After a write that failed the next
// call reads what the store has. Thread-safe.
class UserLearning {
 public:
  // The memory is borrowed, and its Reset and Import are called through this object only.
  explicit UserLearning(LocalMemory* memory, const UserLearningOptions& options = {});
  ~UserLearning();

  // One answer for each case, in order. All are kept or none. At kCasesPerUserMax each new case
  // takes the place of the weakest, which goes first: a write that fails, or a crash, may leave
  // neither.
  absl::StatusOr<std::vector<AddedCase>> AddCases(const std::string& user,
                                                  std::span<const NewCase> cases);
  // For each situation at most k cases, most probable first.
  absl::StatusOr<std::vector<std::vector<FoundCase>>> FindCases(
      const std::string& user, std::span<const std::string> situations, int k);
  // Returns how many of the cases were there.
  absl::StatusOr<int64_t> RecordCaseOutcomes(const std::string& user,
                                             std::span<const CaseOutcome> outcomes);

  absl::StatusOr<LearnedGuideline> LearnGuideline(const std::string& user,
                                                  const NewGuideline& guideline);
  // Nothing when no guideline is near enough, or too little weight is behind them. Counts as a
  // retrieval; retrievals since the last write to the bank are forgotten with the copy, so that
  // after a restart a guideline may be protected for longer, never for less.
  absl::StatusOr<std::optional<GivenAdvice>> AskGuidelines(const std::string& user,
                                                           const std::string& context);
  // How following advice went, for those that voted for it; returns how many were there.
  absl::StatusOr<int64_t> RecordAdviceOutcome(const std::string& user,
                                              std::span<const std::string> guideline_ids,
                                              double outcome);

  // One answer for each statement, in order. All are kept or none.
  absl::StatusOr<std::vector<EntityChange>> SetEntities(
      const std::string& user, std::span<const EntityStatement> statements);
  // False when there was no such entity.
  absl::StatusOr<bool> ForgetEntity(const std::string& user, const std::string& name);
  absl::StatusOr<std::vector<EntityInfo>> ListEntities(const std::string& user,
                                                       const EntityFilter& filter);

  // Memory::Learn. Facts are made of offered tokens, the sentence around each that surprised
  // (sentence.h); a fact that did harm in a context teaches a guideline to ignore its like there.
  absl::StatusOr<LearnReport> Learn(const std::string& user, const LearnBatch& batch);
  // Of facts recalled for a query: leaves out what the machine wrote down and no longer stands for,
  // or what the user's guidelines say to ignore in such a context, and marks what is to be
  // evaluated. Facts of other origin stay as they are. What cannot be looked up is left out.
  void Sift(const std::string& user, const std::string& query, std::vector<RecalledFact>* facts);
  // FAILED_PRECONDITION where the user's own facts are switched off.
  absl::Status CheckUserStore() const;

  // LocalMemory's, and what this object has of the user goes, the state file included.
  absl::StatusOr<int64_t> Reset(const std::string& user);
  absl::StatusOr<ImportReport> Import(const std::string& user, std::string_view lines,
                                      int64_t first_line);

  LearningFigures Figures();
  // Bytes of main memory that the copies take.
  int64_t CacheBytes();

 private:
  // A user's copies; each part is read when it is first used.
  struct State {
    Mutex mutex;  // held across disk access
    std::optional<EpisodicCases> cases ABSL_GUARDED_BY(mutex);
    std::optional<Guidelines> guidelines ABSL_GUARDED_BY(mutex);
    std::optional<EntityMemory> entities ABSL_GUARDED_BY(mutex);
    uint64_t entities_epoch ABSL_GUARDED_BY(mutex) = 0;
    std::unique_ptr<EvolutionStore> evolved_facts ABSL_GUARDED_BY(mutex);
    std::unique_ptr<Evolution> evolution ABSL_GUARDED_BY(mutex);
    std::atomic<EvolutionState> evolution_state{EvolutionState::kNormal};
    std::atomic<int64_t> bytes{0};
  };
  using StatePointer = std::shared_ptr<State>;
  struct Held {
    std::string user;
    StatePointer state;
  };

  class EvolvedFacts;  // the user's store as his Evolution sees it

  // user_learning_evolve.cc: the parts of Learn, and what a write by the machine has to pass.
  absl::Status LearnTokens(const std::string& user, std::span<const ReadToken> tokens, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  absl::Status LearnEvaluations(const std::string& user,
                                std::span<const FactEvaluation> evaluations, State* state,
                                LearnReport* report) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  // Whether it was made; context is the sketch of the guideline's.
  absl::StatusOr<bool> KeepGuideline(const std::string& user, const HyperVector& context,
                                     const NewGuideline& guideline, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  // The same.
  absl::StatusOr<bool> LearnFromHarm(const std::string& user, const FactEvaluation& evaluation,
                                     double delta, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  absl::Status AdmitCases(const std::string& user, size_t more, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  absl::Status AdmitGuidelines(const std::string& user, size_t more_bytes, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  absl::Status NeedEvolution(const std::string& user, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  absl::Status ResetEvolution(const std::string& user, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  EpisodicOptions CaseOptions() const;
  std::string StateFolderOf(const std::string& user) const;

  // user_learning_store.cc has what follows. The user's state, which stays the only one of the user
  // while it is held:
  StatePointer Pin(const std::string& user);
  // Moves copies beyond the bounds to gone.
  void Trim(std::list<Held>* gone) ABSL_EXCLUSIVE_LOCKS_REQUIRED(users_mutex_);
  static void Count(State* state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  static void Drop(State* state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  // The parts, read from the store when they are not there.
  absl::Status NeedCases(const std::string& user, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  absl::Status NeedGuidelines(const std::string& user, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  absl::Status NeedEntities(const std::string& user, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  // What a change made of the parts, to the store. Drops the part on error.
  absl::Status WriteCases(const std::string& user, std::span<const uint64_t> changed,
                          std::span<const uint64_t> gone, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  absl::Status WriteGuidelines(const std::string& user, std::span<const uint64_t> changed,
                               std::span<const uint64_t> gone, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);
  absl::Status Replace(const std::string& user, RecordClass record_class,
                       std::span<const MemoryRecord> records, std::span<const uint64_t> gone);
  absl::Status WriteEntities(const std::string& user, State* state)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(state->mutex);

  LocalMemory* const memory_;
  const UserLearningOptions options_;
  const ActionCodes action_codes_;
  const EntityCodes entity_codes_;
  std::atomic<int64_t> case_retrievals_{0}, case_hits_{0}, guidelines_advised_{0};
  Mutex learned_mutex_;
  LearnReport learned_ ABSL_GUARDED_BY(learned_mutex_);  // sums

  Mutex users_mutex_;                                     // held for look-ups only
  std::list<Held> recent_ ABSL_GUARDED_BY(users_mutex_);  // last user first
  std::unordered_map<std::string, std::list<Held>::iterator> users_ ABSL_GUARDED_BY(users_mutex_);
};

}  // namespace chimera
