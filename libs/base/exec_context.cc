#include "base/exec_context.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/check.h"

namespace chimera {
namespace {

// CPUs allowed by cgroup v2's "quota period" line, rounded up; 0 when there is no limit.
int CgroupCpus() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  int64_t period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 0;
  int64_t quota_us = 0;
  for (char c : quota) {
    if (c < '0' || c > '9' || quota_us > (int64_t{1} << 40)) return 0;
    quota_us = quota_us * 10 + (c - '0');
  }
  return static_cast<int>((quota_us + period - 1) / period);
}

}  // namespace

int UsableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cpus = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
  if (const int quota = CgroupCpus(); quota > 0) cpus = std::min(cpus, quota);
  return std::max(1, cpus);
}

ExecContext::ExecContext(int threads) {
  CHIMERA_CHECK(threads >= 1);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { WorkerLoop(); });
}

ExecContext::~ExecContext() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
  }
  start_.NotifyAll();
  for (std::thread& worker : workers_) worker.join();
}

void ExecContext::RunShare() {
  for (int64_t i = next_.fetch_add(1); i < n_; i = next_.fetch_add(1)) (*body_)(i);
}

void ExecContext::ParallelFor(int64_t n, absl::FunctionRef<void(int64_t)> body) {
  if (workers_.empty() || n <= 1) {
    for (int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  {
    MutexLock lock(&mutex_);
    body_ = &body;
    n_ = n;
    next_.store(0);
    busy_ = static_cast<int>(workers_.size());
    ++generation_;
  }
  start_.NotifyAll();
  RunShare();
  MutexLock lock(&mutex_);
  while (busy_ > 0) done_.Wait(&mutex_);
}

void ExecContext::WorkerLoop() {
  uint64_t seen = 0;
  while (true) {
    {
      MutexLock lock(&mutex_);
      while (!stop_ && generation_ == seen) start_.Wait(&mutex_);
      if (stop_) return;
      seen = generation_;
    }
    RunShare();
    bool last = false;
    {
      MutexLock lock(&mutex_);
      last = --busy_ == 0;
    }
    if (last) done_.NotifyOne();
  }
}

}  // namespace chimera
