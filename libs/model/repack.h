// A model folder in another packing (docs/formats/b158.md). The trits of linear maps go into each
// other exactly: the same text, another size. The tied embedding and head only lose bits.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "config/model_config.h"

namespace chimera {

// What the copy has; what is absent stays as it is.
struct RepackOptions {
  std::optional<TernaryPacking> packing;
  std::optional<int> head_bits;  // 8, 6 or 4
};

// Copies a model folder and repacks it; creates the folder `to`, which must not hold a model yet,
// and returns the new model's id. INVALID_ARGUMENT for float models, for a packing from or to
// Sherry, whose trits have a packing of their own, and for more bits of the head than it has.
absl::StatusOr<std::string> RepackModel(const std::string& from, const RepackOptions& options,
                                        const std::string& to);

}  // namespace chimera
