// The records of one fact: text, sketch, usage, and what it is about
// (docs/formats/memory-store.md). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hdc/hypervector.h"
#include "memory/memory_types.h"

namespace chimera {

// What the text's record and the sketch's record both begin with.
struct FactHead {
  Source source = Source::kUser;
  uint32_t about_bytes = 0;
  uint32_t text_bytes = 0;
  int64_t created_ms = 0;
  uint32_t tags = 0;

  bool operator==(const FactHead&) const = default;
};

struct FactRecord {
  FactHead head;  // its byte counts are those of about and text
  std::string about;
  std::string text;
};

struct SketchRecord {
  FactHead head;
  HyperVector sketch;
};

struct UsageRecord {
  uint64_t uses = 0;
  float weight = 0;

  bool operator==(const UsageRecord&) const = default;
};

// Which fact is the one about something.
struct AboutRecord {
  uint64_t id = 0;
  Source source = Source::kUser;
};

// Encoders seal; decoders return DATA_LOSS naming the fault, never the text.
std::string EncodeFact(std::string_view key, const FactRecord& record);
absl::StatusOr<FactRecord> DecodeFact(std::string_view key, std::string_view value);
std::string EncodeSketch(std::string_view key, const SketchRecord& record);
absl::StatusOr<SketchRecord> DecodeSketch(std::string_view key, std::string_view value);
std::string EncodeUsage(std::string_view key, const UsageRecord& record);
absl::StatusOr<UsageRecord> DecodeUsage(std::string_view key, std::string_view value);
std::string EncodeAbout(std::string_view key, const AboutRecord& record);
absl::StatusOr<AboutRecord> DecodeAbout(std::string_view key, std::string_view value);

// user, 00, the first 32 hex digits of SHA-256(about).
std::string AboutKey(std::string_view user, std::string_view about);

// Bytes of keys and values of all records of a fact.
int64_t FactBytes(size_t user_bytes, size_t about_bytes, size_t text_bytes);

// One use after another: uses += 1, weight <- 0.9 weight + 0.1 benefit, benefit clipped to -1..1.
void CountUse(float benefit, UsageRecord* usage);

}  // namespace chimera
