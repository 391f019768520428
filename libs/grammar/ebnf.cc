#include "grammar/ebnf.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "grammar/ebnf_parse.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"
#include "grammar/rule_builder.h"
#include "grammar/rule_dfa.h"
#include "text/utf8.h"

namespace chimera {
namespace {

class EbnfCompiler {
 public:
  EbnfCompiler(std::string_view text, GrammarUse use) : text_(text), use_(use) {}

  absl::StatusOr<RuleTables> Compile() {
    CHIMERA_ASSIGN_OR_RETURN(const std::vector<EbnfRule> rules, ParseEbnf(text_));
    for (const EbnfRule& rule : rules) ids_[rule.name] = builder_.AddRule(rule.name);
    auto root = ids_.find("root");
    if (root == ids_.end()) root = ids_.find("start");
    if (root == ids_.end()) {
      return absl::InvalidArgumentError("a grammar needs a rule named root or start");
    }
    for (const EbnfRule& rule : rules) {
      rule_ = ids_[rule.name];
      CHIMERA_RETURN_IF_ERROR(Emit(rule.body, builder_.start(rule_), builder_.end(rule_)));
    }
    return builder_.Build(root->second);
  }

 private:
  absl::Status Emit(const EbnfNode& node, uint32_t from, uint32_t to) {
    if (builder_.n_places() > kRulePlacesMax) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the grammar needs more than ", kRulePlacesMax, " places"));
    }
    switch (node.kind) {
      case EbnfNode::Kind::kSequence:
        for (const EbnfNode& part : node.parts) {
          const uint32_t next = builder_.AddPlace(rule_);
          CHIMERA_RETURN_IF_ERROR(Emit(part, from, next));
          from = next;
        }
        builder_.Empty(from, to);
        return absl::OkStatus();
      case EbnfNode::Kind::kChoice:
        for (const EbnfNode& part : node.parts) CHIMERA_RETURN_IF_ERROR(Emit(part, from, to));
        return absl::OkStatus();
      case EbnfNode::Kind::kRepeat:
        return EmitRepeat(node, from, to);
      case EbnfNode::Kind::kText:
        builder_.Text(from, node.text, to);
        return absl::OkStatus();
      case EbnfNode::Kind::kSet:
        for (const Utf8Sequence& row : Utf8Sequences(node.set)) EmitRow(row, from, to);
        return absl::OkStatus();
      case EbnfNode::Kind::kRule: {
        const auto called = ids_.find(node.text);
        if (called == ids_.end()) {
          return EbnfFault(text_, node.at, "rule " + node.text + " is not defined");
        }
        builder_.Call(from, called->second, to);
        return absl::OkStatus();
      }
      case EbnfNode::Kind::kRegex: {
        const auto dfa = CompileRegex(node.text, {.steps_left = &regex_steps_left_});
        if (!dfa.ok()) return EbnfFault(text_, node.at, ToStd(dfa.status().message()));
        AddDfa(&builder_, from, *dfa, to);
        return absl::OkStatus();
      }
      case EbnfNode::Kind::kJson: {
        const auto schema = AddJsonSchemaRule(&builder_, node.text, {.use = use_});
        if (!schema.ok()) return EbnfFault(text_, node.at, ToStd(schema.status().message()));
        builder_.Call(from, *schema, to);
        return absl::OkStatus();
      }
    }
    return absl::OkStatus();
  }

  absl::Status EmitRepeat(const EbnfNode& node, uint32_t from, uint32_t to) {
    const uint32_t around = rule_;
    rule_ = builder_.AddRule(absl::StrCat(builder_.name(around), ", a part that is repeated"));
    const uint32_t body = rule_;
    const absl::Status status = Emit(node.parts[0], builder_.start(body), builder_.end(body));
    rule_ = around;
    builder_.Repeat(from, body, node.min, node.max, to);
    return status;
  }

  void EmitRow(const Utf8Sequence& row, uint32_t from, uint32_t to) {
    for (int i = 0; i < row.size; ++i) {
      const uint32_t next = i + 1 == row.size ? to : builder_.AddPlace(rule_);
      builder_.Bytes(from, row.bytes[i].low, row.bytes[i].high, next);
      from = next;
    }
  }

  const std::string_view text_;
  const GrammarUse use_;
  RuleBuilder builder_;
  int64_t regex_steps_left_ = kRegexStepsMax;  // of all expressions together
  std::map<std::string, uint32_t, std::less<>> ids_;
  uint32_t rule_ = 0;  // that places are added to
};

}  // namespace

absl::StatusOr<RuleTables> CompileEbnf(std::string_view text, GrammarUse use) {
  if (text.size() > kEbnfBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a grammar of ", text.size(), " bytes, the limit is ", kEbnfBytesMax));
  }
  if (ValidUtf8Prefix(text) != text.size()) {
    return absl::InvalidArgumentError("the grammar is no UTF-8");
  }
  return EbnfCompiler(text, use).Compile();
}

}  // namespace chimera
