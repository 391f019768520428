// JSON Schema as rules, and the json mode.
//
// A schema is refused rather than read loosely: a keyword that the rules cannot express ends in an
// error with its JSON pointer. Unknown keywords are annotations, as the standard has it, and so are
// unknown formats; known formats are asserted.
//
// Generated objects have their properties in the order of the schema. Checked ones may have any
// order, white space and spelling of strings and numbers.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "grammar/machine.h"
#include "grammar/rule_builder.h"
#include "grammar/rules.h"

namespace chimera {

inline constexpr int kJsonSchemaBytesMax = 1 << 20;
inline constexpr int kJsonSchemaDepthMax = 256;

struct JsonOptions {
  GrammarUse use = GrammarUse::kGenerate;
  bool compact = false;  // no white space at all
};

// INVALID_ARGUMENT with the JSON pointer of what is malformed, refused or never fulfilled;
// RESOURCE_EXHAUSTED beyond a limit.
absl::StatusOr<RuleTables> CompileJsonSchema(std::string_view schema_text,
                                             const JsonOptions& options);
// The rule of a schema's values, without white space around them, for a grammar that embeds it.
absl::StatusOr<uint32_t> AddJsonSchemaRule(RuleBuilder* builder, std::string_view schema_text,
                                           const JsonOptions& options);

// Mode json: RFC 8259, any value. Generating puts at most 20 bytes of white space in a row between
// tokens and at most one behind the value.
std::shared_ptr<const Machine> MakeJsonMachine(GrammarUse use);

}  // namespace chimera
