#include "cluster/pass_scheduler.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"

namespace chimera {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
// A stream whose step was in the last pass is waited for: at most this share of that pass.
constexpr int64_t kRegularsShare = 8;
// Steps count as running so long after the last one, in passes.
constexpr int64_t kQuietPasses = 4;
constexpr int kSliceRowsMin = 8;

int64_t Now() { return Clock::Real().NowNs(); }

// The lock is open while it lives.
class ABSL_SCOPED_LOCKABLE Unlocked {
 public:
  explicit Unlocked(Mutex* mutex) ABSL_UNLOCK_FUNCTION(mutex) : mutex_(mutex) { mutex_->unlock(); }
  ~Unlocked() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_->lock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  Mutex* mutex_;
};

}  // namespace

PassScheduler::PassScheduler(int threads, OnSteps on_steps)
    : exec_(threads), on_steps_(std::move(on_steps)) {
  // More waiters than this make the lists grow; none is ever refused.
  batch_jobs_.reserve(Stepper::kBatchMax);
  for (auto* waiters : {&steps_, &prompts_, &batch_}) waiters->reserve(Stepper::kBatchMax);
}

std::shared_ptr<PassEngine> PassScheduler::EngineOf(const std::shared_ptr<const Model>& model) {
  {
    MutexLock lock(&mutex_);
    if (std::shared_ptr<PassEngine> engine = FindEngine(*model)) return engine;
  }
  // Takes a while, for which nobody waits; somebody else may make one, too.
  auto made = std::make_shared<PassEngine>(model, &exec_);
  MutexLock lock(&mutex_);
  if (std::shared_ptr<PassEngine> engine = FindEngine(*model)) return engine;
  engines_.push_back(made);
  return made;
}

std::shared_ptr<PassEngine> PassScheduler::FindEngine(const Model& model) {
  std::erase_if(engines_, [](const auto& weak) { return weak.expired(); });
  for (const std::weak_ptr<PassEngine>& weak : engines_) {
    std::shared_ptr<PassEngine> engine = weak.lock();
    if (engine != nullptr && &engine->model() == &model) return engine;
  }
  return nullptr;
}

bool PassScheduler::Run(PassEngine* engine, PassJob* job, const PassLimits& limits) {
  Waiter waiter;
  waiter.engine = engine;
  waiter.job = job;
  waiter.limits = limits;
  return Wait(&waiter);
}

bool PassScheduler::RunAlone(absl::FunctionRef<void(ExecContext*)> body, const PassLimits& limits) {
  Waiter waiter;
  waiter.body = &body;
  waiter.limits = limits;
  return Wait(&waiter);
}

void PassScheduler::Wake() {
  MutexLock lock(&mutex_);
  for (const auto* waiters : {&steps_, &prompts_}) {
    for (Waiter* waiter : *waiters) waiter->wake.NotifyOne();
  }
}

bool PassScheduler::Wait(Waiter* waiter) {
  MutexLock lock(&mutex_);
  const PassJob* const job = waiter->job;
  const bool step = job == nullptr || job->rows.size() <= static_cast<size_t>(kStepRowsMax) ||
                    job->rows[0].window != nullptr;
  (step ? steps_ : prompts_).push_back(waiter);
  if (step && regulars_ > 0 && --regulars_ == 0) arrived_.NotifyOne();
  while (!waiter->done) {
    // What runs is waited for; between slices without a leader nothing does.
    if (GivesUp(waiter) && !(waiter->running && led_)) {
      Remove(waiter);
      break;
    }
    if (!led_) {
      led_ = true;
      Lead(waiter);
      led_ = false;
      continue;
    }
    const int64_t deadline_ns = waiter->limits.deadline_ns;
    const int64_t left_ns = deadline_ns == 0 || waiter->gave_up
                                ? kSecondNs
                                : std::clamp<int64_t>(deadline_ns - Now(), 0, kSecondNs);
    waiter->wake.WaitFor(&mutex_, std::chrono::nanoseconds(left_ns));
  }
  if (!led_) HandOver();
  return waiter->done && !waiter->gave_up;
}

bool PassScheduler::GivesUp(Waiter* waiter) {
  const PassLimits& limits = waiter->limits;
  waiter->gave_up = waiter->gave_up || limits.cancelled->load(std::memory_order_relaxed) ||
                    (limits.deadline_ns != 0 && Now() >= limits.deadline_ns);
  return waiter->gave_up;
}

// Somebody who waits takes over.
void PassScheduler::HandOver() {
  if (!steps_.empty()) {
    steps_.front()->wake.NotifyOne();
  } else if (!prompts_.empty()) {
    prompts_.front()->wake.NotifyOne();
  }
}

