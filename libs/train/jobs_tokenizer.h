// Which tokenizer a recipe trains with: the first n_ranks of o200k_base, cut from any file that has
// at least that many ranks (DESIGN D7). Functions are thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "text/tokenizer.h"

namespace chimera {

// The same ranks up to n_ranks; the tokenizer itself when it has exactly that many.
// INVALID_ARGUMENT when it has fewer, naming both numbers.
absl::StatusOr<std::shared_ptr<const Tokenizer>> TruncateTokenizer(
    const std::shared_ptr<const Tokenizer>& tokenizer, int n_ranks);

// From a rank file ("*.tiktoken") or a tokenizer.model; n_ranks 0 takes all of them.
absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadTokenizerFile(const std::string& path,
                                                                   int n_ranks);

// From the first of the paths that exists and has n_ranks ranks. NOT_FOUND names what was tried and
// how to get the full rank file.
absl::StatusOr<std::shared_ptr<const Tokenizer>> FindTokenizer(
    const std::vector<std::string>& paths, int n_ranks);

// The relative path below the working folder, the folders above it and those above the program, and
// where an installed program keeps it: ../share/chimera of the program's folder.
std::vector<std::string> PlacesAbove(const std::string& relative);

// Where the full rank file may be: .cache/tokenizer/o200k_base.tiktoken at PlacesAbove.
std::vector<std::string> RankFilePlaces();

}  // namespace chimera
