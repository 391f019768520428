// A JSON text as a tree that keeps the order of keys and the spelling of numbers, both of which
// decide what a schema means.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace chimera {

struct JsonTree {
  enum class Kind : uint8_t { kNull, kBoolean, kNumber, kString, kArray, kObject };

  Kind kind = Kind::kNull;
  bool flag = false;                                      // kBoolean
  std::string text;                                       // kString: the value; kNumber: as written
  std::vector<JsonTree> items;                            // kArray
  std::vector<std::pair<std::string, JsonTree>> members;  // kObject; keys are unique

  bool Is(Kind other) const { return kind == other; }
  const JsonTree* Find(std::string_view key) const;
};

// INVALID_ARGUMENT for what is no JSON or has a key twice; RESOURCE_EXHAUSTED beyond
// kJsonSchemaBytesMax or kJsonSchemaDepthMax.
absl::StatusOr<JsonTree> ParseJsonTree(std::string_view text);

// Whether two values are equal as JSON Schema has it: 1 and 1.0 are, the order of keys is nothing.
bool JsonEquals(const JsonTree& a, const JsonTree& b);

// "/" and a key as a token of a JSON pointer.
std::string PointerToken(std::string_view key);

}  // namespace chimera
