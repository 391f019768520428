#include "memory/memory_arguments.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "hdc/words.h"

namespace chimera {
namespace {

bool IsUserIdByte(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

bool IsHexDigit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

bool IsSectionNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

absl::Status CheckUtf8(std::string_view text, size_t bytes_min, size_t bytes_max,
                       std::string_view what) {
  if (text.size() < bytes_min || text.size() > bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat(
        std::string(what), " of ", text.size(), " bytes; it has ", bytes_min, " to ", bytes_max));
  }
  if (!IsValidUtf8(text)) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(what), " of ", text.size(), " bytes is not valid UTF-8"));
  }
  return absl::OkStatus();
}

absl::Status CheckWeight(float weight, std::string_view what) {
  if (weight >= -1 && weight <= 1) return absl::OkStatus();  // NaN is neither
  return absl::InvalidArgumentError(
      absl::StrCat("weight ", weight, " of ", std::string(what), "; it is -1 to 1"));
}

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
  return CheckUtf8(text, 1, kFactTextBytesMax, what);
}

absl::Status ValidateRecallCount(int k) { return ValidateLimit(k, kRecallFactsMax, "recall"); }

absl::Status ValidateFactId(std::string_view fact_id) {
  if (fact_id.size() == kFactIdDigits && std::all_of(fact_id.begin(), fact_id.end(), IsHexDigit)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("fact id of ", fact_id.size(), " bytes; it is ",
                                                 kFactIdDigits, " lower-case hex digits"));
}

absl::Status ValidateNewFacts(std::span<const NewFact> facts) {
  CHIMERA_RETURN_IF_ERROR(ValidateItemCount(facts.size(), "facts"));
  for (size_t i = 0; i < facts.size(); ++i) {
    const std::string what = absl::StrCat("fact ", i);
    CHIMERA_RETURN_IF_ERROR(ValidateFactText(facts[i].text, what + ": text"));
    CHIMERA_RETURN_IF_ERROR(CheckUtf8(facts[i].about, 0, kFactAboutBytesMax, what + ": about"));
    CHIMERA_RETURN_IF_ERROR(ValidateSource(facts[i].source));
    CHIMERA_RETURN_IF_ERROR(CheckWeight(facts[i].weight, what));
  }
  return absl::OkStatus();
}

absl::Status ValidateQueries(std::span<const std::string> queries, const RecallOptions& options) {
  if (queries.empty() || queries.size() > kQueriesPerCallMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("recall with ", queries.size(), " queries; it has 1 to ", kQueriesPerCallMax));
  }
  for (const std::string& query : queries) {
    CHIMERA_RETURN_IF_ERROR(ValidateFactText(query, "query"));
  }
  if (!(options.similarity_min >= -1 && options.similarity_min <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("similarity_min ", options.similarity_min, "; it is -1 to 1"));
  }
  return ValidateRecallCount(options.k);
}

absl::Status ValidateUses(std::span<const FactUse> uses) {
  CHIMERA_RETURN_IF_ERROR(ValidateItemCount(uses.size(), "uses"));
  for (const FactUse& use : uses) {
    CHIMERA_RETURN_IF_ERROR(ValidateFactId(use.fact_id));
    if (!std::isfinite(use.benefit)) {
      return absl::InvalidArgumentError(
          absl::StrCat("benefit of fact ", use.fact_id, " is not a finite number"));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateSource(Source source) {
  if (source == Source::kUser || source == Source::kInferred) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("source ", static_cast<int>(source), "; it is 1 (user) or 2 (inferred)"));
}

absl::Status ValidateRelations(std::span<const Relation> relations) {
  CHIMERA_RETURN_IF_ERROR(ValidateItemCount(relations.size(), "relations"));
  for (size_t i = 0; i < relations.size(); ++i) {
    const Relation& relation = relations[i];
    const std::string what = absl::StrCat("relation ", i);
    constexpr size_t kMax = kRelationNameBytesMax;
    CHIMERA_RETURN_IF_ERROR(CheckUtf8(relation.subject, 1, kMax, what + ": subject"));
    CHIMERA_RETURN_IF_ERROR(CheckUtf8(relation.predicate, 1, kMax, what + ": predicate"));
    CHIMERA_RETURN_IF_ERROR(CheckUtf8(relation.object, 1, kMax, what + ": object"));
    CHIMERA_RETURN_IF_ERROR(CheckWeight(relation.weight, what));
  }
  return absl::OkStatus();
}

absl::Status ValidatePattern(const RelationPattern& pattern) {
  CHIMERA_RETURN_IF_ERROR(CheckUtf8(pattern.subject, 0, kRelationNameBytesMax, "subject"));
  CHIMERA_RETURN_IF_ERROR(CheckUtf8(pattern.predicate, 0, kRelationNameBytesMax, "predicate"));
  return CheckUtf8(pattern.object, 0, kRelationNameBytesMax, "object");
}

absl::Status ValidateRecordClass(RecordClass record_class) {
  if (record_class == RecordClass::kCase || record_class == RecordClass::kGuideline) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("record class ", static_cast<int>(record_class),
                                                 "; it is 1 (case) or 2 (guideline)"));
}

absl::Status ValidateRecords(std::span<const MemoryRecord> records) {
  CHIMERA_RETURN_IF_ERROR(ValidateItemCount(records.size(), "records"));
  for (const MemoryRecord& record : records) {
    if (record.bytes.empty() || record.bytes.size() > kRecordBytesMax) {
      return absl::InvalidArgumentError(absl::StrCat("record ", record.id, " of ",
                                                     record.bytes.size(), " bytes; it has 1 to ",
                                                     kRecordBytesMax));
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateSection(std::string_view name, const MemorySection& section) {
  CHIMERA_RETURN_IF_ERROR(ValidateSectionName(name));
  if (section.bytes.size() <= kSectionBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("section ", std::string(name), " of ",
                                                 section.bytes.size(), " bytes; it has at most ",
                                                 kSectionBytesMax));
}

absl::Status ValidateSectionName(std::string_view name) {
  if (!name.empty() && name.size() <= kSectionNameBytesMax &&
      std::all_of(name.begin(), name.end(), IsSectionNameByte)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("section name of ", name.size(),
                                                 " bytes; it has 1 to ", kSectionNameBytesMax,
                                                 " characters of [a-z0-9_.]"));
}

absl::Status ValidateLimit(int limit, int limit_max, std::string_view what) {
  if (limit >= 1 && limit <= limit_max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(what), " of ", limit, " entries; it is 1 to ", limit_max));
}

absl::Status ValidateItemCount(size_t count, std::string_view what) {
  if (count >= 1 && count <= kItemsPerCallMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(count, " ", std::string(what),
                                                 " in one call; it takes 1 to ", kItemsPerCallMax));
}

}  // namespace chimera
