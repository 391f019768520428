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

inline constexpr size_t kSurfaceHalfMax = 65536;  // bytes

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

// DATA_LOSS names the fault; FAILED_PRECONDITION when the snapshot belongs to another model.
absl::StatusOr<Snapshot> ReadSnapshot(const Model& model, std::string_view bytes);

}  // namespace chimera
