// Where work runs. An ExecContext is passed to everything that may use more than one thread;
// there is no global pool. Work is cut by shape, never by thread count, so results do not depend
// on how many threads there are (DESIGN D2).
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "base/mutex.h"

namespace chimera {

// The number of CPUs this process may really use: affinity mask and cgroup quota, at least 1.
int UsableCpus();

// Thread-compatible: one ParallelFor at a time. Threads that wait spin for some tens of
// microseconds, the gap between two products of a decode step, and sleep after that.
class ExecContext {
 public:
  // threads >= 1 counts the calling thread; 1 means no pool at all.
  explicit ExecContext(int threads = 1);
  ~ExecContext();
  ExecContext(const ExecContext&) = delete;
  ExecContext& operator=(const ExecContext&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Runs body(i) once for every i in [0, n), on any thread, the caller's included; returns when all
  // are done. The body must not call ParallelFor on the same context.
  void ParallelFor(int64_t n, absl::FunctionRef<void(int64_t)> body);

 private:
  void WorkerLoop();
  void RunShare();
  bool WaitForJob(uint64_t seen);
  void WaitForWorkers();

  std::vector<std::thread> workers_;
  // The job in flight; written before generation_ advances, read by workers after.
  const absl::FunctionRef<void(int64_t)>* body_ = nullptr;
  int64_t n_ = 0;
  std::atomic<int64_t> next_{0};
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> busy_{0};  // workers that have not finished the job
  std::atomic<bool> stop_{false};
  // Who sleeps is announced before it looks a last time, so nobody is missed.
  std::atomic<int> sleeping_workers_{0};
  std::atomic<bool> caller_sleeps_{false};
  Mutex mutex_;
  CondVar start_;
  CondVar done_;
};

}  // namespace chimera
