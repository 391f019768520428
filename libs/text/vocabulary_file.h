// tokenizer.model, byte by byte in docs/formats/tokenizer.md.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "text/vocabulary.h"

namespace chimera {

std::string SerializeVocabulary(const Vocabulary& vocabulary);

// DATA_LOSS names the fault. Allocates no more than a small multiple of file.size().
absl::StatusOr<std::unique_ptr<const Vocabulary>> ParseVocabularyFile(std::string_view file);

}  // namespace chimera
