// A stream's whole state as bytes (docs/formats/snapshot.md; DESIGN D8, D14, FEATURES M9): the
// knot's half typed, the surface's half opaque, both at one position. Functions are thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/braid_state.h"
#include "model/model.h"

namespace chimera {

inline constexpr size_t kSurfaceHalfMax = 65536;     // bytes
inline constexpr size_t kSnapshotHeaderBytes = 128;  // the fixed part at the front

struct Snapshot {
  BraidState state;
  std::vector<int32_t> recent;  // last tokens, oldest first
  std::string surface;          // what the surface keeps beside it, at most kSurfaceHalfMax bytes
};

// recent: at most recent_tokens of the model's config; surface: at most kSurfaceHalfMax bytes.
// INVALID_ARGUMENT otherwise.
absl::StatusOr<std::string> WriteSnapshot(const Model& model, const BraidState& state,
                                          std::span<const int32_t> recent,
                                          std::string_view surface);

// Size of such a snapshot.
int64_t SnapshotBytes(const BraidState& state, size_t n_recent, size_t surface_bytes);

// What the header says, before the rest is there.
struct SnapshotHead {
  int loops = 0;
  int64_t position = 0;
  int64_t total_bytes = 0;
};

// The model the first kSnapshotHeaderBytes name: 64 characters that nobody has checked. DATA_LOSS
// when they are no header of a snapshot of this version.
absl::StatusOr<std::string> SnapshotModelId(std::string_view bytes);
// Checks the header against the model's sizes; errors as ReadSnapshot, whose checksum it cannot
// check yet.
absl::StatusOr<SnapshotHead> ReadSnapshotHead(const Model& model, std::string_view bytes);

// Reads into a state of the model with as many loops as the head says. After an error its content
// is of no use.
absl::Status ReadSnapshotInto(const Model& model, std::string_view bytes, BraidState* state,
                              std::vector<int32_t>* recent, std::string* surface);

// DATA_LOSS names the fault; FAILED_PRECONDITION when the snapshot belongs to another model.
absl::StatusOr<Snapshot> ReadSnapshot(const Model& model, std::string_view bytes);

}  // namespace chimera
