// Fuzz target: JSON schemas.
#include "grammar/fuzz_driver.h"

namespace chimera {

std::vector<std::string_view> FuzzSeeds() {
  return {
      R"({"type": "object", "properties": {"a": {"type": "integer", "minimum": 3},
              "b": {"$ref": "#"}}, "required": ["b", "a"], "additionalProperties": false})",
      R"({"type": "array", "items": {"enum": [1, "x", null, [2]]}, "minItems": 2, "maxItems": 5})",
      R"({"anyOf": [{"type": "string", "pattern": "^[a-z]*(bc)?$", "minLength": 2,
              "maxLength": 7}, {"type": "number", "multipleOf": 0.5, "maximum": 9}]})",
      R"({"oneOf": [{"const": 1}, {"type": "string", "format": "date-time"}], "not": {}})",
      R"({"allOf": [{"minProperties": 1}, {"patternProperties": {"^x": {"type": "boolean"}}}]})",
      R"({"$defs": {"n": {"type": ["null", "object"], "properties": {"n": {"$ref": "#/$defs/n"}}}},
              "$ref": "#/$defs/n", "propertyNames": {"maxLength": 3}})"};
}

std::vector<std::string_view> FuzzPieces() {
  return {R"("type": "string",)",
          R"("minLength": 3,)",
          R"("maxLength": 4,)",
          R"("pattern": "a.*b",)",
          R"("items": )",
          R"("not": )",
          R"("oneOf": [{}, )",
          R"("$ref": "#")",
          R"("required": ["a"],)",
          R"("additionalProperties": )",
          R"("minimum": 1e30,)",
          R"("multipleOf": 7,)",
          "{",
          "}",
          "[",
          "]",
          ",",
          "true",
          "0",
          "-1.5",
          "\"a\"",
          R"("enum": ["a", "b"],)",
          R"("contains": {},)"};
}

}  // namespace chimera

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return chimera::FuzzSource(chimera::GrammarSource::Kind::kJsonSchema, data, size);
}
