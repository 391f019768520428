#include "memory/relation_record.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "memory/memory_arguments.h"
#include "memory/record_codec.h"

namespace chimera {
namespace {

constexpr size_t kNameRestBytes = 5;
constexpr size_t kTripleRestBytes = 13;
constexpr size_t kTripleBodyBytes = 6;

}  // namespace

std::string NameKey(std::string_view user, uint32_t id) {
  std::string key = UserKey(user, std::string_view(&kNameKeyKind, 1));
  PutBigEndian(id, 4, &key);
  return key;
}

std::string TripleKey(std::string_view user, const Triple& triple) {
  std::string key = UserKey(user, std::string_view(&kTripleKeyKind, 1));
  for (const uint32_t id : {triple.subject, triple.predicate, triple.object}) {
    PutBigEndian(id, 4, &key);
  }
  return key;
}

absl::StatusOr<RelationKey> DecodeRelationKey(std::string_view rest) {
  RelationKey key;
  if (rest.size() == kNameRestBytes && rest[0] == kNameKeyKind) {
    key.is_name = true;
    key.name_id = static_cast<uint32_t>(GetBigEndian(rest, 1, 4));
    return key;
  }
  if (rest.size() == kTripleRestBytes && rest[0] == kTripleKeyKind) {
    key.subject = static_cast<uint32_t>(GetBigEndian(rest, 1, 4));
    key.predicate = static_cast<uint32_t>(GetBigEndian(rest, 5, 4));
    key.object = static_cast<uint32_t>(GetBigEndian(rest, 9, 4));
    return key;
  }
  return absl::DataLossError(
      absl::StrCat("key in relations has ", rest.size(), " bytes after its user"));
}

std::string EncodeName(std::string_view key, std::string_view name) {
  std::string body;
  PutInt(kBodyVersion, 1, &body);
  body += name;
  return Seal(Family::kRelations, key, std::move(body));
}

absl::StatusOr<std::string> DecodeName(std::string_view key, std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string_view body, Unseal(Family::kRelations, key, value, 2));
  if (body.size() <= 1 + kRelationNameBytesMax) return std::string(body.substr(1));
  return absl::DataLossError(absl::StrCat("relation name of ", body.size() - 1,
                                          " bytes; it has at most ", kRelationNameBytesMax));
}

std::string EncodeTriple(std::string_view key, const TripleRecord& record) {
  std::string body;
  PutInt(kBodyVersion, 1, &body);
  PutInt(static_cast<uint8_t>(record.source), 1, &body);
  PutFloat(record.weight, &body);
  return Seal(Family::kRelations, key, std::move(body));
}

absl::StatusOr<TripleRecord> DecodeTriple(std::string_view key, std::string_view value) {
  CHIMERA_ASSIGN_OR_RETURN(const std::string_view body,
                           Unseal(Family::kRelations, key, value, kTripleBodyBytes));
  const TripleRecord record{.source = static_cast<Source>(GetInt(body, 1, 1)),
                            .weight = GetFloat(body, 2)};
  if (body.size() != kTripleBodyBytes || !ValidateSource(record.source).ok() ||
      !(record.weight >= -1 && record.weight <= 1)) {
    return absl::DataLossError(absl::StrCat("relation record has ", body.size(), " bytes, source ",
                                            static_cast<int>(record.source), " and weight ",
                                            record.weight));
  }
  return record;
}

int64_t NameBytes(size_t user_bytes, size_t name_bytes) {
  return static_cast<int64_t>(user_bytes + 1 + kNameRestBytes + 1 + name_bytes + kSealBytes);
}

int64_t TripleBytes(size_t user_bytes) {
  return static_cast<int64_t>(user_bytes + 1 + kTripleRestBytes + kTripleBodyBytes + kSealBytes);
}

}  // namespace chimera
