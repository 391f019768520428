// Shares the cores between streams (continuous batching). Steps and windows that wait at the same
// time run as the rows of one pass, with every thread. A prompt runs beside them in slices, half a
// layer of some of its rows, which take at most half as long again as the steps did. Streams never
// change each other's text.
//
// There is no thread of its own: one of the waiting callers leads, that is, runs passes for all
// until its own job is done, then another one takes over. A stream that is alone runs its steps
// itself, without a hand-over.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/exec_context.h"
#include "base/mutex.h"
#include "cluster/pass_engine.h"

namespace chimera {

// Jobs of at most so many rows are steps, as are windows; longer ones are prompts.
inline constexpr int kStepRowsMax = 4;

// When a caller gives up: *cancelled became true, or Clock::Real() passed deadline_ns (0: never).
struct PassLimits {
  const std::atomic<bool>* cancelled = nullptr;
  int64_t deadline_ns = 0;
};

// Thread-safe.
class PassScheduler {
 public:
  // A pass of steps has ended: its rows, and how long it took with its head. Called by whoever ran
  // it, without a lock.
  using OnSteps = std::function<void(const PassEngine&, int rows, int64_t ns)>;

  explicit PassScheduler(int threads, OnSteps on_steps = nullptr);

  // For all streams of a model; lives as long as one of them holds it.
  std::shared_ptr<PassEngine> EngineOf(const std::shared_ptr<const Model>& model);

  // Waits until the job is done. False: its caller gave up; its state is somewhere within the rows
  // and must not be used any more. A pass under way is waited for.
  bool Run(PassEngine* engine, PassJob* job, const PassLimits& limits);
  // Waits until nothing else runs, then calls body, which may use every thread. False: the caller
  // gave up, the body never ran.
  bool RunAlone(absl::FunctionRef<void(ExecContext*)> body, const PassLimits& limits);
  // Lets waiting callers look at their limits.
  void Wake();

 private:
  struct Waiter {
    PassEngine* engine = nullptr;  // null: runs alone
    PassJob* job = nullptr;
    const absl::FunctionRef<void(ExecContext*)>* body = nullptr;
    PassLimits limits;
    int rows_done = 0;     // of a prompt
    bool running = false;  // in a pass, or in one of its slices
    bool done = false;
    bool gave_up = false;
    CondVar wake;
  };

  std::shared_ptr<PassEngine> FindEngine(const Model& model) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Wait(Waiter* waiter);
  bool GivesUp(Waiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Lead(Waiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandOver() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AwaitRegulars() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunSteps() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RunPromptSlice() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int SliceRows() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove(Waiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Finish(Waiter* waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  ExecContext exec_;
  const OnSteps on_steps_;
  Mutex mutex_;
  bool led_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Waiter*> steps_ ABSL_GUARDED_BY(mutex_);    // in order of arrival
  std::vector<Waiter*> prompts_ ABSL_GUARDED_BY(mutex_);  // the first one is on its way
  std::vector<std::weak_ptr<PassEngine>> engines_ ABSL_GUARDED_BY(mutex_);
  // The pass in flight; only the leader touches them.
  std::vector<Waiter*> batch_;
  std::vector<PassJob*> batch_jobs_;
  // The leader waits here for streams whose steps were in the last pass.
  CondVar arrived_;
  int regulars_ ABSL_GUARDED_BY(mutex_) = 0;          // of them, those not back yet
  int64_t steps_end_ns_ ABSL_GUARDED_BY(mutex_) = 0;  // when the last pass of steps ended ...
  int64_t steps_ns_ ABSL_GUARDED_BY(mutex_) = 0;      // ... and how long it took
  int64_t credit_ns_ ABSL_GUARDED_BY(mutex_) = 0;     // what prompts may take before the next one
  double slice_row_ns_ ABSL_GUARDED_BY(mutex_) = 0;   // one row in one slice, about
};

}  // namespace chimera
