// One line of an export: a JSON object (docs/formats/memory-store.md, "Export"). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"
#include "memory/memory_types.h"

namespace chimera {

struct ExportedFact {
  NewFact fact;
  uint64_t uses = 0;
  int64_t created_ms = 0;
};
struct ExportedRelation {
  Relation relation;
  Source source = Source::kUser;
};
struct ExportedRecord {
  RecordClass record_class = RecordClass::kCase;
  MemoryRecord record;
};
struct ExportedSection {
  std::string name;
  MemorySection section;
};
using ExportedItem = std::variant<ExportedFact, ExportedRelation, ExportedRecord, ExportedSection>;

// At most kImportLineBytesMax bytes for every valid item.
std::string ExportLine(const ExportedItem& item);
// INVALID_ARGUMENT naming the fault and never the text: a line that is too long, is not one JSON
// object, or has an unknown, missing or wrong member, or a value out of bounds.
absl::StatusOr<ExportedItem> ParseExportLine(std::string_view line);

}  // namespace chimera
