#include "memory/record_codec.h"

#include <bit>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "memory/memory_arguments.h"

namespace chimera {
namespace {

constexpr std::string_view kMetaMagic = "CHMEMORY";
constexpr size_t kMetaBytes = 40;

uint64_t Checksum(Family family, std::string_view key, std::string_view body) {
  std::string bytes(1, static_cast<char>(family));
  bytes += key;
  bytes += body;
  return Xxh3(bytes);
}

}  // namespace

const char* FamilyName(Family family) {
  switch (family) {
    case Family::kMeta:
      return "default";
    case Family::kFacts:
      return "facts";
    case Family::kSketches:
      return "sketches";
    case Family::kUsage:
      return "usage";
    case Family::kAbouts:
      return "abouts";
    case Family::kRelations:
      return "relations";
    case Family::kCases:
      return "cases";
    case Family::kGuidelines:
      return "guidelines";
    case Family::kSections:
      return "sections";
  }
  return "unknown";
}

KeyRange UserRange(std::string_view user) {
  KeyRange range{.first = UserKey(user, ""), .last = std::string(user)};
  range.last += '\x01';
  return range;
}

std::string UserKey(std::string_view user, std::string_view rest) {
  std::string key(user);
  key += '\0';
  key += rest;
  return key;
}

std::string IdKey(std::string_view user, uint64_t id) {
  std::string key = UserKey(user, "");
  PutBigEndian(id, 8, &key);
  return key;
}

absl::StatusOr<SplitKey> SplitUserKey(std::string_view key) {
  const size_t end = key.find('\0');
  if (end == key.npos || !ValidateUserId(key.substr(0, end)).ok()) {
    return absl::DataLossError(absl::StrCat("key of ", key.size(), " bytes is malformed"));
  }
  return SplitKey{.user = std::string(key.substr(0, end)), .rest = key.substr(end + 1)};
}

absl::StatusOr<uint64_t> IdOfKeyRest(std::string_view rest) {
  if (rest.size() == 8) return GetBigEndian(rest, 0, 8);
  return absl::DataLossError(absl::StrCat("id in a key has ", rest.size(), " bytes; it has 8"));
}

void PutInt(uint64_t value, int width, std::string* out) {
  for (int i = 0; i < width; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t GetInt(std::string_view bytes, size_t at, int width) {
  uint64_t value = 0;
  for (int i = 0; i < width; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  }
  return value;
}

void PutFloat(float value, std::string* out) { PutInt(std::bit_cast<uint32_t>(value), 4, out); }

float GetFloat(std::string_view bytes, size_t at) {
  return std::bit_cast<float>(static_cast<uint32_t>(GetInt(bytes, at, 4)));
}

void PutBigEndian(uint64_t value, int width, std::string* out) {
  for (int i = width - 1; i >= 0; --i) out->push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t GetBigEndian(std::string_view bytes, size_t at, int width) {
  uint64_t value = 0;
  for (int i = 0; i < width; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

std::string Seal(Family family, std::string_view key, std::string body) {
  PutInt(Checksum(family, key, body), kSealBytes, &body);
  return body;
}

absl::StatusOr<std::string_view> Unseal(Family family, std::string_view key, std::string_view value,
                                        size_t body_min) {
  const char* name = FamilyName(family);
  if (value.size() < body_min + kSealBytes) {
    return absl::DataLossError(absl::StrCat("record in ", name, " has ", value.size(),
                                            " bytes; it has at least ", body_min + kSealBytes));
  }
  const std::string_view body = value.substr(0, value.size() - kSealBytes);
  if (GetInt(value, body.size(), kSealBytes) != Checksum(family, key, body)) {
    return absl::DataLossError(absl::StrCat("record in ", name, " has a wrong checksum"));
  }
  if (const uint64_t version = GetInt(body, 0, 1); version != kBodyVersion) {
    return absl::DataLossError(absl::StrCat("record in ", name, " has version ", version,
                                            "; known is ", int{kBodyVersion}));
  }
  return body;
}

std::string EncodeStoreMeta(const StoreMeta& meta) {
  std::string value(kMetaMagic);
  PutInt(kStoreVersion, 4, &value);
  PutInt(0, 4, &value);
  PutInt(meta.codebook_seed, 8, &value);
  PutInt(meta.tokenizer_hash, 8, &value);
  PutInt(Xxh3(value), 8, &value);
  return value;
}

absl::StatusOr<StoreMeta> DecodeStoreMeta(std::string_view value) {
  if (value.size() != kMetaBytes || value.substr(0, kMetaMagic.size()) != kMetaMagic) {
    return absl::DataLossError(
        absl::StrCat("meta record of ", value.size(), " bytes is malformed"));
  }
  if (GetInt(value, 32, 8) != Xxh3(value.substr(0, 32))) {
    return absl::DataLossError("meta record has a wrong checksum");
  }
  if (const uint64_t version = GetInt(value, 8, 4); version != kStoreVersion) {
    return absl::FailedPreconditionError(absl::StrCat("memory store has format version ", version,
                                                      "; this program reads ", kStoreVersion));
  }
  return StoreMeta{.codebook_seed = GetInt(value, 16, 8), .tokenizer_hash = GetInt(value, 24, 8)};
}

}  // namespace chimera
