#include "cluster/stream_snapshot.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "model/snapshot.h"

namespace chimera {

static_assert(kRestoreFirstChunkBytesMin == kSnapshotHeaderBytes);

absl::Status CheckRestoreChunk(std::string_view data, int64_t bytes_min) {
  const auto n = static_cast<int64_t>(data.size());
  if (n >= bytes_min && n <= kRestoreChunkBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a restore chunk of ", n, " bytes is outside ",
                                                 bytes_min, "..", kRestoreChunkBytesMax));
}

absl::StatusOr<std::unique_ptr<KnotRestore>> LocalRestore::Begin(StreamHost* host,
                                                                 std::shared_ptr<const Model> model,
                                                                 std::string_view first,
                                                                 int64_t deadline_ns) {
  CHIMERA_ASSIGN_OR_RETURN(const SnapshotHead head, ReadSnapshotHead(*model, first));
  std::unique_ptr<LocalRestore> restore(new LocalRestore());
  CHIMERA_ASSIGN_OR_RETURN(restore->stream_, host->NewStream(model, head.loops, deadline_ns));
  CHIMERA_ASSIGN_OR_RETURN(
      restore->hold_, host->memory()->Hold(MemoryPart::kSnapshots, head.total_bytes, "a snapshot"));
  restore->total_bytes_ = head.total_bytes;
  restore->bytes_.reserve(static_cast<size_t>(head.total_bytes));
  CHIMERA_RETURN_IF_ERROR(restore->Add(0, first));
  return restore;
}

absl::Status LocalRestore::Add(int64_t offset, std::string_view data) {
  CHIMERA_RETURN_IF_ERROR(CheckRestoreChunk(data, 1));
  if (offset != received_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat("a restore chunk at ", offset, ", expected at ",
                                                   received_bytes(), " of ", total_bytes_));
  }
  if (static_cast<int64_t>(data.size()) > total_bytes_ - offset) {
    return absl::InvalidArgumentError(absl::StrCat("a restore chunk of ", data.size(), " bytes at ",
                                                   offset, " exceeds the snapshot's ", total_bytes_,
                                                   " bytes"));
  }
  bytes_.append(data);
  return absl::OkStatus();
}

absl::StatusOr<RestoredStream> LocalRestore::Finish() {
  CHIMERA_RETURN_IF_ERROR(stream_->Usable());
  RestoredStream out;
  CHIMERA_RETURN_IF_ERROR(stream_->Adopt(bytes_, &out.surface));
  out.position = stream_->position();
  out.loops = stream_->loops();
  out.stream = std::move(stream_);
  return out;
}

absl::Status LocalStream::Usable() const {
  CHIMERA_RETURN_IF_ERROR(broken_);
  const bool late = deadline_ns_ != 0 && Clock::Real().NowNs() >= deadline_ns_;
  return late || cancelled_.load(std::memory_order_relaxed) ? Stopped() : absl::OkStatus();
}

void LocalStream::SetHost(std::shared_ptr<StreamHost> host) { host_ = std::move(host); }

absl::Status LocalStream::Adopt(std::string_view snapshot, std::string* surface) {
  broken_ = ReadSnapshotInto(*model_, snapshot, &state_, &history_, surface);
  position_ = reported_position_ = state_.position();
  fields_may_change_ = true;
  return broken_;
}

std::span<const int32_t> LocalStream::Recent() const {
  return std::span(history_).last(std::min(history_.size(), RecentMax()));
}

absl::StatusOr<SnapshotInfo> LocalStream::TakeSnapshot(std::string_view surface) {
  CHIMERA_RETURN_IF_ERROR(Usable());
  if (surface.size() > kSurfaceHalfMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("surface half of ", surface.size(), " bytes exceeds ", kSurfaceHalfMax));
  }
  CHIMERA_RETURN_IF_ERROR(snapshots_.CheckRoom());
  CHIMERA_ASSIGN_OR_RETURN(
      MemoryHold hold,
      host_->memory()->Hold(MemoryPart::kSnapshots,
                            SnapshotBytes(state_, Recent().size(), surface.size()), "a snapshot"));
  CHIMERA_ASSIGN_OR_RETURN(std::string bytes, WriteSnapshot(*model_, state_, Recent(), surface));
  return snapshots_.Put(std::move(bytes), position_, std::move(hold));
}

absl::StatusOr<std::string> LocalStream::ReadSnapshot(int id, int64_t offset) {
  CHIMERA_RETURN_IF_ERROR(Usable());
  return snapshots_.Read(id, offset);
}

absl::Status LocalStream::DropSnapshot(int id) { return snapshots_.Drop(id); }

absl::StatusOr<std::unique_ptr<KnotStream>> LocalStream::Fork(int64_t deadline_ns) {
  CHIMERA_RETURN_IF_ERROR(Usable());
  CHIMERA_ASSIGN_OR_RETURN(std::unique_ptr<LocalStream> twin,
                           host_->NewStream(model_, state_.loops(), deadline_ns));
  twin->state_ = state_;
  twin->history_.assign(Recent().begin(), Recent().end());
  twin->position_ = twin->reported_position_ = position_;
  twin->TakeFields(fields_);
  return twin;
}

}  // namespace chimera
