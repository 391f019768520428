#include "train/jobs.h"

#include <sys/resource.h>

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "train/jobs_tokenizer.h"

namespace chimera {
namespace {

constexpr int64_t kSaveProgressNs = 5'000'000'000;
constexpr int kTrainingNiceness = 10;  // serving goes first on a shared machine

std::string MessageOf(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobRunner>> JobRunner::Create(const JobRunnerOptions& options) {
  CHIMERA_ASSIGN_OR_RETURN(JobStore store, JobStore::Open(options.folder));
  std::unique_ptr<JobRunner> runner(new JobRunner(options, std::move(store)));
  CHIMERA_RETURN_IF_ERROR(runner->Recover());
  runner->thread_ = std::thread([self = runner.get()] { self->Loop(); });
  return runner;
}

JobRunner::JobRunner(const JobRunnerOptions& options, JobStore store)
    : options_(options), store_(std::move(store)) {}

JobRunner::~JobRunner() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
    ++wakes_;
    work_.NotifyAll();
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

absl::Status JobRunner::Recover() {
  CHIMERA_ASSIGN_OR_RETURN(std::vector<Job> jobs, store_.Load());
  MutexLock lock(&mutex_);
  std::vector<std::tuple<bool, int64_t, std::string>> waiting;
  for (Job& job : jobs) {
    next_sequence_ = std::max(next_sequence_, job.sequence + 1);
    next_queue_order_ = std::max(next_queue_order_, job.queue_order + 1);
    by_sequence_[job.sequence] = job.job_id;
    if (!IsTerminal(job.state)) {
      // What ran goes on first.
      waiting.emplace_back(job.state != JobState::kRunning, job.queue_order, job.job_id);
      job.state = JobState::kQueued;
    }
    job.version = version_;
    const std::string id = job.job_id;
    jobs_[id] = std::move(job);
  }
  std::sort(waiting.begin(), waiting.end());
  for (const auto& [behind, order, id] : waiting) queue_.push_back(id);
  if (!queue_.empty()) LogInfo(absl::StrCat("going on with ", queue_.size(), " training jobs"));
  return absl::OkStatus();
}

absl::StatusOr<Job> JobRunner::Submit(const JobSpec& spec) {
  Job job;
  job.spec = spec;
  CHIMERA_RETURN_IF_ERROR(PrepareJob(options_.rules, &job));
  CHIMERA_ASSIGN_OR_RETURN(const TrainRecipe recipe, JobRecipe(options_.rules, job));
  CHIMERA_RETURN_IF_ERROR(
      FindTokenizer(options_.tokenizer_paths, recipe.config.tokens.n_ranks).status());
  job.progress.steps_total = recipe.StepsTotal();
  job.created_ms = options_.clock->WallMs();
  MutexLock lock(&mutex_);
  if (stop_) return absl::UnavailableError("the trainer is shutting down");
  const size_t active = queue_.size() + (running_.empty() ? 0 : 1);
  if (active >= static_cast<size_t>(options_.max_jobs)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        active, " jobs are queued or running, the limit is ", options_.max_jobs, "; try later"));
  }
  if (jobs_.size() >= kJobsStoredMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the trainer holds ", jobs_.size(), " jobs, the limit is ", kJobsStoredMax,
                     "; remove folders of old jobs and restart it"));
  }
  job.job_id = NewJobId();
  job.sequence = next_sequence_++;
  job.queue_order = next_queue_order_++;
  if (absl::Status status = store_.Save(job); !status.ok()) {
    store_.Remove(job.job_id);
    return status;
  }
  by_sequence_[job.sequence] = job.job_id;
  Job& stored = jobs_[job.job_id] = job;
  queue_.push_back(job.job_id);
  Changed(&stored);
  work_.NotifyAll();
  return stored;
}

absl::StatusOr<Job> JobRunner::Get(const std::string& job_id) const {
  CHIMERA_RETURN_IF_ERROR(ValidateJobId(job_id));
  MutexLock lock(&mutex_);
  const auto it = jobs_.find(job_id);
  if (it == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", job_id));
  return it->second;
}

absl::StatusOr<JobPage> JobRunner::List(int page_size, const std::string& page_token) const {
  if (page_size < 0 || page_size > kJobPageMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size ", page_size, " is outside 0..", kJobPageMax));
  }
  if (page_size == 0) page_size = kJobPageDefault;
  MutexLock lock(&mutex_);
  auto at = by_sequence_.rbegin();
  if (!page_token.empty()) {
    const auto it = jobs_.find(page_token);
    if (it == jobs_.end()) {
      return absl::InvalidArgumentError("page_token is not one that an earlier page gave");
    }
    at = std::make_reverse_iterator(by_sequence_.lower_bound(it->second.sequence));
  }
  JobPage page;
  for (; at != by_sequence_.rend(); ++at) {
    if (static_cast<int>(page.jobs.size()) == page_size) {
      page.next_page_token = page.jobs.back().job_id;
      break;
    }
    page.jobs.push_back(jobs_.at(at->second));
  }
  return page;
}

absl::StatusOr<Job> JobRunner::Cancel(const std::string& job_id) {
  MutexLock lock(&mutex_);
  CHIMERA_ASSIGN_OR_RETURN(Job * job, Find(job_id));
  if (job->state == JobState::kCancelled) return *job;
  if (IsTerminal(job->state)) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job_id, " has ", JobStateName(job->state),
                     "; only queued and running jobs can be cancelled"));
  }
  if (running_ == job_id) {
    cancel_running_ = true;
    return *job;
  }
  std::erase(queue_, job_id);
  job->state = JobState::kCancelled;
  job->finished_ms = options_.clock->WallMs();
  ChangedAndSaved(job);
  return *job;
}

