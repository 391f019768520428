#include "grammar/rule_builder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grammar/free_places.h"
#include "grammar/left_recursion.h"
#include "grammar/rule_costs.h"

namespace chimera {
namespace {

// Bytes that every edge treats alike become one class: those in the same ranges, and none that
// escapes and quotes single out.
std::array<uint8_t, 256> ByteClasses(const RuleTables& tables) {
  const auto mix = [](uint64_t x) {
    x = (x ^ (x >> 31)) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9u;
    return x ^ (x >> 32);
  };
  std::array<uint64_t, 256> kinds = {};
  std::vector<bool> known(65536, false);
  const auto mark = [&](uint32_t low, uint32_t high) {
    if (known[low << 8 | high]) return;
    known[low << 8 | high] = true;
    for (uint32_t byte = low; byte <= high; ++byte) kinds[byte] ^= mix((low << 8 | high) + 1);
  };
  for (const RuleEdge& edge : tables.edges) mark(edge.low, edge.high);
  for (const RulePlace& place : tables.places) {
    if (!(place.flags & kPlaceString)) continue;
    for (const char c : std::string_view("\"\\/bfnrtu0123456789abcdefABCDEF")) {
      mark(static_cast<uint8_t>(c), static_cast<uint8_t>(c));
    }
    mark(0, 0x1F);
    break;
  }
  std::array<uint8_t, 256> classes = {};
  std::vector<uint64_t> seen;
  for (size_t byte = 0; byte < 256; ++byte) {
    const auto at = std::find(seen.begin(), seen.end(), kinds[byte]);
    classes[byte] = static_cast<uint8_t>(at - seen.begin());
    if (at == seen.end()) seen.push_back(kinds[byte]);
  }
  return classes;
}

// Sorts entries by their place, keeping their order, and tells each place where its own begin.
template <typename Entry, typename Begin>
std::vector<Entry> ByPlace(std::vector<Entry> entries, size_t n_places, Begin begin) {
  std::vector<uint32_t> first(n_places + 1, 0);
  for (const Entry& entry : entries) ++first[entry.from + 1];
  for (size_t i = 0; i < n_places; ++i) first[i + 1] += first[i];
  for (size_t i = 0; i < n_places; ++i) begin(i, first[i], first[i + 1] - first[i]);
  std::vector<Entry> sorted(entries.size());
  for (const Entry& entry : entries) sorted[first[entry.from]++] = entry;
  return sorted;
}

}  // namespace

RuleBuilder::RuleBuilder() : places_(1) {}  // kDonePlace

RuleBuilder::RuleBuilder(const RuleTables& tables, std::span<const uint32_t> ends)
    : required_(tables.required) {
  for (size_t r = 0; r < tables.rules.size(); ++r) {
    const RuleInfo& rule = tables.rules[r];
    const bool counts = rule.count_min != 0 || rule.count_max != kUnbounded;
    rules_.push_back(
        {absl::StrCat("rule ", r), rule.start, ends[r], rule.count_min, rule.count_max, counts});
  }
  for (uint32_t p = 0; p < tables.places.size(); ++p) {
    const RulePlace& place = tables.places[p];
    const auto flags = static_cast<uint8_t>(place.flags & ~(kPlaceTail | kPlaceFree));
    places_.push_back({place.rule, flags, place.close_to});
    for (uint32_t e = place.first_edge; e < place.first_edge + place.edges; ++e) {
      edges_.push_back({p, tables.edges[e]});
    }
    for (uint32_t j = place.first_jump; j < place.first_jump + place.jumps; ++j) {
      jumps_.push_back({p, tables.jumps[j]});
      rules_[place.rule].counts |= tables.jumps[j].kind == RuleJump::Kind::kCountUp;
    }
  }
}

uint32_t RuleBuilder::AddRule(std::string_view name) {
  const auto rule = static_cast<uint32_t>(rules_.size());
  rules_.push_back({.name = std::string(name)});
  rules_[rule].start = AddPlace(rule);
  rules_[rule].end = AddPlace(rule);
  places_[rules_[rule].end].flags = kPlaceFinal;
  return rule;
}

uint32_t RuleBuilder::AddPlace(uint32_t rule) {
  places_.push_back({.rule = rule});
  return static_cast<uint32_t>(places_.size() - 1);
}

void RuleBuilder::Bytes(uint32_t from, uint8_t low, uint8_t high, uint32_t to) {
  edges_.push_back({from, {low, high, to}});
}

void RuleBuilder::Text(uint32_t from, std::string_view text, uint32_t to) {
  if (text.empty()) return Empty(from, to);
  for (size_t i = 0; i < text.size(); ++i) {
    const uint32_t next = i + 1 == text.size() ? to : AddPlace(places_[from].rule);
    Bytes(from, static_cast<uint8_t>(text[i]), static_cast<uint8_t>(text[i]), next);
    from = next;
  }
}

void RuleBuilder::Jump(uint32_t from, RuleJump::Kind kind, uint32_t arg, uint32_t to) {
  jumps_.push_back({from, {kind, to, arg}});
}

void RuleBuilder::Repeat(uint32_t from, uint32_t body, uint32_t min, uint32_t max, uint32_t to) {
  if (max == 0) return Empty(from, to);
  if (max == 1) {
    Call(from, body, to);
    if (min == 0) Empty(from, to);
    return;
  }
  if (min <= 1 && max == kUnbounded) {
    const uint32_t top = AddPlace(places_[from].rule);
    const uint32_t after = AddPlace(places_[from].rule);
    Empty(from, top);
    Call(top, body, after);
    Empty(after, top);
    Empty(min == 0 ? top : after, to);
    return;
  }
  const uint32_t loop = AddRule(absl::StrCat(name(body), " repeated"));
  SetCounts(loop, min, max);
  const uint32_t one = AddPlace(loop);
  Jump(start(loop), RuleJump::Kind::kCountUp, max, one);
  Call(one, body, start(loop));
  Jump(start(loop), RuleJump::Kind::kCountAbove, min, end(loop));
  Call(from, loop, to);
}

void RuleBuilder::SetCounts(uint32_t rule, uint32_t min, uint32_t max) {
  rules_[rule].count_min = min;
  rules_[rule].count_max = max;
  rules_[rule].counts = true;
}

void RuleBuilder::MakeString(uint32_t place, uint8_t flags, uint32_t close_to) {
  places_[place].flags |= static_cast<uint8_t>(kPlaceString | flags);
  places_[place].close_to = close_to;
}

uint32_t RuleBuilder::AddRequired(uint64_t mask) {
  required_.push_back(mask);
  return static_cast<uint32_t>(required_.size() - 1);
}

void RuleBuilder::SkipEmptyPlaces() {
  std::vector<uint32_t> past(places_.size(), kNoPlace);
  std::vector<bool> kept(places_.size(), false);
  for (const Edge& edge : edges_) kept[edge.from] = true;
  for (const auto& [from, jump] : jumps_) {
    kept[from] = kept[from] || past[from] != kNoPlace || jump.kind != RuleJump::Kind::kEmpty;
    past[from] = jump.to;
  }
  const auto skips = [&](uint32_t place) {
    return !kept[place] && places_[place].flags == 0 && past[place] != kNoPlace;
  };
  const auto target = [&](uint32_t place) {
    uint32_t to = place;
    for (size_t steps = 0; skips(to); to = past[to]) {
      if (++steps > places_.size()) kept[to] = true;  // round in a circle, which needs one place
      if (kept[to]) break;
    }
    for (uint32_t at = place; skips(at) && past[at] != to;) at = std::exchange(past[at], to);
    return to;
  };
  for (Edge& edge : edges_) edge.edge.to = target(edge.edge.to);
  for (auto& [from, jump] : jumps_) jump.to = target(jump.to);
  for (Place& place : places_) {
    if (place.close_to != kNoPlace) place.close_to = target(place.close_to);
  }
  for (Rule& rule : rules_) rule.start = target(rule.start);
}

absl::StatusOr<RuleTables> RuleBuilder::Build(uint32_t root) {
  CHIMERA_RETURN_IF_ERROR(LeftRecursion(this).Resolve());
  if (places_.size() > kRulePlacesMax) {
    return absl::ResourceExhaustedError(absl::StrCat("the grammar needs ", places_.size(),
                                                     " places, the limit is ", kRulePlacesMax));
  }
  SkipEmptyPlaces();
  RuleTables tables;
  tables.root = root;
  tables.required = std::move(required_);
  for (const Rule& rule : rules_) {
    tables.rules.push_back({rule.start, rule.count_min, rule.count_max, 0});
  }
  for (const Place& place : places_) {
    tables.places.push_back({.flags = place.flags, .rule = place.rule, .close_to = place.close_to});
  }
  edges_ = ByPlace(std::move(edges_), places_.size(), [&](size_t i, uint32_t first, uint32_t n) {
    tables.places[i].first_edge = first;
    tables.places[i].edges = n;
  });
  jumps_ = ByPlace(std::move(jumps_), places_.size(), [&](size_t i, uint32_t first, uint32_t n) {
    tables.places[i].first_jump = first;
    tables.places[i].jumps = n;
  });
  for (const Edge& edge : edges_) tables.edges.push_back(edge.edge);
  for (const PlacedJump& jump : jumps_) tables.jumps.push_back(jump.jump);
  const Rule& root_rule = rules_[root];
  SetClosingFigures(&tables);
  if (tables.places[root_rule.start].close_bytes == kUnbounded) {
    return absl::InvalidArgumentError(
        absl::StrCat("no text fits ", root_rule.name, ": the grammar is empty"));
  }
  if (tables.places[root_rule.start].close_frames > kGrammarDepthMax) {
    return absl::ResourceExhaustedError(absl::StrCat("the shortest text nests rules ",
                                                     tables.places[root_rule.start].close_frames,
                                                     " deep, the limit is ", kGrammarDepthMax));
  }
  RemoveDeadEnds(&tables);
  MarkFreePlaces(&tables);
  tables.classes = ByteClasses(tables);
  *this = RuleBuilder();
  return tables;
}

}  // namespace chimera
