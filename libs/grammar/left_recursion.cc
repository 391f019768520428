#include "grammar/left_recursion.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace chimera {

absl::Status LeftRecursion::Resolve() {
  FindNullable();
  FindBeginnings();
  const std::vector<Rules> groups = Groups();
  if (groups.empty()) return absl::OkStatus();
  for (const Rules& group : groups) CHIMERA_RETURN_IF_ERROR(Rewrite(group));
  // What is left: left recursion behind a left-recursive rule that may be empty.
  FindNullable();
  FindBeginnings();
  const std::vector<Rules> left = Groups();
  if (left.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("rule ", b_->name(left[0][0]),
                   " begins with itself behind rules that may be empty; write it as a loop"));
}

// The rules that may read nothing: backwards from the ends over jumps, and over calls of such
// rules.
void LeftRecursion::FindNullable() {
  const size_t n = b_->places_.size(), n_rules = b_->rules_.size();
  nullable_.assign(n_rules, false);
  std::vector<Rules> jumps_to(n), jumps_over(n_rules), begun_by(n);
  Rules body(n_rules, kNoRule);  // of a repetition: what its turns read
  for (const auto& [from, jump] : b_->jumps_) {
    const uint32_t rule = b_->places_[from].rule;
    if (jump.kind == RuleJump::Kind::kCall && b_->rules_[rule].counts) body[rule] = jump.arg;
  }
  // The rule that has to be empty for a jump to be taken without a byte; kNoRule: none has.
  const auto over = [&](uint32_t j) {
    const auto& [from, jump] = b_->jumps_[j];
    if (jump.kind == RuleJump::Kind::kCall) return jump.arg;
    const bool turns = jump.kind == RuleJump::Kind::kCountAbove && jump.arg > 0;
    return turns ? body[b_->places_[from].rule] : kNoRule;
  };
  for (uint32_t j = 0; j < b_->jumps_.size(); ++j) {
    jumps_to[b_->jumps_[j].jump.to].push_back(j);
    if (over(j) != kNoRule) jumps_over[over(j)].push_back(j);
  }
  std::vector<bool> ends(n, false);  // an end can be reached without a byte
  Rules queue;
  const auto reach = [&](uint32_t place) {
    if (!ends[place]) queue.push_back(place);
    ends[place] = true;
  };
  for (uint32_t r = 0; r < n_rules; ++r) begun_by[b_->rules_[r].start].push_back(r);
  for (const auto& rule : b_->rules_) reach(rule.end);
  while (!queue.empty()) {
    const uint32_t place = queue.back();
    queue.pop_back();
    for (const uint32_t j : jumps_to[place]) {
      if (over(j) == kNoRule || nullable_[over(j)]) reach(b_->jumps_[j].from);
    }
    for (const uint32_t rule : begun_by[place]) {
      nullable_[rule] = true;
      for (const uint32_t j : jumps_over[rule]) {
        if (ends[b_->jumps_[j].jump.to]) reach(b_->jumps_[j].from);
      }
    }
  }
}

// Places that a rule reaches before its first byte, and the calls it can make there.
void LeftRecursion::FindBeginnings() {
  IndexPlaces();
  beginning_.assign(b_->places_.size(), false);
  first_calls_.assign(b_->rules_.size(), {});
  std::vector<uint32_t> queue;
  for (uint32_t r = 0; r < b_->rules_.size(); ++r) {
    queue.assign(1, b_->rules_[r].start);
    beginning_[b_->rules_[r].start] = true;
    while (!queue.empty()) {
      const uint32_t place = queue.back();
      queue.pop_back();
      for (const uint32_t j : jumps_of_[place]) {
        const RuleJump& jump = b_->jumps_[j].jump;
        const bool call = jump.kind == RuleJump::Kind::kCall;
        if (call) first_calls_[r].push_back(jump.arg);
        if ((call && !nullable_[jump.arg]) || beginning_[jump.to]) continue;
        beginning_[jump.to] = true;
        queue.push_back(jump.to);
      }
    }
  }
}

// Strongly connected rules under "calls first" that hold a cycle (Tarjan, without recursion).
std::vector<LeftRecursion::Rules> LeftRecursion::Groups() const {
  const auto n = static_cast<uint32_t>(first_calls_.size());
  std::vector<Rules> groups;
  std::vector<uint32_t> index(n, 0), low(n, 0), stack;
  std::vector<bool> on_stack(n, false);
  struct Visit {
    uint32_t rule;
    size_t next;
  };
  std::vector<Visit> visits;
  uint32_t count = 0;
  const auto enter = [&](uint32_t rule) {
    index[rule] = low[rule] = ++count;
    stack.push_back(rule);
    on_stack[rule] = true;
    visits.push_back({rule, 0});
  };
  const auto leave = [&](uint32_t rule) {
    if (low[rule] != index[rule]) return;
    Rules group;
    do {
      group.push_back(stack.back());
      on_stack[stack.back()] = false;
      stack.pop_back();
    } while (group.back() != rule);
    const auto& calls = first_calls_[rule];
    const bool cycle = group.size() > 1 || std::ranges::find(calls, rule) != calls.end();
    if (cycle) groups.push_back(std::move(group));
  };
  for (uint32_t root = 0; root < n; ++root) {
    if (index[root] != 0) continue;
    enter(root);
    while (!visits.empty()) {
      Visit& visit = visits.back();
      if (visit.next < first_calls_[visit.rule].size()) {
        const uint32_t called = first_calls_[visit.rule][visit.next++];
        if (index[called] == 0) {
          enter(called);
        } else if (on_stack[called]) {
          low[visit.rule] = std::min(low[visit.rule], index[called]);
        }
        continue;
      }
      const uint32_t done = visit.rule;
      leave(done);
      visits.pop_back();
      if (!visits.empty()) low[visits.back().rule] = std::min(low[visits.back().rule], low[done]);
    }
  }
  return groups;
}

