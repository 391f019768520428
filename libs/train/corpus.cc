#include "train/corpus.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "text/utf8.h"

namespace chimera {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBorder = "\n<|endoftext|>\n";

absl::StatusOr<std::vector<std::string>> ListFiles(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status))
    return absl::NotFoundError(absl::StrCat(path, ": no such file or folder"));
  if (!fs::is_directory(status)) return std::vector<std::string>{path};
  std::vector<std::string> files;
  fs::recursive_directory_iterator it(path, error), end;
  if (error) {
    return absl::PermissionDeniedError(absl::StrCat(path, ": cannot list: ", error.message()));
  }
  while (it != end) {
    const bool hidden = it->path().filename().string().starts_with(".");
    if (hidden && it->is_directory(error)) it.disable_recursion_pending();
    if (!hidden && it->is_regular_file(error)) files.push_back(it->path().string());
    it.increment(error);
    if (error) {
      return absl::PermissionDeniedError(absl::StrCat(path, ": cannot list: ", error.message()));
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

absl::Status CheckText(const std::string& path, const std::string& bytes) {
  if (const size_t zero = bytes.find('\0'); zero != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": looks binary (zero byte at offset ",
                                                   zero, "); training data must be UTF-8 text"));
  }
  if (const size_t good = ValidUtf8Prefix(bytes); good != bytes.size()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not UTF-8 at byte offset ", good,
                                                   "; training data must be UTF-8 text"));
  }
  return absl::OkStatus();
}

void AppendDocuments(const std::string& name, std::string text, std::vector<Document>* documents) {
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t border = text.find(kBorder, begin);
    const size_t end = border == std::string::npos ? text.size() : border + 1;
    if (end > begin) documents->push_back({name, text.substr(begin, end - begin)});
    if (border == std::string::npos) break;
    begin = border + kBorder.size();
  }
}

}  // namespace

absl::StatusOr<std::vector<Document>> ReadCorpus(const std::string& path) {
  CHIMERA_ASSIGN_OR_RETURN(const std::vector<std::string> files, ListFiles(path));
  std::vector<Document> documents;
  int64_t total = 0;
  for (const std::string& file : files) {
    CHIMERA_ASSIGN_OR_RETURN(std::string bytes,
                             ReadFile(file, static_cast<size_t>(kCorpusBytesMax - total)));
    CHIMERA_RETURN_IF_ERROR(CheckText(file, bytes));
    total += static_cast<int64_t>(bytes.size());
    AppendDocuments(file, std::move(bytes), &documents);
  }
  if (documents.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": no text found (", files.size(),
                     " files, 0 bytes); training needs a text "
                     "file or a folder with at least one non-empty text file"));
  }
  return documents;
}

std::vector<Document> HoldOut(double fraction, std::vector<Document>* documents) {
  int64_t total = 0;
  for (const Document& d : *documents) total += static_cast<int64_t>(d.text.size());
  int64_t wanted =
      std::max<int64_t>(1, static_cast<int64_t>(fraction * static_cast<double>(total)));
  std::vector<Document> held;
  while (wanted > 0 && !documents->empty()) {
    Document& last = documents->back();
    const auto size = static_cast<int64_t>(last.text.size());
    if (size <= wanted && documents->size() > 1) {
      wanted -= size;
      held.insert(held.begin(), std::move(last));
      documents->pop_back();
      continue;
    }
    // Cut inside the document, never inside a character.
    auto cut = static_cast<size_t>(std::max<int64_t>(1, size - wanted));
    while (cut < last.text.size() && (static_cast<uint8_t>(last.text[cut]) & 0xc0) == 0x80) ++cut;
    held.insert(held.begin(), {last.name, last.text.substr(cut)});
    last.text.resize(cut);
    break;
  }
  return held;
}

TokenStream EncodeCorpus(const Tokenizer& tokenizer, const std::vector<Document>& documents) {
  TokenStream stream;
  for (const Document& document : documents) {
    stream.tokens.push_back(tokenizer.eot());
    tokenizer.EncodeAppend(document.text, &stream.tokens);
    stream.bytes += static_cast<int64_t>(document.text.size());
  }
  return stream;
}

}  // namespace chimera