void PassScheduler::Lead(Waiter* waiter) {
  while (!waiter->done && !GivesUp(waiter)) {
    if (!steps_.empty()) AwaitRegulars();
    if (!steps_.empty()) RunSteps();  // those that waited may have given up
    // Slices until the steps that wait meanwhile have lent all they may.
    while (!prompts_.empty() && !waiter->done && (steps_.empty() || credit_ns_ > 0)) {
      RunPromptSlice();
    }
  }
}

void PassScheduler::AwaitRegulars() {
  const int64_t until_ns = steps_end_ns_ + steps_ns_ / kRegularsShare;
  while (regulars_ > 0) {
    const int64_t left_ns = until_ns - Now();
    if (left_ns <= 0) break;
    arrived_.WaitFor(&mutex_, std::chrono::nanoseconds(left_ns));
  }
}

void PassScheduler::RunSteps() {
  batch_.clear();
  batch_jobs_.clear();
  PassEngine* const engine = steps_.front()->engine;
  size_t rows = 0;
  for (auto it = steps_.begin(); it != steps_.end();) {
    Waiter* const waiter = *it;
    const bool first = batch_.empty();
    const size_t more = waiter->job == nullptr ? 0 : waiter->job->rows.size();
    const bool fits = first || (engine != nullptr && waiter->engine == engine &&
                                rows + more <= size_t{Stepper::kBatchMax});
    if (!fits || (!first && GivesUp(waiter))) {
      ++it;
      continue;
    }
    rows += more;
    waiter->running = true;
    batch_.push_back(waiter);
    batch_jobs_.push_back(waiter->job);
    it = steps_.erase(it);
  }
  const int64_t begin_ns = Now();
  {
    Unlocked open(&mutex_);
    if (engine == nullptr) {
      (*batch_[0]->body)(&exec_);
    } else {
      engine->RunSteps(batch_jobs_);
      if (on_steps_) on_steps_(*engine, static_cast<int>(rows), Now() - begin_ns);
    }
  }
  steps_end_ns_ = Now();
  steps_ns_ = steps_end_ns_ - begin_ns;
  credit_ns_ = std::min(credit_ns_, int64_t{0}) + steps_ns_ / 2;
  regulars_ = static_cast<int>(batch_.size());
  for (Waiter* waiter : batch_) Finish(waiter);
}

// Few enough that the slice fits what steps that run may lend, all when none run.
int PassScheduler::SliceRows() const {
  const bool quiet = steps_.empty() && Now() - steps_end_ns_ > kQuietPasses * steps_ns_;
  if (quiet || slice_row_ns_ == 0) return Stepper::kPrefillMax;
  const double rows = static_cast<double>(steps_ns_ / 2) / slice_row_ns_;
  return std::clamp(static_cast<int>(rows), kSliceRowsMin, int{Stepper::kPrefillMax});
}

void PassScheduler::RunPromptSlice() {
  Waiter* const waiter = prompts_.front();
  PassEngine* const engine = waiter->engine;
  if (GivesUp(waiter)) {
    Remove(waiter);
    Finish(waiter);
    return;
  }
  // Prompts take turns, shorter ones where several wait.
  const int chunk_max = prompts_.size() > 1 ? Stepper::kBatchMax : Stepper::kPrefillMax;
  if (!waiter->running) engine->StartPrompt(waiter->job, waiter->rows_done, chunk_max);
  waiter->running = true;
  const int slice_max = SliceRows();
  const int64_t begin_ns = Now();
  bool chunk_done = false;
  {
    Unlocked open(&mutex_);
    chunk_done = engine->AdvancePrompt(slice_max);
  }
  const int64_t took_ns = Now() - begin_ns;
  credit_ns_ = std::max(credit_ns_ - took_ns, -steps_ns_);
  if (engine->slice_rows() > 0) {
    const double row_ns = static_cast<double>(took_ns) / engine->slice_rows();
    slice_row_ns_ += slice_row_ns_ == 0 ? row_ns : 0.1 * (row_ns - slice_row_ns_);
  }
  if (!chunk_done) return;
  waiter->rows_done = engine->prompt_end();
  waiter->running = false;
  engine->DropPrompt();
  prompts_.erase(prompts_.begin());
  if (waiter->rows_done == static_cast<int>(waiter->job->rows.size())) {
    Finish(waiter);
  } else {
    prompts_.push_back(waiter);  // the next prompt has its turn
  }
}

// A waiter that gave up, from wherever it stands.
void PassScheduler::Remove(Waiter* waiter) {
  if (!prompts_.empty() && prompts_.front() == waiter && waiter->running) {
    waiter->engine->DropPrompt();
    waiter->running = false;
  }
  std::erase(steps_, waiter);
  std::erase(prompts_, waiter);
}

void PassScheduler::Finish(Waiter* waiter) {
  waiter->running = false;
  waiter->done = true;
  waiter->wake.NotifyOne();
}

}  // namespace chimera