// What was added since the last time: builders only grow.
void LeftRecursion::IndexPlaces() {
  rule_places_.resize(b_->rules_.size());
  edges_of_.resize(b_->places_.size());
  jumps_of_.resize(b_->places_.size());
  for (; places_ < b_->places_.size(); ++places_) {
    if (places_ != kDonePlace) rule_places_[b_->places_[places_].rule].push_back(places_);
  }
  for (; edges_ < b_->edges_.size(); ++edges_) {
    edges_of_[b_->edges_[edges_].from].push_back(edges_);
  }
  for (; jumps_ < b_->jumps_.size(); ++jumps_) {
    jumps_of_[b_->jumps_[jumps_].from].push_back(jumps_);
  }
}

absl::Status LeftRecursion::Rewrite(const Rules& group) {
  IndexPlaces();
  Rules starts;
  for (const uint32_t rule : group) {
    CHIMERA_ASSIGN_OR_RETURN(starts.emplace_back(), Copy(rule, rule, group, group));
  }
  for (size_t i = 0; i < group.size(); ++i) b_->rules_[group[i]].start = starts[i];
  // Copies may ask for more of them: a list, because chains of such rules are as long as grammars.
  while (!wanted_.empty()) {
    const auto [made, rule] = wanted_.back();
    wanted_.pop_back();
    CHIMERA_ASSIGN_OR_RETURN(b_->rules_[made].start, Copy(made, rule, {rule}, {}));
  }
  return absl::OkStatus();
}

uint32_t LeftRecursion::NotEmpty(uint32_t rule) {
  const auto known = not_empty_.find(rule);
  if (known != not_empty_.end()) return known->second;
  const uint32_t made = b_->AddRule(absl::StrCat(b_->name(rule), ", not empty"));
  not_empty_[rule] = made;
  nullable_.resize(b_->rules_.size(), false);
  wanted_.push_back({made, rule});
  return made;
}

absl::StatusOr<uint32_t> LeftRecursion::Copy(uint32_t target, uint32_t wanted, const Rules& sources,
                                             const Rules& group) {
  size_t size = 0;
  for (const uint32_t rule : sources) {
    if (b_->rules_[rule].counts) {
      return absl::InvalidArgumentError(
          absl::StrCat("rule ", b_->name(rule),
                       " begins with itself through a counted repetition; write it as a loop"));
    }
    size += 2 * rule_places_[rule].size();
  }
  if (b_->places_.size() + size > kRulePlacesMax) {
    return absl::ResourceExhaustedError(absl::StrCat("the left recursion of ", b_->name(wanted),
                                                     " needs more than ", kRulePlacesMax,
                                                     " places"));
  }
  const auto in_group = [&](uint32_t rule) {
    return std::find(group.begin(), group.end(), rule) != group.end();
  };
  // Each place twice: before the first byte and after it.
  std::map<uint32_t, uint32_t> before, after;
  for (const uint32_t rule : sources) {
    for (const uint32_t p : rule_places_[rule]) {
      if (beginning_[p]) before[p] = b_->AddPlace(target);
      after[p] = b_->AddPlace(target);
      RuleBuilder::Place& copy = b_->places_[after[p]];
      copy.flags = b_->places_[p].flags & static_cast<uint8_t>(~kPlaceFinal);
      copy.close_to = b_->places_[p].close_to;
    }
  }
  for (auto& [p, copy] : after) {
    uint32_t& close_to = b_->places_[copy].close_to;
    if (close_to != kNoPlace) close_to = after.at(close_to);
    for (const uint32_t e : edges_of_[p]) {
      const RuleEdge edge = b_->edges_[e].edge;
      b_->Bytes(copy, edge.low, edge.high, after.at(edge.to));
      if (beginning_[p]) b_->Bytes(before.at(p), edge.low, edge.high, after.at(edge.to));
    }
    for (const uint32_t j : jumps_of_[p]) {
      const RuleJump jump = b_->jumps_[j].jump;
      b_->Jump(copy, jump.kind, jump.arg, after.at(jump.to));
      if (!beginning_[p]) continue;
      const bool call = jump.kind == RuleJump::Kind::kCall;
      if (!call || nullable_[jump.arg]) b_->Empty(before.at(p), before.at(jump.to));
      if (!call) continue;
      if (in_group(jump.arg)) {
        b_->Empty(after.at(b_->end(jump.arg)), after.at(jump.to));
      } else if (nullable_[jump.arg]) {
        b_->Call(before.at(p), NotEmpty(jump.arg), after.at(jump.to));
      } else {
        b_->Call(before.at(p), jump.arg, after.at(jump.to));
      }
    }
  }
  const uint32_t start = b_->AddPlace(target);
  for (const uint32_t rule : sources) b_->Empty(start, before.at(b_->start(rule)));
  b_->Empty(after.at(b_->end(wanted)), b_->end(target));
  beginning_.resize(b_->places_.size(), false);
  beginning_[start] = true;
  for (const auto& [p, copy] : before) beginning_[copy] = true;
  if (target == wanted && nullable_[wanted]) b_->Empty(start, b_->end(target));
  return start;
}

}  // namespace chimera
