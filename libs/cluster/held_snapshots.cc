#include "cluster/held_snapshots.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace chimera {
namespace {

absl::Status Unknown(int id) {
  return absl::NotFoundError(absl::StrCat("the stream holds no snapshot ", id));
}

}  // namespace

absl::Status HeldSnapshots::CheckRoom() const {
  if (held_.size() < static_cast<size_t>(kSnapshotsMax)) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the stream holds ", held_.size(), " snapshots, the limit is ", kSnapshotsMax));
}

SnapshotInfo HeldSnapshots::Put(std::string bytes, int64_t position, MemoryHold hold) {
  const SnapshotInfo info{next_id_++, static_cast<int64_t>(bytes.size()), position};
  held_[info.id] = {std::move(bytes), std::move(hold)};
  return info;
}

absl::StatusOr<std::string> HeldSnapshots::Read(int id, int64_t offset) const {
  const auto it = held_.find(id);
  if (it == held_.end()) return Unknown(id);
  const std::string& bytes = it->second.bytes;
  if (offset < 0 || offset >= static_cast<int64_t>(bytes.size())) {
    return absl::InvalidArgumentError(absl::StrCat("offset ", offset, " is outside the ",
                                                   bytes.size(), " bytes of snapshot ", id));
  }
  return bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(kSnapshotChunkBytes));
}

absl::Status HeldSnapshots::Drop(int id) {
  return held_.erase(id) > 0 ? absl::OkStatus() : Unknown(id);
}

}  // namespace chimera
