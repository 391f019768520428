// One Complete call. Internal to services/surface.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <deque>
#include <memory>

#include "base/mutex.h"
#include "chimera/surface/v1/surface.pb.h"
#include "cluster/completer.h"
#include "cluster/executor.h"

namespace chimera {

// The completion runs on a worker and puts messages into a small outbox; the library writes them
// one at a time. A client that reads slowly pauses its own completion, one that does not read at
// all loses it after stall_timeout_ms. Operations start under the lock, so that none follows
// Finish. Thread-safe.
class CompleteCall final : public grpc::ServerWriteReactor<surface::v1::CompleteResponse>,
                           public CompletionSink,
                           public std::enable_shared_from_this<CompleteCall> {
 public:
  CompleteCall(grpc::CallbackServerContext* context, Completer* completer, Executor* executor,
               int stall_timeout_ms)
      : context_(context),
        completer_(completer),
        executor_(executor),
        stall_timeout_ms_(stall_timeout_ms) {}

  // Call once, before the reactor is returned to the library. Not OK: the call is being refused
  // with that status.
  absl::Status Begin(CompletionRequest request);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  absl::Status OnStart(const CompletionStart& start) override;
  absl::Status OnEvent(const SessionEvent& event) override;

 private:
  void Run();
  // Waits for room in the outbox.
  absl::Status Send(surface::v1::CompleteResponse response);
  void WriteFront() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(const absl::Status& status);
  void FinishIfIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  grpc::CallbackServerContext* const context_;  // valid until OnDone
  Completer* const completer_;
  Executor* const executor_;
  const int stall_timeout_ms_;
  CompletionRequest request_;
  CancelToken cancel_;
  std::shared_ptr<const Tokenizer> tokenizer_;  // of the model in use; worker only
  std::shared_ptr<CompleteCall> self_;          // dropped in OnDone

  Mutex mutex_;
  CondVar room_;
  std::deque<surface::v1::CompleteResponse> outbox_ ABSL_GUARDED_BY(mutex_);
  Executor::Ticket ticket_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;  // the outbox's front is on its way
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;     // nobody reads any more
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;    // end_ is what Finish will say
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace chimera
