// The streaming calls of the memory service. One operation of a call is under way at a time: what
// is read is worked off and answered before the next read, so a slow side slows the other, and
// nothing waits in memory. Work runs on the service's executor (DESIGN D21). Internal to
// services/memory.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "cluster/executor.h"
#include "cluster/status_map.h"

namespace chimera {

// A stream of batches, each answered in turn. Owns itself from Begin to OnDone.
template <typename Request, typename Response>
class BatchCall final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  using Work = std::function<absl::Status(const Request&, Response*)>;

  static BatchCall* Begin(Executor* executor, Work work) {
    auto* const call = new BatchCall(executor, std::move(work));
    call->StartRead(&call->request_);
    return call;
  }

  void OnReadDone(bool ok) override {
    if (!ok) return this->Finish(grpc::Status::OK);
    const auto posted = executor_->Post([this] { Answer(); });
    if (!posted.ok()) this->Finish(ToGrpc(posted.status()));
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return this->Finish(grpc::Status::CANCELLED);
    this->StartRead(&request_);
  }
  void OnCancel() override {}  // the operation under way fails and ends the call
  void OnDone() override { delete this; }

 private:
  BatchCall(Executor* executor, Work work) : executor_(executor), work_(std::move(work)) {}

  void Answer() {
    response_.Clear();
    const absl::Status status = work_(request_, &response_);
    if (!status.ok()) return this->Finish(ToGrpc(status));
    this->StartWrite(&response_);
  }

  Executor* const executor_;
  const Work work_;
  Request request_;
  Response response_;
};

// A stream of pieces and one answer behind the last. Owns itself.
template <typename Request>
class GatherCall final : public grpc::ServerReadReactor<Request> {
 public:
  static GatherCall* Begin(Executor* executor, std::function<absl::Status(const Request&)> piece,
                           std::function<absl::Status()> end) {
    auto* const call = new GatherCall(executor, std::move(piece), std::move(end));
    call->StartRead(&call->request_);
    return call;
  }

  void OnReadDone(bool ok) override {
    const auto posted = executor_->Post([this, ok] {
      const absl::Status status = ok ? piece_(request_) : end_();
      if (!ok || !status.ok()) return this->Finish(ToGrpc(status));
      this->StartRead(&request_);
    });
    if (!posted.ok()) this->Finish(ToGrpc(posted.status()));
  }
  void OnCancel() override {}
  void OnDone() override { delete this; }

 private:
  GatherCall(Executor* executor, std::function<absl::Status(const Request&)> piece,
             std::function<absl::Status()> end)
      : executor_(executor), piece_(std::move(piece)), end_(std::move(end)) {}

  Executor* const executor_;
  const std::function<absl::Status(const Request&)> piece_;
  const std::function<absl::Status()> end_;
  Request request_;
};

// A stream of pieces that one function makes, on one worker, which waits while a piece is on its
// way; a client that reads nothing for stall_timeout_ms loses the call. Owns itself.
template <typename Response>
class PourCall final : public grpc::ServerWriteReactor<Response> {
 public:
  using Send = std::function<absl::Status(Response)>;

  static PourCall* Begin(grpc::CallbackServerContext* context, Executor* executor,
                         int stall_timeout_ms, std::function<absl::Status(const Send&)> work) {
    auto* const call = new PourCall(context, stall_timeout_ms);
    const auto posted = executor->Post([call, work = std::move(work)] {
      const absl::Status status =
          work([call](Response piece) { return call->Write(std::move(piece)); });
      call->Finish(ToGrpc(call->Settle(status)));
    });
    if (!posted.ok()) call->Finish(ToGrpc(posted.status()));
    return call;
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(&mutex_);
    writing_ = false;
    failed_ = failed_ || !ok;
    wake_.NotifyAll();
  }
  void OnCancel() override {}
  void OnDone() override { delete this; }

 private:
  PourCall(grpc::CallbackServerContext* context, int stall_timeout_ms)
      : context_(context), stall_timeout_ms_(stall_timeout_ms) {}

  absl::Status Write(Response piece) {
    MutexLock lock(&mutex_);
    CHIMERA_RETURN_IF_ERROR(Wait());
    response_ = std::move(piece);
    writing_ = true;
    this->StartWrite(&response_);
    return absl::OkStatus();
  }

  // What the call ends with, once no write is under way.
  absl::Status Settle(absl::Status status) {
    MutexLock lock(&mutex_);
    const absl::Status last = Wait();
    while (writing_) wake_.Wait(&mutex_);  // a cancelled write fails soon
    return status.ok() ? last : status;
  }

  absl::Status Wait() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    using std::chrono::steady_clock;
    const auto until = steady_clock::now() + std::chrono::milliseconds(stall_timeout_ms_);
    while (writing_ && steady_clock::now() < until) {
      wake_.WaitFor(&mutex_, until - steady_clock::now());
    }
    if (writing_) {
      context_->TryCancel();
      return absl::DeadlineExceededError(
          absl::StrCat("the client has read nothing for ", stall_timeout_ms_, " ms"));
    }
    return failed_ ? absl::CancelledError("the call was cancelled") : absl::OkStatus();
  }

  grpc::CallbackServerContext* const context_;
  const int stall_timeout_ms_;
  Mutex mutex_;
  CondVar wake_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
  Response response_;  // owned by the write in flight
};

}  // namespace chimera
