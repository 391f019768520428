// Whole snapshots of streams, over the chunks of a Knot near or far (decode/knot.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "decode/knot.h"

namespace chimera {

inline constexpr int64_t kSnapshotBytesMax = int64_t{1} << 30;  // that CopySnapshot takes

// Takes a snapshot with this surface half, reads all of it and drops it again. RESOURCE_EXHAUSTED
// when the knot says that it is larger than kSnapshotBytesMax. Errors leave no snapshot behind that
// the stream could still drop.
absl::StatusOr<std::string> CopySnapshot(KnotStream* stream, std::string_view surface);

// Opens a stream from the bytes of a snapshot. Errors as Knot::Restore and KnotRestore.
absl::StatusOr<RestoredStream> RestoreSnapshot(Knot* knot, std::string_view bytes,
                                               int64_t deadline_ns);

}  // namespace chimera
