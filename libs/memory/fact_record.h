// Keys and values of the memory store, byte by byte as in docs/formats/memory-store.md.
// Functions here are pure and thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hdc/hypervector.h"

namespace chimera {

struct FactRecord {
  int64_t created_ms = 0;
  HyperVector sketch;
  std::string text;
};

// What the whole store was made with.
struct StoreMeta {
  uint64_t codebook_seed = 0;
  uint64_t tokenizer_hash = 0;
};

struct FactKey {
  std::string user;
  uint64_t id = 0;
};

std::string EncodeFactKey(std::string_view user, uint64_t id);
// All keys of the user lie in [first, last).
std::string FirstFactKey(std::string_view user);
std::string LastFactKey(std::string_view user);
absl::StatusOr<FactKey> DecodeFactKey(std::string_view key);

// The checksum covers the key too, so a value under a wrong key is found out.
std::string EncodeFact(std::string_view key, const FactRecord& record);
// DATA_LOSS naming the fault (never the text).
absl::StatusOr<FactRecord> DecodeFact(std::string_view key, std::string_view value);

// The one key that is no fact.
inline constexpr std::string_view kStoreMetaKey = "meta";
inline constexpr std::string_view kFactKeyPrefix = "f";
std::string EncodeStoreMeta(const StoreMeta& meta);
absl::StatusOr<StoreMeta> DecodeStoreMeta(std::string_view value);

}  // namespace chimera
