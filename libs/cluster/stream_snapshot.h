// A stream of LocalKnot out of a snapshot. Internal to cluster: local_knot.cc makes them. What
// LocalStream does for snapshots and forks is in stream_snapshot.cc too.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "cluster/local_stream.h"
#include "cluster/stream_host.h"
#include "decode/knot.h"

namespace chimera {

// Collects the bytes for a stream that has its slot already. Thread-compatible.
class LocalRestore final : public KnotRestore {
 public:
  // Checks the beginning of a snapshot of this model, then asks for a slot and memory.
  static absl::StatusOr<std::unique_ptr<KnotRestore>> Begin(StreamHost* host,
                                                            std::shared_ptr<const Model> model,
                                                            std::string_view first,
                                                            int64_t deadline_ns);

  int64_t received_bytes() const override { return static_cast<int64_t>(bytes_.size()); }
  int64_t total_bytes() const override { return total_bytes_; }
  absl::Status Add(int64_t offset, std::string_view data) override;
  absl::StatusOr<RestoredStream> Finish() override;

 private:
  LocalRestore() = default;

  std::unique_ptr<LocalStream> stream_;  // empty until Finish
  MemoryHold hold_;                      // of bytes_
  int64_t total_bytes_ = 0;
  std::string bytes_;
};

// INVALID_ARGUMENT unless the size of a chunk of a restore is in its bounds.
absl::Status CheckRestoreChunk(std::string_view data, int64_t bytes_min);

}  // namespace chimera
