// The trainer service as the command line sees it: JobRunner's verbs over the wire.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "train/jobs.h"

namespace chimera {

// Calls run on the caller's thread. Thread-safe.
class TrainerClient {
 public:
  // HOST:PORT. Connects on first use.
  explicit TrainerClient(const std::string& address);
  ~TrainerClient();

  absl::StatusOr<Job> Submit(const JobSpec& spec);
  absl::StatusOr<Job> Get(const std::string& job_id);
  absl::StatusOr<JobPage> List(int page_size, const std::string& page_token);
  absl::StatusOr<Job> Cancel(const std::string& job_id);
  absl::StatusOr<Job> Resume(const std::string& job_id);
  absl::StatusOr<std::string> Publish(const std::string& job_id);
  // Calls on_change with every state the server sends, until the job ends; returns the last one. A
  // trainer that restarts is waited for.
  absl::StatusOr<Job> Watch(const std::string& job_id,
                            const std::function<void(const Job&)>& on_change);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
