#include "decode/knot.h"

namespace chimera {
namespace {

absl::Status NoSnapshots() { return absl::UnimplementedError("this knot keeps no snapshots"); }

}  // namespace

absl::StatusOr<SnapshotInfo> KnotStream::TakeSnapshot(std::string_view) { return NoSnapshots(); }

absl::StatusOr<std::string> KnotStream::ReadSnapshot(int, int64_t) { return NoSnapshots(); }

absl::Status KnotStream::DropSnapshot(int) { return NoSnapshots(); }

absl::StatusOr<std::unique_ptr<KnotStream>> KnotStream::Fork(int64_t) { return NoSnapshots(); }

absl::StatusOr<std::unique_ptr<KnotRestore>> Knot::Restore(std::string_view, int64_t) {
  return NoSnapshots();
}

}  // namespace chimera
