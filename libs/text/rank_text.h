// The published form of the ranks: one line "base64-of-the-bytes rank" per token, in rank order.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "text/vocabulary.h"

namespace chimera {

// The first n_ranks lines; 0 takes all. INVALID_ARGUMENT names the line and its fault.
absl::StatusOr<VocabularyParts> ParseRankText(std::string_view rank_text, int n_ranks);

}  // namespace chimera
