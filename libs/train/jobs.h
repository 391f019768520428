// Training jobs: a queue that runs one job at a time on its own thread, survives restarts, and can
// be watched without polling (FEATURES T4). A job killed with its process goes on from its last
// checkpoint when the next JobRunner opens the folder, and ends with the same bits.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "train/jobs_spec.h"
#include "train/jobs_store.h"

namespace chimera {

inline constexpr int kJobPageMax = 500;
inline constexpr int kJobPageDefault = 50;

// Takes a model folder, returns the id under which it is served now.
using PublishFn = std::function<absl::StatusOr<std::string>(const std::string& model_folder)>;

struct JobRunnerOptions {
  std::string folder;  // holds one folder a job
  JobRules rules;
  std::vector<std::string> tokenizer_paths;  // FindTokenizer looks here
  int checkpoint_interval_s = 300;           // overrides the recipe's
  int threads = 0;                           // 0: the recipe's
  int max_jobs = 64;                         // queued and running together
  PublishFn publish;                         // empty: publishing is refused
  const Clock* clock = &Clock::Real();       // borrowed
};

// Newest first.
struct JobPage {
  std::vector<Job> jobs;
  std::string next_page_token;  // empty on the last page
};

// Calls may read and write small files; none waits for training. Thread-safe.
class JobRunner {
 public:
  // Opens the folder, queues again what was queued or running, and starts.
  static absl::StatusOr<std::unique_ptr<JobRunner>> Create(const JobRunnerOptions& options);
  // Ends the step in flight and writes a checkpoint: the job goes on with the next JobRunner.
  ~JobRunner();
  JobRunner(const JobRunner&) = delete;
  JobRunner& operator=(const JobRunner&) = delete;

  // PrepareJob's errors; RESOURCE_EXHAUSTED when max_jobs are queued or running.
  absl::StatusOr<Job> Submit(const JobSpec& spec);
  // NOT_FOUND, or INVALID_ARGUMENT for something that is no id; so do all calls with an id.
  absl::StatusOr<Job> Get(const std::string& job_id) const;
  // page_size 1..500, 0 means 50; page_token: next_page_token of the page before.
  absl::StatusOr<JobPage> List(int page_size, const std::string& page_token) const;
  // A queued job ends at once, a running one after its step in flight: the answer may still say
  // running. A cancelled job stays so; FAILED_PRECONDITION for one that succeeded or failed.
  absl::StatusOr<Job> Cancel(const std::string& job_id);
  // Queues a cancelled or failed job again, behind the others. FAILED_PRECONDITION otherwise.
  absl::StatusOr<Job> Resume(const std::string& job_id);
  // Publishes the model of a job that succeeded, on the caller's thread; returns the model id.
  absl::StatusOr<std::string> Publish(const std::string& job_id);

  // A number that grows with every change of any job.
  uint64_t version() const;
  // Waits until version() > seen, until timeout, or for WakeWaiters; returns version().
  uint64_t WaitForChange(uint64_t seen, std::chrono::milliseconds timeout) const;
  // Makes calls of WaitForChange that wait now return.
  void WakeWaiters();

  struct Counts {
    int queued = 0;
    int running = 0;
    int finished = 0;
  };
  Counts CountJobs() const;
  std::string ModelFolder(const std::string& job_id) const { return store_.ModelFolder(job_id); }

 private:
  JobRunner(const JobRunnerOptions& options, JobStore store);

  absl::Status Recover();
  void Loop();
  void RunJob(Job job);
  absl::StatusOr<TrainResult> Train(const Job& job);
  void OnProgress(const std::string& job_id, const TrainProgress& progress);
  bool ShouldStop() const;
  // Sets how a run ended; cancelled or stopped runs have finished = false.
  void Finish(const std::string& job_id, const absl::StatusOr<TrainResult>& result);
  std::string NewJobId() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Job*> Find(const std::string& job_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Bumps versions and wakes watchers.
  void Changed(Job* job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Changed, and on disk; a disk that fails is logged, the job in memory is right.
  void ChangedAndSaved(Job* job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const JobRunnerOptions options_;
  const JobStore store_;
  mutable Mutex mutex_;
  mutable CondVar work_;     // the queue or stop_ changed
  mutable CondVar changed_;  // version_ or wakes_ changed
  std::map<std::string, Job> jobs_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, std::string> by_sequence_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> queue_ ABSL_GUARDED_BY(mutex_);
  std::string running_ ABSL_GUARDED_BY(mutex_);  // id, or empty
  bool cancel_running_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t next_queue_order_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t saved_progress_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t wakes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace chimera
