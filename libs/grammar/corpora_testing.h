// Grammars that several tests share.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace chimera {

// One language in our notation and in Lark's.
struct EbnfPair {
  const char *ours, *larks, *bytes;  // bytes: what mutations insert
};
std::span<const EbnfPair> EbnfPairs();

// A schema as people write them, with instances that fit and do not: {"data": .., "valid": ..}.
struct CorpusSchema {
  std::string name, schema;
  nlohmann::ordered_json tests;
};
// Of json_schemas.jsonl in CHIMERA_DATA_DIR; empty without it.
std::vector<CorpusSchema> SchemaCorpus();

}  // namespace chimera
