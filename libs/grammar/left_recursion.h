// Left recursion as loops: the left-corner transformation (Rosenkrantz and Lewis, 1970) on
// automata.
//
// A rule that can call itself before it has read a byte would push frames for ever. Take a group of
// rules that reach each other so, and one of them, A. Whatever A reads begins with something that
// no rule of the group begins for it, within some rule X; when X is complete, it stands at the
// beginning of some Y that calls X first; and so on until A is complete. So A becomes one automaton
// over copies of the group's rules: it enters all of them at once with their own beginnings only,
// and from the end of a copy of X jumps behind every first call of X. Calls further on stay calls.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grammar/rule_builder.h"

namespace chimera {

class LeftRecursion {
 public:
  explicit LeftRecursion(RuleBuilder* builder) : b_(builder) {}
  // INVALID_ARGUMENT names a rule that is left-recursive through a counted repetition,
  // RESOURCE_EXHAUSTED when the copies pass kRulePlacesMax.
  absl::Status Resolve();

 private:
  using Rules = std::vector<uint32_t>;

  void FindNullable();
  void FindBeginnings();
  std::vector<Rules> Groups() const;
  absl::Status Rewrite(const Rules& group);
  // Copies rules into places of `target`, entered before their first byte, without the first calls
  // of rules of the group. Returns the copy's start; where `wanted` ends, target ends.
  absl::StatusOr<uint32_t> Copy(uint32_t target, uint32_t wanted, const Rules& sources,
                                const Rules& group);
  // A rule that reads what another one reads, except nothing; Rewrite fills it.
  uint32_t NotEmpty(uint32_t rule);
  void IndexPlaces();

  RuleBuilder* b_;
  std::vector<Rules> rule_places_;                     // by rule
  std::vector<Rules> jumps_of_;                        // by place, into the builder's jumps
  std::vector<Rules> edges_of_;                        // by place, into the builder's edges
  std::vector<bool> nullable_;                         // by rule
  std::vector<bool> beginning_;                        // by place: reached without a byte
  std::vector<Rules> first_calls_;                     // by rule, of its beginnings
  std::map<uint32_t, uint32_t> not_empty_;             // by rule
  std::vector<std::pair<uint32_t, uint32_t>> wanted_;  // (made, rule) of NotEmpty
  uint32_t places_ = 0, edges_ = 0, jumps_ = 0;        // that are indexed
};

}  // namespace chimera
