// One WatchJob call. Internal to services/trainer.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "chimera/trainer/v1/trainer.pb.h"
#include "train/jobs_spec.h"

namespace chimera {

// Holds at most the newest state that is not on its way yet: a slow client misses states in
// between, never the last one. Operations start under the lock, so that none follows Finish.
// Thread-safe.
class WatchCall final : public grpc::ServerWriteReactor<trainer::v1::WatchJobResponse>,
                        public std::enable_shared_from_this<WatchCall> {
 public:
  explicit WatchCall(std::string job_id) : job_id_(std::move(job_id)) {}

  // Call once, before the reactor is returned to the library.
  void Begin() { self_ = shared_from_this(); }
  const std::string& job_id() const { return job_id_; }

  // Sends the state when it is news, or when the last message is heartbeat_ns old; ends the call
  // after a terminal one. False when the call has ended.
  bool Offer(const Job& job, int64_t now_ns, int64_t heartbeat_ns);
  // Ends the call after the write in flight.
  void End(const absl::Status& status);

  void OnWriteDone(bool ok) override;
  void OnCancel() override { End(absl::CancelledError("the call was cancelled")); }
  void OnDone() override { const std::shared_ptr<WatchCall> last = std::move(self_); }

 private:
  void Write(const Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FinishIfIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string job_id_;
  std::shared_ptr<WatchCall> self_;         // dropped in OnDone
  trainer::v1::WatchJobResponse response_;  // owned by the write in flight

  Mutex mutex_;
  std::optional<Job> pending_ ABSL_GUARDED_BY(mutex_);
  uint64_t sent_version_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t sent_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;  // nothing more to write
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace chimera
