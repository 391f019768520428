#include "base/exec_context.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
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

// How long a thread waits awake: longer than what one thread does alone between two parts of a step
// that all share, shorter than anybody would notice.
constexpr auto kSpinTime = std::chrono::microseconds(50);
constexpr int kSpinsPerLook = 32;  // at the clock

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// False when it did not come true in time.
template <typename Condition>
bool SpinUntil(const Condition& condition) {
  const auto until = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kSpinsPerLook; ++i) {
      if (condition()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < until);
  return false;
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
  stop_.store(true);
  generation_.fetch_add(1);
  { MutexLock lock(&mutex_); }
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
  body_ = &body;
  n_ = n;
  next_.store(0);
  busy_.store(static_cast<int>(workers_.size()));
  generation_.fetch_add(1);
  if (sleeping_workers_.load() > 0) {
    { MutexLock lock(&mutex_); }
    start_.NotifyAll();
  }
  RunShare();
  WaitForWorkers();
}

void ExecContext::WaitForWorkers() {
  if (SpinUntil([this] { return busy_.load() == 0; })) return;
  MutexLock lock(&mutex_);
  caller_sleeps_.store(true);
  while (busy_.load() > 0) done_.Wait(&mutex_);
  caller_sleeps_.store(false);
}

// False when the context ends.
bool ExecContext::WaitForJob(uint64_t seen) {
  const auto there = [this, seen] { return generation_.load() != seen; };
  if (!SpinUntil(there)) {
    MutexLock lock(&mutex_);
    sleeping_workers_.fetch_add(1);
    while (!there()) start_.Wait(&mutex_);
    sleeping_workers_.fetch_sub(1);
  }
  return !stop_.load();
}

void ExecContext::WorkerLoop() {
  for (uint64_t seen = 0; WaitForJob(seen); ++seen) {
    RunShare();
    if (busy_.fetch_sub(1) > 1 || !caller_sleeps_.load()) continue;
    { MutexLock lock(&mutex_); }
    done_.NotifyOne();
  }
}

}  // namespace chimera
