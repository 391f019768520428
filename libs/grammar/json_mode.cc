// Mode json: any JSON value.
#include "base/check.h"
#include "grammar/json_rules.h"
#include "grammar/json_schema.h"

namespace chimera {

std::shared_ptr<const Machine> MakeJsonMachine(GrammarUse use) {
  RuleBuilder builder;
  JsonRules rules(&builder, use, false);
  auto tables = builder.Build(rules.Document(rules.AnyValue()));
  CHIMERA_CHECK(tables.ok());
  return std::make_shared<RuleMachine>(*std::move(tables));
}

}  // namespace chimera
