#include "text/rank_text.h"

#include <charconv>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "text/tokenizer.h"

namespace chimera {
namespace {

constexpr size_t kLineBytesMax = 512;

absl::Status LineFault(int line, const std::string& fault) {
  return absl::InvalidArgumentError(absl::StrCat("rank text line ", line + 1, ": ", fault));
}

// Appends the token of one line, which must carry rank `line`.
absl::Status ParseLine(std::string_view text, int line, VocabularyParts* parts) {
  if (text.size() > kLineBytesMax) {
    return LineFault(line, absl::StrCat(text.size(), " bytes exceed ", kLineBytesMax));
  }
  const size_t space = text.find(' ');
  if (space == std::string_view::npos) return LineFault(line, "no space between token and rank");
  std::string bytes;
  if (!absl::Base64Unescape(ToAbsl(text.substr(0, space)), &bytes)) {
    return LineFault(line, "token is not base64");
  }
  if (bytes.empty() || bytes.size() > kTokenBytesMax) {
    return LineFault(
        line, absl::StrCat("token of ", bytes.size(), " bytes, not in [1, ", kTokenBytesMax, "]"));
  }
  const std::string_view digits = text.substr(space + 1);
  int rank = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rank);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return LineFault(line, "rank is not a number");
  }
  if (rank != line) return LineFault(line, absl::StrCat("rank ", rank, ", expected ", line));
  parts->bytes += bytes;
  parts->token_bytes.push_back(static_cast<uint8_t>(bytes.size()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<VocabularyParts> ParseRankText(std::string_view rank_text, int n_ranks) {
  if (n_ranks != 0 && (n_ranks < kRanksMin || n_ranks > kRanksFull)) {
    return absl::InvalidArgumentError(
        absl::StrCat("n_ranks ", n_ranks, " is not in [", kRanksMin, ", ", kRanksFull, "]"));
  }
  VocabularyParts parts;
  int line = 0;
  while (!rank_text.empty() && (n_ranks == 0 || line < n_ranks)) {
    if (line == kRanksFull) {
      return LineFault(line, absl::StrCat("more than ", kRanksFull, " ranks"));
    }
    const size_t end = std::min(rank_text.find('\n'), rank_text.size());
    std::string_view text = rank_text.substr(0, end);
    if (text.ends_with('\r')) text.remove_suffix(1);
    CHIMERA_RETURN_IF_ERROR(ParseLine(text, line, &parts));
    rank_text.remove_prefix(std::min(end + 1, rank_text.size()));
    ++line;
  }
  if (line < std::max(n_ranks, kRanksMin)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank text has ", line, " ranks, needs ", std::max(n_ranks, kRanksMin)));
  }
  return parts;
}

}  // namespace chimera
