// Deterministic automata as parts of rules.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "grammar/byte_dfa.h"
#include "grammar/rule_builder.h"

namespace chimera {

// The texts of an automaton between two places of a rule.
void AddDfa(RuleBuilder* builder, uint32_t from, const ByteDfa& dfa, uint32_t to);

// The content of a JSON string whose value is a text of the automaton, up to and with the closing
// quote, behind which the rule ends. Returns the place behind the opening quote. flags are those of
// MakeString; kPlaceCounted counts the characters.
uint32_t AddStringDfa(RuleBuilder* builder, uint32_t rule, const ByteDfa& dfa, uint8_t flags);

// The texts that match a regular expression as a whole.
absl::StatusOr<std::shared_ptr<const Machine>> MakeRegexMachine(std::string_view pattern);

}  // namespace chimera