absl::StatusOr<Job> JobRunner::Resume(const std::string& job_id) {
  MutexLock lock(&mutex_);
  CHIMERA_ASSIGN_OR_RETURN(Job * job, Find(job_id));
  if (job->state != JobState::kCancelled && job->state != JobState::kFailed) {
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job_id, " is ", JobStateName(job->state),
                     "; only cancelled and failed jobs can be resumed"));
  }
  const size_t active = queue_.size() + (running_.empty() ? 0 : 1);
  if (active >= static_cast<size_t>(options_.max_jobs)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        active, " jobs are queued or running, the limit is ", options_.max_jobs, "; try later"));
  }
  job->state = JobState::kQueued;
  job->error.clear();
  job->finished_ms = 0;
  job->queue_order = next_queue_order_++;
  queue_.push_back(job_id);
  ChangedAndSaved(job);
  work_.NotifyAll();
  return *job;
}

absl::StatusOr<std::string> JobRunner::Publish(const std::string& job_id) {
  {
    MutexLock lock(&mutex_);
    CHIMERA_ASSIGN_OR_RETURN(const Job* job, Find(job_id));
    if (job->state != JobState::kSucceeded) {
      return absl::FailedPreconditionError(
          absl::StrCat("job ", job_id, " is ", JobStateName(job->state),
                       "; only a job that succeeded has a model to publish"));
    }
  }
  if (!options_.publish) {
    return absl::FailedPreconditionError("this trainer knows no knot to publish to");
  }
  CHIMERA_ASSIGN_OR_RETURN(const std::string model_id, options_.publish(ModelFolder(job_id)));
  MutexLock lock(&mutex_);
  CHIMERA_ASSIGN_OR_RETURN(Job * job, Find(job_id));
  job->published = true;
  job->error.clear();
  ChangedAndSaved(job);
  return model_id;
}

uint64_t JobRunner::version() const {
  MutexLock lock(&mutex_);
  return version_;
}

uint64_t JobRunner::WaitForChange(uint64_t seen, std::chrono::milliseconds timeout) const {
  const auto until = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(&mutex_);
  const uint64_t wakes = wakes_;
  while (version_ <= seen && wakes_ == wakes && !stop_) {
    const auto left = until - std::chrono::steady_clock::now();
    if (left <= std::chrono::nanoseconds(0)) break;
    changed_.WaitFor(&mutex_, left);
  }
  return version_;
}

void JobRunner::WakeWaiters() {
  MutexLock lock(&mutex_);
  ++wakes_;
  changed_.NotifyAll();
}

JobRunner::Counts JobRunner::CountJobs() const {
  MutexLock lock(&mutex_);
  Counts counts;
  counts.queued = static_cast<int>(queue_.size());
  counts.running = running_.empty() ? 0 : 1;
  counts.finished = static_cast<int>(jobs_.size()) - counts.queued - counts.running;
  return counts;
}

void JobRunner::Loop() {
  // Threads that training starts inherit it.
  ::setpriority(PRIO_PROCESS, 0, kTrainingNiceness);
  while (true) {
    Job job;
    {
      MutexLock lock(&mutex_);
      while (queue_.empty() && !stop_) work_.Wait(&mutex_);
      if (stop_) return;
      running_ = queue_.front();
      queue_.pop_front();
      cancel_running_ = false;
      Job& stored = jobs_.at(running_);
      stored.state = JobState::kRunning;
      if (stored.started_ms == 0) stored.started_ms = options_.clock->WallMs();
      ChangedAndSaved(&stored);
      job = stored;
    }
    RunJob(std::move(job));
  }
}

