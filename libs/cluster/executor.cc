#include "cluster/executor.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace chimera {

Executor::Executor(std::string name, int threads, size_t queue_max)
    : name_(std::move(name)), queue_max_(queue_max) {
  for (int i = 0; i < threads; ++i) {
    workers_.emplace_back([this] { WorkerLoop(); });
  }
}

Executor::~Executor() { Stop(); }

absl::StatusOr<Executor::Ticket> Executor::Post(Task task) {
  MutexLock lock(&mutex_);
  if (stopping_) return absl::UnavailableError(absl::StrCat(name_, " service is shutting down"));
  // A free worker takes a task at once: only what exceeds the free workers really waits.
  const size_t idle = workers_.size() > running_ ? workers_.size() - running_ : 0;
  if (queue_.size() >= queue_max_ + idle) {
    return absl::ResourceExhaustedError(absl::StrCat(name_, " queue is full: ", running_,
                                                     " running and ", queue_.size(),
                                                     " waiting; try again later"));
  }
  const Ticket ticket = next_ticket_++;
  queue_.emplace(ticket, std::move(task));
  wake_.NotifyOne();
  return ticket;
}

bool Executor::Remove(Ticket ticket) {
  Task removed;  // destroyed after the lock is gone: it may own anything
  MutexLock lock(&mutex_);
  const auto it = queue_.find(ticket);
  if (it == queue_.end()) return false;
  removed = std::move(it->second);
  queue_.erase(it);
  return true;
}

void Executor::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  for (std::thread& worker : workers_) {
    if (worker.joinable()) worker.join();
  }
}

size_t Executor::waiting() const {
  MutexLock lock(&mutex_);
  return queue_.size();
}

size_t Executor::running() const {
  MutexLock lock(&mutex_);
  return running_;
}

void Executor::WorkerLoop() {
  while (true) {
    Task task;
    {
      MutexLock lock(&mutex_);
      while (queue_.empty() && !stopping_) wake_.Wait(&mutex_);
      if (queue_.empty()) return;
      task = std::move(queue_.begin()->second);
      queue_.erase(queue_.begin());
      ++running_;
    }
    task();
    task = nullptr;  // what it owns goes before the worker counts as free
    MutexLock lock(&mutex_);
    --running_;
  }
}

Ticker::Ticker(int interval_ms, std::function<void()> tick) {
  thread_ = std::thread([this, interval_ms, tick = std::move(tick)] {
    while (true) {
      {
        MutexLock lock(&mutex_);
        if (!stop_) wake_.WaitFor(&mutex_, std::chrono::milliseconds(interval_ms));
        if (stop_) return;
      }
      tick();
    }
  });
}

Ticker::~Ticker() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
}

}  // namespace chimera
