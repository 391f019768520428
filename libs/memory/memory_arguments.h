// The checks of a Memory's arguments: INVALID_ARGUMENT naming the value and the limit. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "memory/memory_types.h"

namespace chimera {

// 1..64 characters of [A-Za-z0-9_.-].
absl::Status ValidateUserId(std::string_view user);
// what names the argument in the message; 1..16,384 bytes of valid UTF-8.
absl::Status ValidateFactText(std::string_view text, std::string_view what);
// 1..64.
absl::Status ValidateRecallCount(int k);
// 16 lower-case hex digits.
absl::Status ValidateFactId(std::string_view fact_id);
absl::Status ValidateNewFacts(std::span<const NewFact> facts);
absl::Status ValidateQueries(std::span<const std::string> queries, const RecallOptions& options);
absl::Status ValidateUses(std::span<const FactUse> uses);
absl::Status ValidateSource(Source source);
absl::Status ValidateRelations(std::span<const Relation> relations);
absl::Status ValidatePattern(const RelationPattern& pattern);
absl::Status ValidateRecordClass(RecordClass record_class);
absl::Status ValidateRecords(std::span<const MemoryRecord> records);
absl::Status ValidateSection(std::string_view name, const MemorySection& section);
absl::Status ValidateSectionName(std::string_view name);
// 1..limit_max, of what.
absl::Status ValidateLimit(int limit, int limit_max, std::string_view what);
// 1..kItemsPerCallMax items of what.
absl::Status ValidateItemCount(size_t count, std::string_view what);

}  // namespace chimera
