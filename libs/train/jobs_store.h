// Jobs on disk. <jobs folder>/<job id>/ holds
//   job.json   what JobToJson writes: the spec, the recipe fixed at submission, state, progress
//   work/      the trainer's: checkpoint.ckpt, curve.svg, and model/ when the job succeeded
// and <jobs folder>/LOCK is held by the process that runs them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "train/jobs_spec.h"

namespace chimera {

inline constexpr int kJobsStoredMax = 10'000;

// One process at a time: the folder is locked while the store lives. Thread-compatible.
class JobStore {
 public:
  // Creates the folder when missing. FAILED_PRECONDITION when another process holds it.
  static absl::StatusOr<JobStore> Open(const std::string& folder);
  JobStore(JobStore&& other) noexcept;
  JobStore& operator=(JobStore&&) = delete;
  ~JobStore();

  // All jobs by sequence. Damaged ones are left alone, logged and not listed.
  absl::StatusOr<std::vector<Job>> Load() const;
  // Atomic and durable; creates the job's folder when missing.
  absl::Status Save(const Job& job) const;
  // Removes a job that was never acknowledged.
  void Remove(const std::string& job_id) const;

  std::string JobFolder(const std::string& job_id) const { return folder_ + "/" + job_id; }
  std::string WorkFolder(const std::string& job_id) const { return JobFolder(job_id) + "/work"; }
  std::string ModelFolder(const std::string& job_id) const { return WorkFolder(job_id) + "/model"; }

 private:
  JobStore(std::string folder, int lock_fd) : folder_(std::move(folder)), lock_fd_(lock_fd) {}

  std::string folder_;
  int lock_fd_;
};

// The text of job.json, and back. INVALID_ARGUMENT names the key that is missing or of a wrong
// type.
std::string JobToJson(const Job& job);
absl::StatusOr<Job> JobFromJson(const std::string& text);

}  // namespace chimera
