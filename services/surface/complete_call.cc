#include "services/surface/complete_call.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/status_map.h"
#include "services/surface/messages.h"

namespace chimera {
namespace {

constexpr size_t kOutboxMax = 16;  // messages; one is about one token

}  // namespace

namespace pb = surface::v1;

absl::Status CompleteCall::Begin(CompletionRequest request) {
  self_ = shared_from_this();
  request_ = std::move(request);
  MutexLock lock(&mutex_);  // before the ticket is known the task must not look for it
  const auto posted = executor_->Post([self = self_] { self->Run(); });
  if (posted.ok()) {
    ticket_ = *posted;
    return absl::OkStatus();
  }
  ended_ = true;
  end_ = posted.status();
  FinishIfIdle();
  return posted.status();
}

void CompleteCall::Run() {
  {
    MutexLock lock(&mutex_);
    ticket_ = 0;
  }
  const absl::StatusOr<CompletionEnd> end = completer_->Run(request_, this, &cancel_);
  absl::Status status = end.status();
  if (status.ok()) status = Send(FinishedMessage(*end));
  End(status);
}

absl::Status CompleteCall::OnStart(const CompletionStart& start) {
  tokenizer_ = start.tokenizer;
  return Send(StartedMessage(request_.request_id, start));
}

absl::Status CompleteCall::OnEvent(const SessionEvent& event) {
  pb::CompleteResponse message;
  if (!DeltaMessage(event, *tokenizer_, &message)) return absl::OkStatus();
  return Send(std::move(message));
}

absl::Status CompleteCall::Send(pb::CompleteResponse response) {
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(stall_timeout_ms_);
  MutexLock lock(&mutex_);
  while (outbox_.size() >= kOutboxMax && !gone_) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= until) {
      context_->TryCancel();  // the write in flight would otherwise wait for ever
      return absl::DeadlineExceededError(
          absl::StrCat("the client read nothing for ", stall_timeout_ms_, " ms"));
    }
    room_.WaitFor(&mutex_, until - now);
  }
  if (gone_) return absl::CancelledError("the client is gone");
  outbox_.push_back(std::move(response));
  if (!writing_) WriteFront();
  return absl::OkStatus();
}

void CompleteCall::WriteFront() {
  writing_ = true;
  StartWrite(&outbox_.front());
}

void CompleteCall::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  writing_ = false;
  if (ok) {
    outbox_.pop_front();
  } else {
    gone_ = true;
  }
  if (gone_) {
    outbox_.clear();
  } else if (!outbox_.empty()) {
    WriteFront();
  }
  FinishIfIdle();
  room_.NotifyAll();
}

void CompleteCall::OnCancel() {
  cancel_.Cancel();
  Executor::Ticket ticket = 0;
  {
    MutexLock lock(&mutex_);
    gone_ = true;
    ticket = ticket_;
    room_.NotifyAll();
  }
  // Still waiting for a worker: give the place in the queue back at once.
  if (ticket != 0 && executor_->Remove(ticket)) End(absl::CancelledError("the client is gone"));
}

void CompleteCall::End(const absl::Status& status) {
  MutexLock lock(&mutex_);
  ended_ = true;
  end_ = status;
  FinishIfIdle();
}

void CompleteCall::FinishIfIdle() {
  if (!ended_ || writing_ || finished_ || (!outbox_.empty() && !gone_)) return;
  finished_ = true;
  Finish(ToGrpc(end_));
}

void CompleteCall::OnDone() { const std::shared_ptr<CompleteCall> last = std::move(self_); }

}  // namespace chimera
