#include "train/jobs_tokenizer.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/string_view.h"

namespace chimera {
namespace {

namespace fs = std::filesystem;

constexpr size_t kRankFileBytesMax = 16 << 20;
constexpr int kFoldersAboveMax = 8;
constexpr char kRankFile[] = ".cache/tokenizer/o200k_base.tiktoken";

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> TruncateTokenizer(
    const std::shared_ptr<const Tokenizer>& tokenizer, int n_ranks) {
  if (n_ranks == tokenizer->n_ranks()) return tokenizer;
  if (n_ranks > tokenizer->n_ranks()) {
    return absl::InvalidArgumentError(absl::StrCat("the tokenizer has ", tokenizer->n_ranks(),
                                                   " ranks, ", n_ranks, " are needed"));
  }
  // Through the published form, so that the cut vocabulary passes the same checks.
  std::string text;
  for (int id = 0; id < n_ranks; ++id) {
    absl::StrAppend(&text, absl::Base64Escape(ToAbsl(tokenizer->TokenBytes(id))), " ", id, "\n");
  }
  return Tokenizer::FromRankText(text, n_ranks);
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadTokenizerFile(const std::string& path,
                                                                   int n_ranks) {
  if (path.ends_with(".tiktoken")) {
    CHIMERA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kRankFileBytesMax));
    absl::StatusOr<std::shared_ptr<const Tokenizer>> read = Tokenizer::FromRankText(text, n_ranks);
    if (read.ok()) return read;
    return absl::Status(read.status().code(), absl::StrCat(path, ": ", read.status().message()));
  }
  CHIMERA_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::FromFile(path));
  if (n_ranks == 0) return tokenizer;
  absl::StatusOr<std::shared_ptr<const Tokenizer>> cut = TruncateTokenizer(tokenizer, n_ranks);
  if (cut.ok()) return cut;
  return absl::Status(cut.status().code(), absl::StrCat(path, ": ", cut.status().message()));
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> FindTokenizer(
    const std::vector<std::string>& paths, int n_ranks) {
  std::vector<std::string> tried;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::exists(path, error)) continue;
    absl::StatusOr<std::shared_ptr<const Tokenizer>> found = LoadTokenizerFile(path, n_ranks);
    if (found.ok()) return found;
    tried.emplace_back(found.status().message().data(), found.status().message().size());
  }
  return absl::NotFoundError(absl::StrCat(
      "no tokenizer with ", n_ranks == 0 ? kRanksFull : n_ranks, " ranks found",
      tried.empty() ? "" : absl::StrCat(" (", absl::StrJoin(tried, "; "), ")"),
      "; run scripts/fetch_tokenizer.sh to get the full rank file, or name one with --ranks"));
}

std::vector<std::string> PlacesAbove(const std::string& relative) {
  std::vector<std::string> places = {relative};
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (fs::path folder : {fs::current_path(error), program}) {
    for (int i = 0; i < kFoldersAboveMax && folder.has_relative_path(); ++i) {
      folder = folder.parent_path();
      places.push_back((folder / relative).string());
    }
  }
  places.push_back((program.parent_path() / "share/chimera" / relative).string());
  return places;
}

std::vector<std::string> RankFilePlaces() { return PlacesAbove(kRankFile); }

}  // namespace chimera
