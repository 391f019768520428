#include "services/trainer/watch_call.h"

#include "base/clock.h"
#include "cluster/status_map.h"
#include "services/trainer/messages.h"

namespace chimera {

bool WatchCall::Offer(const Job& job, int64_t now_ns, int64_t heartbeat_ns) {
  MutexLock lock(&mutex_);
  if (ended_) return false;
  const bool news = job.version != sent_version_;
  if (!news && now_ns - sent_ns_ < heartbeat_ns) return true;
  if (writing_) {
    pending_ = job;
  } else {
    Write(job);
  }
  return true;
}

void WatchCall::Write(const Job& job) {
  sent_version_ = job.version;
  sent_ns_ = Clock::Real().NowNs();
  if (IsTerminal(job.state)) ended_ = true;
  response_.Clear();
  WriteJob(job, response_.mutable_job());
  writing_ = true;
  StartWrite(&response_);
}

void WatchCall::End(const absl::Status& status) {
  MutexLock lock(&mutex_);
  if (!ended_) end_ = status;
  ended_ = true;
  pending_.reset();
  FinishIfIdle();
}

void WatchCall::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  writing_ = false;
  if (!ok) ended_ = true;
  if (!ended_ && pending_) {
    const Job job = *std::move(pending_);
    pending_.reset();
    Write(job);
  }
  FinishIfIdle();
}

void WatchCall::FinishIfIdle() {
  if (!ended_ || writing_ || finished_) return;
  finished_ = true;
  Finish(ToGrpc(end_));
}

}  // namespace chimera
