#include "memory/memory.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/file.h"
#include "hdc/words.h"

namespace chimera {
namespace {

bool IsUserIdByte(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

bool IsHexDigit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

}  // namespace

absl::Status ValidateUserId(std::string_view user) {
  if (user.empty() || user.size() > kUserIdBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("user id of ", user.size(), " bytes; it has 1 to ", kUserIdBytesMax));
  }
  const auto bad = std::find_if_not(user.begin(), user.end(), IsUserIdByte);
  if (bad != user.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("user id has byte 0x", absl::Hex(static_cast<uint8_t>(*bad)), " at position ",
                     bad - user.begin(), "; only [A-Za-z0-9_.-] is allowed"));
  }
  return absl::OkStatus();
}

absl::Status ValidateFactText(std::string_view text, std::string_view what) {
  if (text.empty() || text.size() > kFactTextBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(what), " of ", text.size(),
                                                   " bytes; it has 1 to ", kFactTextBytesMax));
  }
  if (!IsValidUtf8(text)) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(what), " of ", text.size(), " bytes is not valid UTF-8"));
  }
  return absl::OkStatus();
}

absl::Status ValidateRecallCount(int k) {
  if (k >= 1 && k <= kRecallFactsMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("recall of ", k, " facts; it is 1 to ", kRecallFactsMax));
}

absl::Status ValidateFactId(std::string_view fact_id) {
  if (fact_id.size() == kFactIdDigits && std::all_of(fact_id.begin(), fact_id.end(), IsHexDigit)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("fact id of ", fact_id.size(), " bytes; it is ",
                                                 kFactIdDigits, " lower-case hex digits"));
}

uint64_t FactIdOf(std::string_view user, std::string_view text) {
  std::string bytes(user);
  bytes += '\0';
  bytes += text;
  return FactIdFromHex(std::string_view(Sha256Hex(bytes)).substr(0, kFactIdDigits));
}

std::string FactIdToHex(uint64_t id) { return absl::StrFormat("%016x", id); }

uint64_t FactIdFromHex(std::string_view fact_id) {
  uint64_t id = 0;
  const auto [end, error] =
      std::from_chars(fact_id.data(), fact_id.data() + fact_id.size(), id, 16);
  CHIMERA_CHECK(error == std::errc() && end == fact_id.data() + fact_id.size());
  return id;
}

}  // namespace chimera
