// Records of family relations (docs/formats/memory-store.md): interned names and triples. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "memory/memory_types.h"
#include "memory/relation_table.h"

namespace chimera {

// The first byte after the user in a key.
inline constexpr char kNameKeyKind = 'n';
inline constexpr char kTripleKeyKind = 't';

std::string NameKey(std::string_view user, uint32_t id);
std::string TripleKey(std::string_view user, const Triple& triple);

struct TripleRecord {
  Source source = Source::kUser;
  float weight = 0;
};

// What a key of the family, without its user, names. DATA_LOSS for any other key.
struct RelationKey {
  bool is_name = false;
  uint32_t name_id = 0;                             // of a name
  uint32_t subject = 0, predicate = 0, object = 0;  // of a triple
};
absl::StatusOr<RelationKey> DecodeRelationKey(std::string_view rest);

std::string EncodeName(std::string_view key, std::string_view name);
absl::StatusOr<std::string> DecodeName(std::string_view key, std::string_view value);
std::string EncodeTriple(std::string_view key, const TripleRecord& record);
absl::StatusOr<TripleRecord> DecodeTriple(std::string_view key, std::string_view value);

// Bytes of key and value.
int64_t NameBytes(size_t user_bytes, size_t name_bytes);
int64_t TripleBytes(size_t user_bytes);

}  // namespace chimera
