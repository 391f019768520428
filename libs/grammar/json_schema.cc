#include "grammar/json_schema.h"

#include "base/status_macros.h"
#include "grammar/json_rules.h"
#include "grammar/json_tree.h"
#include "grammar/schema_forms.h"
#include "grammar/schema_rules.h"
#include "grammar/schema_source.h"

namespace chimera {
namespace {

absl::StatusOr<uint32_t> AddSchema(JsonRules* json, std::string_view schema_text) {
  CHIMERA_ASSIGN_OR_RETURN(const JsonTree tree, ParseJsonTree(schema_text));
  SchemaSource source(&tree);
  SchemaForms forms(&source);
  CHIMERA_ASSIGN_OR_RETURN(const FormId root, forms.Of(source.root()));
  return SchemaRules(&forms, json).Add(root);
}

}  // namespace

absl::StatusOr<RuleTables> CompileJsonSchema(std::string_view schema_text,
                                             const JsonOptions& options) {
  RuleBuilder builder;
  JsonRules json(&builder, options.use, options.compact);
  CHIMERA_ASSIGN_OR_RETURN(const uint32_t value, AddSchema(&json, schema_text));
  return builder.Build(json.Document(value));
}

absl::StatusOr<uint32_t> AddJsonSchemaRule(RuleBuilder* builder, std::string_view schema_text,
                                           const JsonOptions& options) {
  JsonRules json(builder, options.use, options.compact);
  return AddSchema(&json, schema_text);
}

}  // namespace chimera
