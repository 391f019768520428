// A model folder in another packing: the same trits, the same scales, the same text, another size
// (docs/formats/b158.md).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "config/model_config.h"

namespace chimera {

// Copies a model folder and repacks its ternary maps; creates the folder `to`, which must not hold
// a model yet, and returns the new model's id. Between rows in lanes and base 3 only, which is
// exact: INVALID_ARGUMENT for models of Sherry, whose trits have a packing of their own, and for
// float models.
absl::StatusOr<std::string> RepackModel(const std::string& from, TernaryPacking packing,
                                        const std::string& to);

}  // namespace chimera
