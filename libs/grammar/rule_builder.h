// Builds RuleTables: rules are added piece by piece, from one place to another.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "grammar/rules.h"

namespace chimera {

inline constexpr uint32_t kRulePlacesMax = 400000;  // 32 bytes each, before the states they lead to

// Thread-compatible. Nothing is checked before Build.
class RuleBuilder {
 public:
  RuleBuilder();
  // What Build made of some rules, or what has its form, to be built again. ends: the final place
  // of each rule. Everything that Build derives is left out.
  RuleBuilder(const RuleTables& tables, std::span<const uint32_t> ends);

  // A rule with a start and an end. The name is for messages.
  uint32_t AddRule(std::string_view name);
  uint32_t AddPlace(uint32_t rule);
  uint32_t start(uint32_t rule) const { return rules_[rule].start; }
  uint32_t end(uint32_t rule) const { return rules_[rule].end; }
  const std::string& name(uint32_t rule) const { return rules_[rule].name; }
  uint32_t rule_of(uint32_t place) const { return places_[place].rule; }
  int n_rules() const { return static_cast<int>(rules_.size()); }
  size_t n_places() const { return places_.size(); }

  void Bytes(uint32_t from, uint8_t low, uint8_t high, uint32_t to);
  void Text(uint32_t from, std::string_view text, uint32_t to);
  void Empty(uint32_t from, uint32_t to) { Jump(from, RuleJump::Kind::kEmpty, 0, to); }
  void Call(uint32_t from, uint32_t rule, uint32_t to) {
    Jump(from, RuleJump::Kind::kCall, rule, to);
  }
  void Jump(uint32_t from, RuleJump::Kind kind, uint32_t arg, uint32_t to);
  // min to max times `body`; max kUnbounded: no end. Makes a rule of its own for other counts than
  // 0 and 1, because a rule has one counter.
  void Repeat(uint32_t from, uint32_t body, uint32_t min, uint32_t max, uint32_t to);
  // How often the counter of a rule has to count and may count.
  void SetCounts(uint32_t rule, uint32_t min, uint32_t max);
  // Makes a place one within a JSON string; close_to kNoPlace: the string cannot end there.
  void MakeString(uint32_t place, uint8_t flags, uint32_t close_to);
  // The number of a mask of seen bits, for kSeen.
  uint32_t AddRequired(uint64_t mask);

  // INVALID_ARGUMENT when the language is empty, or a left recursion cannot be resolved;
  // RESOURCE_EXHAUSTED beyond kRulePlacesMax. Leaves the builder empty.
  absl::StatusOr<RuleTables> Build(uint32_t root);

 private:
  friend class LeftRecursion;
  struct Rule {
    std::string name;
    uint32_t start = 0, end = 0;
    uint32_t count_min = 0, count_max = kUnbounded;
    bool counts = false;
  };
  struct Place {
    uint32_t rule = 0;
    uint8_t flags = 0;
    uint32_t close_to = kNoPlace;
  };
  struct Edge {
    uint32_t from = 0;
    RuleEdge edge;
  };
  struct PlacedJump {
    uint32_t from = 0;
    RuleJump jump;
  };

  // Leads past places from which nothing but one empty jump leads on: a call that returns to an end
  // needs no frame then.
  void SkipEmptyPlaces();

  std::vector<Rule> rules_;
  std::vector<Place> places_;
  std::vector<Edge> edges_;
  std::vector<PlacedJump> jumps_;
  std::vector<uint64_t> required_;
};

}  // namespace chimera