void JobRunner::RunJob(Job job) {
  const absl::StatusOr<TrainResult> result = Train(job);
  if (!result.ok() || !result->finished || !job.spec.publish) {
    Finish(job.job_id, result);
    return;
  }
  // The job is still running while its model is on its way, so that success means: it is served.
  const absl::Status published =
      options_.publish ? options_.publish(result->model_folder).status()
                       : absl::FailedPreconditionError("this trainer knows no knot to publish to");
  MutexLock lock(&mutex_);
  Job& stored = jobs_.at(job.job_id);
  stored.published = published.ok();
  if (!published.ok()) {
    stored.error = absl::StrCat("trained, but not published: ", published.message());
    LogWarning(absl::StrCat("job ", job.job_id, " ", stored.error));
  }
  stored.state = JobState::kSucceeded;
  stored.progress = result->progress;
  stored.model_id = result->model_id;
  stored.finished_ms = options_.clock->WallMs();
  running_.clear();
  ChangedAndSaved(&stored);
}

absl::StatusOr<TrainResult> JobRunner::Train(const Job& job) {
  CHIMERA_ASSIGN_OR_RETURN(TrainRecipe recipe, JobRecipe(options_.rules, job));
  recipe.checkpoint_interval_s = options_.checkpoint_interval_s;
  if (options_.threads > 0) recipe.threads = options_.threads;
  TrainOptions train;
  // Again: links may have moved since the job was submitted.
  CHIMERA_ASSIGN_OR_RETURN(train.data_path,
                           ResolveJobPath(options_.rules, "data_path", job.data_path));
  if (!recipe.init_model.empty()) {
    // A run that has a checkpoint does not need it any more.
    const absl::StatusOr<std::string> init =
        ResolveJobPath(options_.rules, "train.init_model", recipe.init_model);
    if (!init.ok() && !absl::IsNotFound(init.status())) return init.status();
    if (init.ok()) recipe.init_model = *init;
  }
  train.work_folder = store_.WorkFolder(job.job_id);
  CHIMERA_ASSIGN_OR_RETURN(train.tokenizer,
                           FindTokenizer(options_.tokenizer_paths, recipe.config.tokens.n_ranks));
  train.on_progress = [&](const TrainProgress& progress) {
    TrainProgress shown = progress;
    shown.eta_s = RemainingSeconds(recipe, progress);
    OnProgress(job.job_id, shown);
  };
  train.should_stop = [this] { return ShouldStop(); };
  return RunTraining(recipe, train);
}

bool JobRunner::ShouldStop() const {
  MutexLock lock(&mutex_);
  return stop_ || cancel_running_;
}

void JobRunner::OnProgress(const std::string& job_id, const TrainProgress& progress) {
  MutexLock lock(&mutex_);
  Job& job = jobs_.at(job_id);
  const bool saved = progress.checkpoint_step != job.progress.checkpoint_step;
  job.progress = progress;
  const int64_t now_ns = options_.clock->NowNs();
  if (!saved && now_ns - saved_progress_ns_ < kSaveProgressNs) return Changed(&job);
  saved_progress_ns_ = now_ns;
  ChangedAndSaved(&job);
}

void JobRunner::Finish(const std::string& job_id, const absl::StatusOr<TrainResult>& result) {
  MutexLock lock(&mutex_);
  Job& job = jobs_.at(job_id);
  running_.clear();
  if (result.ok()) job.progress = result->progress;
  const bool stopped = result.ok() && !result->finished && !cancel_running_;
  if (stopped) {
    // Still running, says the disk: the next process goes on.
    queue_.push_front(job_id);
    ChangedAndSaved(&job);
    return;
  }
  job.finished_ms = options_.clock->WallMs();
  if (!result.ok()) {
    job.state = JobState::kFailed;
    job.error = MessageOf(result.status());
    LogWarning(absl::StrCat("job ", job_id, " failed: ", job.error));
  } else if (!result->finished) {
    job.state = JobState::kCancelled;
  } else {
    job.state = JobState::kSucceeded;
    job.model_id = result->model_id;
  }
  ChangedAndSaved(&job);
}

std::string JobRunner::NewJobId() {
  std::random_device random;
  while (true) {
    const std::string id = absl::StrFormat("%08x%08x", random(), random());
    if (jobs_.find(id) == jobs_.end()) return id;
  }
}

absl::StatusOr<Job*> JobRunner::Find(const std::string& job_id) {
  CHIMERA_RETURN_IF_ERROR(ValidateJobId(job_id));
  const auto it = jobs_.find(job_id);
  if (it == jobs_.end()) return absl::NotFoundError(absl::StrCat("there is no job ", job_id));
  return &it->second;
}

void JobRunner::Changed(Job* job) {
  job->version = ++version_;
  changed_.NotifyAll();
}

void JobRunner::ChangedAndSaved(Job* job) {
  Changed(job);
  if (absl::Status status = store_.Save(*job); !status.ok()) {
    LogError(absl::StrCat("job ", job->job_id, " is not on disk as it is: ", status.message()));
  }
}

}  // namespace chimera
