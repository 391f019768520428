#include "services/knot/stream_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/knot_proto.h"
#include "cluster/status_map.h"

namespace chimera {

namespace pb = knot::v1;

void StreamCall::Begin() {
  self_ = shared_from_this();
  StartRead(&request_);
}

bool StreamCall::EndIfExpired(int64_t now_ns) {
  {
    MutexLock lock(&mutex_);
    if (finished_) return true;
    if (now_ns < deadline_ns_) return false;
  }
  End(absl::DeadlineExceededError("the stream's deadline passed"));
  return true;
}

void StreamCall::OnReadDone(bool ok) {
  if (!ok) {  // the client is done, or gone
    End(absl::OkStatus());
    return;
  }
  {
    MutexLock lock(&mutex_);
    if (finished_) return;
    busy_ = true;
  }
  const auto posted = executor_->Post([self = shared_from_this()] { self->Handle(); });
  if (posted.ok()) return;
  {
    MutexLock lock(&mutex_);
    busy_ = false;
  }
  End(posted.status());
}

void StreamCall::Handle() {
  response_.Clear();
  const absl::Status status = Answer(request_, &response_);
  std::unique_ptr<KnotStream> closed;
  std::unique_ptr<KnotRestore> given_up;
  {
    MutexLock lock(&mutex_);
    busy_ = false;
    if (finished_) {
      closed = std::move(stream_);
      given_up = std::move(restore_);
      return;
    }
    if (status.ok()) {
      StartWrite(&response_);
      return;
    }
  }
  End(status);
}

absl::Status StreamCall::Answer(const pb::StreamRequest& request, pb::StreamResponse* response) {
  if (request.has_restore_chunk()) return Restore(request.restore_chunk(), response);
  if (restore_ != nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("the stream is being restored: it has ",
                                                      restore_->received_bytes(), " of ",
                                                      restore_->total_bytes(), " bytes"));
  }
  if (request.has_open()) return Open(request.open(), response);
  if (stream_ == nullptr) {
    return absl::FailedPreconditionError(
        "the first message of a stream must be open or restore_chunk");
  }
  if (AnswerSnapshotRequest(request, response)) return absl::OkStatus();
  if (request.has_verify()) return Verify(request.verify(), response);
  if (request.has_more_rows()) {
    const pb::MoreRows& more = request.more_rows();
    CHIMERA_ASSIGN_OR_RETURN(const NodeDistribution rows,
                             stream_->MoreRows(more.node(), more.first(), more.count()));
    WriteRows(rows, more.first(), response->mutable_rows());
    return absl::OkStatus();
  }
  return Store(request, response);
}

absl::Status StreamCall::Verify(const pb::Verify& in, pb::StreamResponse* response) {
  UnknownContent unknown;
  CHIMERA_ASSIGN_OR_RETURN(const VerifyRequest verify, ReadVerify(in, caches_, &unknown));
  if (unknown.sketch_id != 0) {
    response->mutable_unknown_sketch()->set_sketch_id(unknown.sketch_id);
    return absl::OkStatus();
  }
  if (unknown.mask_id != 0) {
    response->mutable_unknown_mask()->set_mask_id(unknown.mask_id);
    return absl::OkStatus();
  }
  if (unknown.class_table_id != 0) {
    response->mutable_unknown_class_table()->set_class_table_id(unknown.class_table_id);
    return absl::OkStatus();
  }
  CHIMERA_ASSIGN_OR_RETURN(const VerifyResult result, stream_->Verify(verify));
  WriteVerified(result, response->mutable_verified());
  return absl::OkStatus();
}

absl::Status StreamCall::Store(const pb::StreamRequest& request, pb::StreamResponse* response) {
  if (request.has_put_sketch()) {
    const pb::PutSketch& put = request.put_sketch();
    CHIMERA_RETURN_IF_ERROR(caches_->sketches.Put(put.sketch_id(), put.bits()));
    response->mutable_sketch_stored()->set_sketch_id(put.sketch_id());
    return absl::OkStatus();
  }
  if (request.has_put_mask()) {
    const pb::PutMask& put = request.put_mask();
    CHIMERA_RETURN_IF_ERROR(caches_->masks.Put(put.mask_id(), put.bits()));
    response->mutable_mask_stored()->set_mask_id(put.mask_id());
    return absl::OkStatus();
  }
  if (request.has_put_class_table()) {
    const pb::PutClassTable& put = request.put_class_table();
    CHIMERA_RETURN_IF_ERROR(caches_->class_tables.Put(put.class_table_id(), put.classes()));
    response->mutable_class_table_stored()->set_class_table_id(put.class_table_id());
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("a stream message holds no request");
}

absl::Status StreamCall::Open(const pb::Open& open, pb::StreamResponse* response) {
  if (stream_ != nullptr) return absl::FailedPreconditionError("the stream is open already");
  CHIMERA_ASSIGN_OR_RETURN(const KnotModelInfo info, knot_->CurrentModel());
  CHIMERA_ASSIGN_OR_RETURN(std::unique_ptr<KnotStream> stream, OpenOrClaim(open));
  pb::Opened* opened = response->mutable_opened();
  opened->set_model_id(stream->model_id());
  if (info.model_id == stream->model_id()) {
    opened->set_vocab_size(info.vocab_size);
    opened->set_state_bytes(info.state_bytes);
  }
  Keep(std::move(stream));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<KnotStream>> StreamCall::OpenOrClaim(const pb::Open& open) {
  if (open.fork_token().empty()) return knot_->Open(open.model_id(), deadline_ns_, open.loops());
  CHIMERA_ASSIGN_OR_RETURN(std::unique_ptr<KnotStream> stream, forks_->Claim(open.fork_token()));
  if (!open.model_id().empty() && open.model_id() != stream->model_id()) {
    return absl::FailedPreconditionError(absl::StrCat("the fork is of model ", stream->model_id(),
                                                      ", not ", open.model_id().substr(0, 64)));
  }
  return stream;
}

void StreamCall::Keep(std::unique_ptr<KnotStream> stream) {
  MutexLock lock(&mutex_);
  if (cancelled_) stream->Cancel();
  stream_ = std::move(stream);
}

void StreamCall::OnWriteDone(bool ok) {
  if (!ok) {
    End(absl::CancelledError("the client is gone"));
    return;
  }
  MutexLock lock(&mutex_);
  if (!finished_) StartRead(&request_);
}

void StreamCall::OnCancel() {
  {
    MutexLock lock(&mutex_);
    cancelled_ = true;
    // A running task sees the flag within one piece of work and gives the slot back.
    if (stream_ != nullptr && busy_) stream_->Cancel();
  }
  End(absl::CancelledError("the call was cancelled"));
}

void StreamCall::End(const absl::Status& status) {
  MutexLock lock(&mutex_);
  if (finished_) return;
  finished_ = true;
  if (!busy_) {
    stream_.reset();  // the slot is free before the client hears that the call is over
    restore_.reset();
  } else if (stream_ != nullptr) {
    stream_->Cancel();
  }
  Finish(ToGrpc(status));
}

void StreamCall::OnDone() { const std::shared_ptr<StreamCall> last = std::move(self_); }

}  // namespace chimera
