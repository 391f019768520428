#include "grammar/rule_dfa.h"

#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "grammar/regex.h"

namespace chimera {
namespace {

// One edge for each row of bytes that leads to the same place.
void AddEdges(RuleBuilder* builder, const ByteDfa& dfa, uint32_t state, uint32_t from,
              const std::vector<uint32_t>& places) {
  for (int byte = 0; byte < 256;) {
    const uint32_t to = dfa.Next(state, static_cast<uint8_t>(byte));
    const int low = byte;
    while (byte < 256 && dfa.Next(state, static_cast<uint8_t>(byte)) == to) ++byte;
    if (to == 0) continue;
    builder->Bytes(from, static_cast<uint8_t>(low), static_cast<uint8_t>(byte - 1), places[to]);
  }
}

}  // namespace

void AddDfa(RuleBuilder* builder, uint32_t from, const ByteDfa& dfa, uint32_t to) {
  const uint32_t rule = builder->rule_of(from);
  std::vector<uint32_t> places(size_t(dfa.n_states()), kNoPlace);
  for (uint32_t s = 1; s < uint32_t(dfa.n_states()); ++s) places[s] = builder->AddPlace(rule);
  if (dfa.start() != 0) builder->Empty(from, places[dfa.start()]);
  for (uint32_t s = 1; s < uint32_t(dfa.n_states()); ++s) {
    AddEdges(builder, dfa, s, places[s], places);
    if (dfa.Accepts(s)) builder->Empty(places[s], to);
  }
}

uint32_t AddStringDfa(RuleBuilder* builder, uint32_t rule, const ByteDfa& dfa, uint8_t flags) {
  std::vector<uint32_t> places(size_t(dfa.n_states()), kNoPlace);
  for (uint32_t s = 1; s < uint32_t(dfa.n_states()); ++s) places[s] = builder->AddPlace(rule);
  for (uint32_t s = 1; s < uint32_t(dfa.n_states()); ++s) {
    AddEdges(builder, dfa, s, places[s], places);
    // Of an automaton over whole characters a state is either between two or within one.
    const bool between = dfa.BetweenCharacters(s);
    const auto own = static_cast<uint8_t>(between ? flags | kPlaceBetween : flags & ~kPlaceCounted);
    builder->MakeString(places[s], own, dfa.Accepts(s) ? builder->end(rule) : kNoPlace);
  }
  return dfa.start() == 0 ? builder->AddPlace(rule) : places[dfa.start()];
}

absl::StatusOr<std::shared_ptr<const Machine>> MakeRegexMachine(std::string_view pattern) {
  CHIMERA_ASSIGN_OR_RETURN(const ByteDfa dfa, CompileRegex(pattern, {}));
  RuleBuilder builder;
  const uint32_t root = builder.AddRule("regex");
  AddDfa(&builder, builder.start(root), dfa, builder.end(root));
  CHIMERA_ASSIGN_OR_RETURN(RuleTables tables, builder.Build(root));
  return std::make_shared<const RuleMachine>(std::move(tables));
}

}  // namespace chimera
