// Snapshots, forks and restores of a Stream call; see stream_call.h.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "cluster/knot_proto.h"
#include "services/knot/stream_call.h"

namespace chimera {

namespace pb = knot::v1;

bool StreamCall::AnswerSnapshotRequest(const pb::StreamRequest& request,
                                       pb::StreamResponse* response) {
  absl::Status status;
  if (request.has_take_snapshot()) {
    status = TakeSnapshot(request.take_snapshot(), response);
  } else if (request.has_read_snapshot()) {
    status = ReadSnapshot(request.read_snapshot(), response);
  } else if (request.has_drop_snapshot()) {
    const int id = request.drop_snapshot().snapshot_id();
    status = stream_->DropSnapshot(id);
    response->mutable_snapshot_dropped()->set_snapshot_id(id);
  } else if (request.has_fork()) {
    status = Fork(response);
  } else {
    return false;
  }
  if (!status.ok()) WriteRefused(status, response->mutable_refused());
  return true;
}

absl::Status StreamCall::TakeSnapshot(const pb::TakeSnapshot& take, pb::StreamResponse* response) {
  CHIMERA_ASSIGN_OR_RETURN(const SnapshotInfo info, stream_->TakeSnapshot(take.surface_half()));
  pb::SnapshotTaken* taken = response->mutable_snapshot_taken();
  taken->set_snapshot_id(info.id);
  taken->set_total_bytes(info.total_bytes);
  taken->set_position(info.position);
  return absl::OkStatus();
}

absl::Status StreamCall::ReadSnapshot(const pb::ReadSnapshot& read, pb::StreamResponse* response) {
  CHIMERA_ASSIGN_OR_RETURN(std::string data,
                           stream_->ReadSnapshot(read.snapshot_id(), read.offset()));
  pb::SnapshotChunk* chunk = response->mutable_snapshot_chunk();
  chunk->set_snapshot_id(read.snapshot_id());
  chunk->set_offset(read.offset());
  chunk->set_data(std::move(data));
  return absl::OkStatus();
}

// The fork's deadline is that of the call which takes it over.
absl::Status StreamCall::Fork(pb::StreamResponse* response) {
  CHIMERA_ASSIGN_OR_RETURN(std::unique_ptr<KnotStream> twin, stream_->Fork(0));
  response->mutable_forked()->set_fork_token(forks_->Park(std::move(twin), Clock::Real().NowNs()));
  return absl::OkStatus();
}

absl::Status StreamCall::Restore(const pb::RestoreChunk& chunk, pb::StreamResponse* response) {
  if (stream_ != nullptr) return absl::FailedPreconditionError("the stream is open already");
  if (restore_ != nullptr) {
    CHIMERA_RETURN_IF_ERROR(restore_->Add(chunk.offset(), chunk.data()));
  } else if (chunk.offset() != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a restore chunk at ", chunk.offset(), ", expected at 0"));
  } else {
    CHIMERA_ASSIGN_OR_RETURN(restore_, knot_->Restore(chunk.data(), deadline_ns_));
  }
  if (restore_->received_bytes() < restore_->total_bytes()) {
    response->mutable_restore_progress()->set_received_bytes(restore_->received_bytes());
    response->mutable_restore_progress()->set_total_bytes(restore_->total_bytes());
    return absl::OkStatus();
  }
  const std::unique_ptr<KnotRestore> done = std::move(restore_);
  CHIMERA_ASSIGN_OR_RETURN(RestoredStream restored, done->Finish());
  pb::Restored* out = response->mutable_restored();
  out->set_model_id(restored.stream->model_id());
  out->set_position(restored.position);
  out->set_loops(restored.loops);
  out->set_surface_half(std::move(restored.surface));
  Keep(std::move(restored.stream));
  return absl::OkStatus();
}

}  // namespace chimera
