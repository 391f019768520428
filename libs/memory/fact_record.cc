#include "memory/fact_record.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "memory/memory_arguments.h"
#include "memory/record_codec.h"

namespace chimera {
namespace {

constexpr size_t kHeadBytes = 20;
constexpr size_t kSketchBodyBytes = kHeadBytes + kHyperBytes;
constexpr size_t kUsageBodyBytes = 13;
constexpr size_t kAboutBodyBytes = 10;
constexpr size_t kAboutDigits = 32;

void PutHead(const FactHead& head, std::string* out) {
  PutInt(kBodyVersion, 1, out);
  PutInt(static_cast<uint8_t>(head.source), 1, out);
  PutInt(head.about_bytes, 2, out);
  PutInt(head.text_bytes, 4, out);
  PutInt(static_cast<uint64_t>(head.created_ms), 8, out);
  PutInt(head.tags, 4, out);
}

absl::StatusOr<FactHead> GetHead(std::string_view body) {
  FactHead head;
  head.source = static_cast<Source>(GetInt(body, 1, 1));
  head.about_bytes = static_cast<uint32_t>(GetInt(body, 2, 2));
  head.text_bytes = static_cast<uint32_t>(GetInt(body, 4, 4));
  head.created_ms = static_cast<int64_t>(GetInt(body, 8, 8));
  head.tags = static_cast<uint32_t>(GetInt(body, 16, 4));
  if (!ValidateSource(head.source).ok() || head.about_bytes > kFactAboutBytesMax ||
      head.text_bytes < 1 || head.text_bytes > kFactTextBytesMax) {
    return absl::DataLossError(absl::StrCat("fact record has source ",
                                            static_cast<int>(head.source), ", ", head.about_bytes,
                                            " about bytes and ", head.text_bytes, " text bytes"));
  }
  return head;
}

}  // namespace

std::string EncodeFact(std::string_view key, const FactRecord& record) {
  std::string body;
  body.reserve(kHeadBytes + record.about.size() + record.text.size() + kSealBytes);
  PutHead(record.head, &body);
  body += record.about;
  body += record.text;
  return Seal(Family::kFacts, key, std::move(body));
}

absl::StatusOr<FactRecord> DecodeFact(std::string_view key, std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string_view body,
                           Unseal(Family::kFacts, key, value, kHeadBytes + 1));
  FactRecord record;
  CHIMERA_ASSIGN_OR_RETURN(record.head, GetHead(body));
  const size_t about_bytes = record.head.about_bytes;
  if (body.size() != kHeadBytes + about_bytes + record.head.text_bytes) {
    return absl::DataLossError(absl::StrCat("fact record has ", body.size() - kHeadBytes,
                                            " bytes of text; it says ",
                                            about_bytes + record.head.text_bytes));
  }
  record.about = body.substr(kHeadBytes, about_bytes);
  record.text = body.substr(kHeadBytes + about_bytes);
  return record;
}

std::string EncodeSketch(std::string_view key, const SketchRecord& record) {
  std::string body;
  body.reserve(kSketchBodyBytes + kSealBytes);
  PutHead(record.head, &body);
  for (uint8_t byte : ToBytes(record.sketch)) body.push_back(static_cast<char>(byte));
  return Seal(Family::kSketches, key, std::move(body));
}

absl::StatusOr<SketchRecord> DecodeSketch(std::string_view key, std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string_view body,
                           Unseal(Family::kSketches, key, value, kSketchBodyBytes));
  if (body.size() != kSketchBodyBytes) {
    return absl::DataLossError(
        absl::StrCat("sketch record has ", body.size(), " bytes; it has ", kSketchBodyBytes));
  }
  SketchRecord record;
  CHIMERA_ASSIGN_OR_RETURN(record.head, GetHead(body));
  std::array<uint8_t, kHyperBytes> bytes;
  std::copy_n(body.begin() + kHeadBytes, kHyperBytes, bytes.begin());
  record.sketch = FromBytes(bytes);
  return record;
}

std::string EncodeUsage(std::string_view key, const UsageRecord& record) {
  std::string body;
  PutInt(kBodyVersion, 1, &body);
  PutInt(record.uses, 8, &body);
  PutFloat(record.weight, &body);
  return Seal(Family::kUsage, key, std::move(body));
}

absl::StatusOr<UsageRecord> DecodeUsage(std::string_view key, std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string_view body,
                           Unseal(Family::kUsage, key, value, kUsageBodyBytes));
  UsageRecord record;
  if (body.size() == kUsageBodyBytes) {
    record.uses = GetInt(body, 1, 8);
    record.weight = GetFloat(body, 9);
  }
  if (body.size() != kUsageBodyBytes || !(record.weight >= -1 && record.weight <= 1)) {
    return absl::DataLossError(
        absl::StrCat("usage record has ", body.size(), " bytes and weight ", record.weight));
  }
  return record;
}

std::string EncodeAbout(std::string_view key, const AboutRecord& record) {
  std::string body;
  PutInt(kBodyVersion, 1, &body);
  PutInt(static_cast<uint8_t>(record.source), 1, &body);
  PutInt(record.id, 8, &body);
  return Seal(Family::kAbouts, key, std::move(body));
}

absl::StatusOr<AboutRecord> DecodeAbout(std::string_view key, std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string_view body,
                           Unseal(Family::kAbouts, key, value, kAboutBodyBytes));
  const AboutRecord record{.id = GetInt(body, 2, 8),
                           .source = static_cast<Source>(GetInt(body, 1, 1))};
  if (body.size() != kAboutBodyBytes || !ValidateSource(record.source).ok()) {
    return absl::DataLossError(absl::StrCat("about record has ", body.size(), " bytes and source ",
                                            static_cast<int>(record.source)));
  }
  return record;
}

std::string AboutKey(std::string_view user, std::string_view about) {
  return UserKey(user, std::string_view(Sha256Hex(about)).substr(0, kAboutDigits));
}

int64_t FactBytes(size_t user_bytes, size_t about_bytes, size_t text_bytes) {
  const size_t id_key = user_bytes + 1 + 8;
  size_t bytes = 3 * (id_key + kSealBytes) + kHeadBytes + about_bytes + text_bytes +
                 kSketchBodyBytes + kUsageBodyBytes;
  if (about_bytes > 0) {
    bytes += user_bytes + 1 + kAboutDigits + kAboutBodyBytes + kSealBytes;
  }
  return static_cast<int64_t>(bytes);
}

void CountUse(float benefit, UsageRecord* usage) {
  ++usage->uses;
  usage->weight = 0.9f * usage->weight + 0.1f * std::clamp(benefit, -1.0f, 1.0f);
}

}  // namespace chimera
