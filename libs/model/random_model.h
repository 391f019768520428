// A model folder with freshly initialised weights: for tests and for timing shapes without
// training.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "text/tokenizer.h"

namespace chimera {

// Creates the folder and writes weights, config, tokenizer and manifest; returns the model id.
// The tokenizer's vocab_size must be the config's.
absl::StatusOr<std::string> WriteRandomModel(const Config& config, const Tokenizer& tokenizer,
                                             uint64_t seed, const std::string& folder);

}  // namespace chimera
