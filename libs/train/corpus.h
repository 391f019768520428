// Training text: a file or a folder of files becomes one long token stream.
// Each file is a document; a line that is exactly <|endoftext|> ends a document inside a file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "text/tokenizer.h"

namespace chimera {

inline constexpr int64_t kCorpusBytesMax = int64_t{16} << 30;

struct Document {
  std::string name;  // path relative to the data folder
  std::string text;  // UTF-8
};

// Reads the documents in path order; hidden files are skipped. Errors, each naming the path:
// nothing there, an empty folder or only empty files (INVALID_ARGUMENT), unreadable, binary or not
// UTF-8 (INVALID_ARGUMENT with the byte offset), more than kCorpusBytesMax.
absl::StatusOr<std::vector<Document>> ReadCorpus(const std::string& path);

// Splits off the last part of the corpus, at least one byte each, at character borders:
// `fraction` of the bytes of the last documents.
std::vector<Document> HoldOut(double fraction, std::vector<Document>* documents);

// end-of-text, document, end-of-text, document, ...: each document starts with a token that resets
// the state, and is predicted from it (DESIGN D7).
struct TokenStream {
  std::vector<int32_t> tokens;
  int64_t bytes = 0;  // of the documents
};
TokenStream EncodeCorpus(const Tokenizer& tokenizer, const std::vector<Document>& documents);

}  // namespace chimera
