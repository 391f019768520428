// Keys and values of the memory store, byte by byte as in docs/formats/memory-store.md: integers
// little endian in values and big endian in keys, every value sealed with a checksum over its
// family, its key and its bytes. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace chimera {

// One RocksDB column family for each class of data.
enum class Family : uint8_t {
  kMeta,  // RocksDB's default family
  kFacts,
  kSketches,
  kUsage,
  kAbouts,
  kRelations,
  kCases,
  kGuidelines,
  kSections,
};
inline constexpr int kFamilies = 9;
inline constexpr size_t kSealBytes = 8;
inline constexpr uint8_t kBodyVersion = 1;

// The column family's name on disk, also in messages.
const char* FamilyName(Family family);

// All keys of a user lie in [first, last) of every family but kMeta, and no other user's key does.
struct KeyRange {
  std::string first, last;
};
KeyRange UserRange(std::string_view user);
// user, 00, rest.
std::string UserKey(std::string_view user, std::string_view rest);
// user, 00, id as 8 big-endian bytes.
std::string IdKey(std::string_view user, uint64_t id);

struct SplitKey {
  std::string user;
  std::string_view rest;  // of the key that was split
};
// DATA_LOSS when it is no user key.
absl::StatusOr<SplitKey> SplitUserKey(std::string_view key);
// Both of rest = 8 bytes.
absl::StatusOr<uint64_t> IdOfKeyRest(std::string_view rest);

// width 1, 2, 4 or 8.
void PutInt(uint64_t value, int width, std::string* out);
uint64_t GetInt(std::string_view bytes, size_t at, int width);
void PutFloat(float value, std::string* out);
float GetFloat(std::string_view bytes, size_t at);
void PutBigEndian(uint64_t value, int width, std::string* out);
uint64_t GetBigEndian(std::string_view bytes, size_t at, int width);

// Appends the checksum to a body.
std::string Seal(Family family, std::string_view key, std::string body);
// The body within value. DATA_LOSS naming the family and the fault, never the bytes: a wrong
// checksum, another version than kBodyVersion, or fewer than body_min bytes.
absl::StatusOr<std::string_view> Unseal(Family family, std::string_view key, std::string_view value,
                                        size_t body_min);

// What the whole store was made with, under the one key of family kMeta.
struct StoreMeta {
  uint64_t codebook_seed = 0;
  uint64_t tokenizer_hash = 0;
};
inline constexpr std::string_view kStoreMetaKey = "meta";
inline constexpr uint32_t kStoreVersion = 2;
std::string EncodeStoreMeta(const StoreMeta& meta);
// FAILED_PRECONDITION naming both versions for a store of another version.
absl::StatusOr<StoreMeta> DecodeStoreMeta(std::string_view value);

}  // namespace chimera
