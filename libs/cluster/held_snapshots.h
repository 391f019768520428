// The snapshots one stream holds, at most kSnapshotsMax. Internal to cluster.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "cluster/memory_budget.h"
#include "decode/knot.h"

namespace chimera {

// Thread-compatible.
class HeldSnapshots {
 public:
  // RESOURCE_EXHAUSTED when no more may be held.
  absl::Status CheckRoom() const;
  SnapshotInfo Put(std::string bytes, int64_t position, MemoryHold hold);
  // kSnapshotChunkBytes from an offset on. NOT_FOUND, INVALID_ARGUMENT.
  absl::StatusOr<std::string> Read(int id, int64_t offset) const;
  absl::Status Drop(int id);

 private:
  struct Held {
    std::string bytes;
    MemoryHold hold;
  };
  std::map<int, Held> held_;
  int next_id_ = 1;
};

}  // namespace chimera
