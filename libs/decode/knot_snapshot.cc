#include "decode/knot_snapshot.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

absl::StatusOr<std::string> ReadAll(KnotStream* stream, const SnapshotInfo& info) {
  if (info.total_bytes > kSnapshotBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a snapshot of ", info.total_bytes, " bytes exceeds ", kSnapshotBytesMax));
  }
  std::string bytes;
  bytes.reserve(static_cast<size_t>(std::max<int64_t>(info.total_bytes, 0)));
  while (static_cast<int64_t>(bytes.size()) < info.total_bytes) {
    const auto at = static_cast<int64_t>(bytes.size());
    CHIMERA_ASSIGN_OR_RETURN(const std::string chunk, stream->ReadSnapshot(info.id, at));
    const int64_t want = std::min(kSnapshotChunkBytes, info.total_bytes - at);
    if (static_cast<int64_t>(chunk.size()) != want) {
      return absl::InternalError(absl::StrCat(
          "the knot sent ", chunk.size(), " bytes of a snapshot ", "at ", at, ", expected ", want));
    }
    bytes += chunk;
  }
  return bytes;
}

}  // namespace

absl::StatusOr<std::string> CopySnapshot(KnotStream* stream, std::string_view surface) {
  CHIMERA_ASSIGN_OR_RETURN(const SnapshotInfo info, stream->TakeSnapshot(surface));
  absl::StatusOr<std::string> bytes = ReadAll(stream, info);
  const absl::Status dropped = stream->DropSnapshot(info.id);
  if (bytes.ok() && !dropped.ok()) return dropped;
  return bytes;
}

absl::StatusOr<RestoredStream> RestoreSnapshot(Knot* knot, std::string_view bytes,
                                               int64_t deadline_ns) {
  const auto piece = [bytes](int64_t at) {
    return bytes.substr(static_cast<size_t>(at), static_cast<size_t>(kSnapshotChunkBytes));
  };
  CHIMERA_ASSIGN_OR_RETURN(const std::unique_ptr<KnotRestore> restore,
                           knot->Restore(piece(0), deadline_ns));
  while (restore->received_bytes() < static_cast<int64_t>(bytes.size())) {
    const int64_t at = restore->received_bytes();
    CHIMERA_RETURN_IF_ERROR(restore->Add(at, piece(at)));
  }
  return restore->Finish();
}

}  // namespace chimera
