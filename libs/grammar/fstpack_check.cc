// What a machine takes for granted of its rules, checked for rules from outside. RuleBuilder::Build
// derives everything else.
#include <array>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grammar/fstpack.h"
#include "grammar/rule_string.h"
#include "grammar/utf8_steps.h"

namespace chimera {
namespace {

using Kind = RuleJump::Kind;

constexpr uint8_t kStringFlags =
    kPlaceCounted | kPlaceAnyEscape | kPlaceLoneSurrogates | kPlaceBetween;

class RuleChecker {
 public:
  RuleChecker(const RuleTables& tables, const std::vector<uint32_t>& ends, GrammarUse use)
      : t_(tables),
        ends_(ends),
        generates_(use == GrammarUse::kGenerate),
        repeats_(tables.rules.size(), false),
        counted_(tables.rules.size(), false),
        uncounted_(tables.rules.size(), false) {}

  absl::Status Check() {
    for (uint32_t r = 0; r < t_.rules.size(); ++r) CHIMERA_RETURN_IF_ERROR(Rule(r));
    for (uint32_t p = 0; p < t_.places.size(); ++p) CHIMERA_RETURN_IF_ERROR(Place(p));
    for (uint32_t p = 1; p < t_.places.size(); ++p) {
      CHIMERA_RETURN_IF_ERROR(Jumps(p));
      CHIMERA_RETURN_IF_ERROR(Is(p, kPlaceString) ? String(p) : Edges(p));
    }
    for (uint32_t r = 0; r < t_.rules.size(); ++r) {
      if (counted_[r] && (repeats_[r] || uncounted_[r])) {
        return Fault(absl::StrCat("rule ", r, " counts two things"));
      }
      if (repeats_[r]) CHIMERA_RETURN_IF_ERROR(Repetition(r));
    }
    for (uint32_t p = 1; p < t_.places.size(); ++p) {
      if (Is(p, kPlaceString)) CHIMERA_RETURN_IF_ERROR(Promise(p));
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status Fault(const std::string& fault) {
    return absl::DataLossError(absl::StrCat("grammar pack: ", fault));
  }
  static absl::Status At(uint32_t place, const char* fault) {
    return Fault(absl::StrCat("place ", place, fault));
  }
  bool Is(uint32_t place, RulePlaceFlag flag) const { return (t_.places[place].flags & flag) != 0; }
  // A place of the same rule.
  bool Within(uint32_t place, uint32_t to) const {
    return to != kDonePlace && to < t_.places.size() && t_.places[to].rule == t_.places[place].rule;
  }
  template <typename Use>
  void EachEdge(uint32_t place, Use use) const {
    const RulePlace& at = t_.places[place];
    for (uint32_t e = at.first_edge; e < at.first_edge + at.edges; ++e) use(t_.edges[e]);
  }
  template <typename Use>
  void EachJump(uint32_t place, Use use) const {
    const RulePlace& at = t_.places[place];
    for (uint32_t j = at.first_jump; j < at.first_jump + at.jumps; ++j) use(t_.jumps[j]);
  }

  absl::Status Rule(uint32_t r) const {
    const RuleInfo& rule = t_.rules[r];
    for (const uint32_t place : {rule.start, ends_[r]}) {
      if (place == kDonePlace || place >= t_.places.size() || t_.places[place].rule != r) {
        return Fault(absl::StrCat("rule ", r, " has a place that is not its own"));
      }
    }
    if (rule.count_min > rule.count_max) return Fault(absl::StrCat("rule ", r, " counts nothing"));
    const uint8_t flags = t_.places[rule.start].flags;
    if ((flags & kPlaceString) && !(flags & kPlaceBetween)) {
      return Fault(absl::StrCat("rule ", r, " starts within a character"));
    }
    return absl::OkStatus();
  }

  absl::Status Place(uint32_t p) const {
    const RulePlace& place = t_.places[p];
    const bool string = Is(p, kPlaceString);
    if (p == kDonePlace) {
      const bool empty = place.edges == 0 && place.jumps == 0 && place.flags == 0 &&
                         place.rule == 0 && place.close_to == kNoPlace;
      return empty ? absl::OkStatus() : At(p, " leads on");
    }
    if (place.rule >= t_.rules.size()) return At(p, " is of no rule");
    if (place.flags & ~(kPlaceFinal | kPlaceString | kStringFlags))
      return At(p, " has other flags");
    if (!string && (place.flags & kStringFlags)) return At(p, " has a string's flags");
    const bool ways = place.edges > 0 || place.jumps > 0 || string;
    if (Is(p, kPlaceFinal) != (p == ends_[place.rule])) return At(p, " is not its rule's one end");
    if (Is(p, kPlaceFinal) && ways) return At(p, " is an end and leads on");
    if (place.close_to == kNoPlace) return absl::OkStatus();
    if (!string || !Within(p, place.close_to) || Is(place.close_to, kPlaceString)) {
      return At(p, " closes a string to a wrong place");
    }
    return absl::OkStatus();
  }

  absl::Status Jumps(uint32_t p) {
    absl::Status status;
    const uint32_t rule = t_.places[p].rule;
    EachJump(p, [&](const RuleJump& jump) {
      const bool count = jump.kind == Kind::kCountUp || jump.kind == Kind::kCountAbove;
      const bool see = jump.kind == Kind::kSee || jump.kind == Kind::kSeeBelow;
      repeats_[rule] = repeats_[rule] || count;
      if (Is(p, kPlaceString)) status = At(p, " jumps out of a string");
      if (!Within(p, jump.to)) {
        status = At(p, " jumps out of its rule");
      } else if (Is(jump.to, kPlaceString) && !Is(jump.to, kPlaceBetween)) {
        status = At(p, " leads into a character");
      }
      if (jump.kind == Kind::kEmpty && jump.arg != 0) status = At(p, " has an argument too many");
      if (jump.kind == Kind::kCall && jump.arg >= t_.rules.size()) status = At(p, " calls no rule");
      if ((see || jump.kind == Kind::kSeen) && generates_) status = At(p, " sees, to generate");
      if (see && jump.arg >= 64) status = At(p, " sees a bit that does not exist");
      if (jump.kind == Kind::kSeeBelow && jump.to != ends_[rule])
        status = At(p, " sees amid a rule");
      if (jump.kind == Kind::kSeen && jump.arg >= t_.required.size())
        status = At(p, " has no mask");
    });
    return status;
  }

  absl::Status Edges(uint32_t p) const {
    absl::Status status;
    EachEdge(p, [&](const RuleEdge& edge) {
      if (edge.low > edge.high) status = At(p, " has an edge of no byte");
      if (!Within(p, edge.to)) {
        status = At(p, " has an edge out of its rule");
      } else if (Is(edge.to, kPlaceString) && !Is(edge.to, kPlaceBetween)) {
        status = At(p, " leads into a character");
      }
    });
    return status;
  }

  absl::Status String(uint32_t p) {
    absl::Status status;
    int above = -1;
    EachEdge(p, [&](const RuleEdge& edge) {
      if (edge.low > edge.high || edge.low <= above) status = At(p, " has edges out of order");
      above = edge.high;
      if (!Within(p, edge.to) || !Is(edge.to, kPlaceString)) status = At(p, " leaves its string");
      if (!Is(p, kPlaceBetween) && edge.low < 0x80) status = At(p, " ends amid a character");
    });
    const bool between = Is(p, kPlaceBetween);
    if (!between && (Is(p, kPlaceCounted) || t_.places[p].close_to != kNoPlace)) {
      return At(p, " ends within a character");
    }
    const uint32_t rule = t_.places[p].rule;
    if (between) (Is(p, kPlaceCounted) ? counted_ : uncounted_)[rule] = true;
    if (Is(p, kPlaceLoneSurrogates) && !Is(p, kPlaceAnyEscape)) return At(p, " has other flags");
    return status;
  }

  // The start counts up to `one`, from which a byte or a call leads back, or leaves to the end.
  absl::Status Repetition(uint32_t r) const {
    const RuleInfo& rule = t_.rules[r];
    const RulePlace& start = t_.places[rule.start];
    uint32_t one = kNoPlace, ups = 0, aboves = 0, others = 0;
    EachJump(rule.start, [&](const RuleJump& jump) {
      if (jump.kind == Kind::kCountUp && jump.arg == rule.count_max) {
        one = jump.to;
        ++ups;
      } else if (jump.kind == Kind::kCountAbove && jump.arg == rule.count_min) {
        aboves += jump.to == ends_[r];
        others += jump.to != ends_[r];
      } else {
        ++others;
      }
    });
    bool good = ups <= 1 && aboves <= 1 && others == 0 && start.edges == 0 && start.flags == 0;
    if (one != kNoPlace) {
      const RulePlace& turn = t_.places[one];
      const bool byte = turn.jumps == 0, call = turn.edges == 0 && turn.jumps == 1;
      good = good && turn.flags == 0 && (byte || call);
      EachEdge(one, [&](const RuleEdge& edge) { good = good && edge.to == rule.start; });
      EachJump(one, [&](const RuleJump& jump) {
        good = good && jump.kind == Kind::kCall && jump.to == rule.start;
      });
    }
    if (!good || one == rule.start) return Fault(absl::StrCat("rule ", r, " is no repetition"));
    return absl::OkStatus();
  }

  // What closing figures of strings rest on.
  absl::Status Promise(uint32_t p) {
    if (!generates_ || !Is(p, kPlaceBetween)) return absl::OkStatus();
    if (Is(p, kPlaceLoneSurrogates)) return At(p, " generates halves of pairs");
    if (Is(p, kPlaceAnyEscape) && !ComesBack(p)) return At(p, " has escapes that lead elsewhere");
    if (!Is(p, kPlaceCounted)) return absl::OkStatus();
    const uint32_t rule = t_.places[p].rule, close_to = t_.places[p].close_to;
    bool goes_on = false;
    EachEdge(p, [&](const RuleEdge& edge) {
      for (int byte = edge.low; byte <= edge.high && byte < 0x80 && !goes_on; ++byte) {
        goes_on = byte >= 0x20 && byte != '"' && byte != '\\' && Is(edge.to, kPlaceCounted);
      }
    });
    if (!goes_on) return At(p, " is counted and has no way on");
    if (close_to == ends_[rule]) return absl::OkStatus();
    const bool first = close_to == kNoPlace && t_.rules[rule].count_min > 0 && !EnteredByEdge(p);
    return first ? absl::OkStatus() : At(p, " is counted and has no way out");
  }

  // Whether every character leads from a place to itself.
  bool ComesBack(uint32_t p) const {
    std::map<std::pair<uint32_t, int>, bool> seen;
    std::vector<std::pair<uint32_t, int>> queue = {{p, 0}};
    while (!queue.empty()) {
      const auto [place, utf8] = queue.back();
      queue.pop_back();
      for (int byte = 0; byte < 256; ++byte) {
        const int next = Utf8Step(utf8, static_cast<uint8_t>(byte));
        if (next == kUtf8Bad) continue;
        const uint32_t to = FollowEdge(t_, place, static_cast<uint8_t>(byte));
        if (to == kNoPlace || (next == 0 && to != p)) return false;
        if (next != 0 && seen.insert({{to, next}, true}).second) queue.push_back({to, next});
      }
    }
    return true;
  }

  // Over an edge within its string. Counted: the first call finds it for all places.
  bool EnteredByEdge(uint32_t p) {
    if (entered_.empty()) {
      entered_.assign(t_.places.size(), false);
      for (uint32_t from = 1; from < t_.places.size(); ++from) {
        if (Is(from, kPlaceString)) {
          EachEdge(from, [&](const RuleEdge& edge) { entered_[edge.to] = true; });
        }
      }
    }
    return entered_[p];
  }

  const RuleTables& t_;
  const std::vector<uint32_t>& ends_;
  const bool generates_;
  std::vector<bool> repeats_, counted_, uncounted_;  // by rule
  std::vector<bool> entered_;                        // by place
};

}  // namespace

absl::Status CheckPackedRules(const RuleTables& tables, const std::vector<uint32_t>& ends,
                              GrammarUse use) {
  return RuleChecker(tables, ends, use).Check();
}

}  // namespace chimera
