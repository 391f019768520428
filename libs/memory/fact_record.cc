#include "memory/fact_record.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "memory/memory.h"
#include "memory/memory_arguments.h"

namespace chimera {
namespace {

constexpr uint32_t kRecordVersion = 1;
constexpr size_t kSketchAt = 16;
constexpr size_t kTextAt = kSketchAt + kHyperBytes;
constexpr size_t kChecksumBytes = 8;

constexpr std::string_view kMetaMagic = "CHMEMORY";
constexpr uint32_t kMetaVersion = 1;
constexpr size_t kMetaBytes = 40;

// Little endian, width 4 or 8.
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

uint64_t RecordChecksum(std::string_view key, std::string_view body) {
  std::string bytes(key);
  bytes += body;
  return Xxh3(bytes);
}

}  // namespace

std::string FirstFactKey(std::string_view user) {
  std::string key(kFactKeyPrefix);
  key += user;
  key += '\0';
  return key;
}

std::string LastFactKey(std::string_view user) {
  std::string key = FirstFactKey(user);
  key.back() = '\x01';
  return key;
}

std::string EncodeFactKey(std::string_view user, uint64_t id) {
  std::string key = FirstFactKey(user);
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(id >> shift));
  return key;
}

absl::StatusOr<FactKey> DecodeFactKey(std::string_view key) {
  const size_t end = key.find('\0');
  if (key.substr(0, 1) != kFactKeyPrefix || end == key.npos || key.size() - end != 9) {
    return absl::DataLossError(absl::StrCat("fact key of ", key.size(), " bytes is malformed"));
  }
  FactKey fact;
  fact.user = key.substr(1, end - 1);
  CHIMERA_RETURN_IF_ERROR(ValidateUserId(fact.user));
  for (size_t i = end + 1; i < key.size(); ++i) {
    fact.id = fact.id << 8 | static_cast<uint8_t>(key[i]);
  }
  return fact;
}

std::string EncodeFact(std::string_view key, const FactRecord& record) {
  std::string value;
  value.reserve(kTextAt + record.text.size() + kChecksumBytes);
  PutInt(kRecordVersion, 4, &value);
  PutInt(record.text.size(), 4, &value);
  PutInt(static_cast<uint64_t>(record.created_ms), 8, &value);
  for (uint8_t byte : ToBytes(record.sketch)) value.push_back(static_cast<char>(byte));
  value += record.text;
  PutInt(RecordChecksum(key, value), 8, &value);
  return value;
}

absl::StatusOr<FactRecord> DecodeFact(std::string_view key, std::string_view value) {
  if (value.size() < kTextAt + kChecksumBytes + 1 ||
      value.size() > kTextAt + kChecksumBytes + kFactTextBytesMax) {
    return absl::DataLossError(absl::StrCat("fact record of ", value.size(), " bytes"));
  }
  const std::string_view body = value.substr(0, value.size() - kChecksumBytes);
  if (GetInt(value, body.size(), 8) != RecordChecksum(key, body)) {
    return absl::DataLossError("fact record has a wrong checksum");
  }
  if (const uint64_t version = GetInt(value, 0, 4); version != kRecordVersion) {
    return absl::DataLossError(
        absl::StrCat("fact record has version ", version, "; known is ", kRecordVersion));
  }
  if (const uint64_t text_bytes = GetInt(value, 4, 4); text_bytes != body.size() - kTextAt) {
    return absl::DataLossError(absl::StrCat("fact record says ", text_bytes, " text bytes and has ",
                                            body.size() - kTextAt));
  }
  FactRecord record;
  record.created_ms = static_cast<int64_t>(GetInt(value, 8, 8));
  std::array<uint8_t, kHyperBytes> sketch;
  std::copy_n(body.begin() + kSketchAt, kHyperBytes, sketch.begin());
  record.sketch = FromBytes(sketch);
  record.text = body.substr(kTextAt);
  return record;
}

std::string EncodeStoreMeta(const StoreMeta& meta) {
  std::string value(kMetaMagic);
  PutInt(kMetaVersion, 4, &value);
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
  if (const uint64_t version = GetInt(value, 8, 4); version != kMetaVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("memory store has version ", version, "; known is ", kMetaVersion));
  }
  return StoreMeta{.codebook_seed = GetInt(value, 16, 8), .tokenizer_hash = GetInt(value, 24, 8)};
}

}  // namespace chimera
