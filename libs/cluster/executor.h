// A service's own threads (DESIGN D21): a gRPC reaction only posts here and returns, so the
// library's two callback threads are never held. The queue is bounded; what does not fit is refused
// at once instead of waiting somewhere unseen.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace chimera {

// Thread-safe.
class Executor {
 public:
  using Task = std::function<void()>;
  using Ticket = uint64_t;

  // name is for error messages ("completion"). queue_max tasks may wait beside the running ones.
  Executor(std::string name, int threads, size_t queue_max);
  ~Executor();  // Stop
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // First come, first served. RESOURCE_EXHAUSTED when the queue is full, UNAVAILABLE after Stop.
  absl::StatusOr<Ticket> Post(Task task);
  // True when the task was still waiting and now never runs.
  bool Remove(Ticket ticket);
  // Runs what is queued, then joins the threads. Idempotent; not from a task.
  void Stop();

  size_t waiting() const;
  size_t running() const;

 private:
  void WorkerLoop();

  const std::string name_;
  const size_t queue_max_;
  mutable Mutex mutex_;
  CondVar wake_;
  std::map<Ticket, Task> queue_ ABSL_GUARDED_BY(mutex_);
  Ticket next_ticket_ ABSL_GUARDED_BY(mutex_) = 1;
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> workers_;
};

// Calls a function at a steady interval on a thread of its own until destroyed. Thread-safe.
class Ticker {
 public:
  Ticker(int interval_ms, std::function<void()> tick);
  ~Ticker();

 private:
  Mutex mutex_;
  CondVar wake_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace chimera
