#include "grammar/rule_costs.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <string_view>
#include <utility>

namespace chimera {
namespace {

// Bytes of the text for one byte of a string's value, the cheapest within a range.
uint32_t StringByteCost(const RuleEdge& edge) {
  uint32_t cost = 6;
  for (uint32_t byte = edge.low; byte <= edge.high; ++byte) {
    if (byte >= 0x20 && byte != '"' && byte != '\\') return 1;
    if (std::string_view("\b\f\n\r\t\"\\").find(static_cast<char>(byte)) !=
        std::string_view::npos) {
      cost = 2;
    }
  }
  return cost;
}

// Knuth's generalisation of Dijkstra's algorithm: places leave the queue with their final figure,
// and a rule is known once its start is.
class Closing {
 public:
  explicit Closing(RuleTables* tables) : t_(tables), callers_(tables->rules.size()) {
    IndexBackwards();
  }

  void Run() {
    for (uint32_t p = 0; p < t_->places.size(); ++p) {
      t_->places[p].close_bytes = kUnbounded;
      if (t_->places[p].flags & kPlaceFinal) Offer(p, 0);
    }
    Offer(kDonePlace, 0);
    while (!queue_.empty()) {
      const auto [bytes, place] = queue_.top();
      queue_.pop();
      if (t_->places[place].close_bytes != bytes) continue;
      for (uint32_t i = back_first_[place]; i < back_first_[place + 1]; ++i) {
        Back(back_[i], bytes);
      }
      const uint32_t rule = t_->places[place].rule;
      if (place != kDonePlace && t_->rules[rule].start == place) {
        for (const auto& [from, to] : callers_[rule]) {
          if (Known(to)) Offer(from, bytes + t_->places[to].close_bytes);
        }
      }
    }
  }

 private:
  struct Step {
    uint32_t from = 0;
    uint32_t cost = 0;
    uint32_t rule = kNoRule;  // of a call
  };

  template <typename Use>
  void EachStep(Use use) {
    for (uint32_t p = 0; p < t_->places.size(); ++p) {
      const RulePlace& place = t_->places[p];
      const bool string = (place.flags & kPlaceString) != 0;
      for (uint32_t e = place.first_edge; e < place.first_edge + place.edges; ++e) {
        use(t_->edges[e].to, Step{p, string ? StringByteCost(t_->edges[e]) : 1, kNoRule});
      }
      for (uint32_t j = place.first_jump; j < place.first_jump + place.jumps; ++j) {
        const RuleJump& jump = t_->jumps[j];
        const bool call = jump.kind == RuleJump::Kind::kCall;
        use(jump.to, Step{p, 0, call ? jump.arg : kNoRule});
      }
      if (place.close_to != kNoPlace) use(place.close_to, Step{p, 1, kNoRule});
    }
  }

  void IndexBackwards() {
    back_first_.assign(t_->places.size() + 1, 0);
    EachStep([this](uint32_t to, const Step&) { ++back_first_[to + 1]; });
    for (size_t i = 0; i < t_->places.size(); ++i) back_first_[i + 1] += back_first_[i];
    back_.resize(back_first_.back());
    std::vector<uint32_t> next(back_first_.begin(), back_first_.end() - 1);
    EachStep([&](uint32_t to, const Step& step) {
      back_[next[to]++] = step;
      if (step.rule != kNoRule) callers_[step.rule].push_back({step.from, to});
    });
  }

  bool Known(uint32_t place) const { return t_->places[place].close_bytes != kUnbounded; }

  void Offer(uint32_t place, uint32_t bytes) {
    if (bytes >= t_->places[place].close_bytes) return;
    t_->places[place].close_bytes = bytes;
    queue_.push({bytes, place});
  }

  void Back(const Step& step, uint32_t bytes) {
    if (step.rule == kNoRule) return Offer(step.from, bytes + step.cost);
    const uint32_t start = t_->rules[step.rule].start;
    if (Known(start)) Offer(step.from, bytes + t_->places[start].close_bytes);
  }

  RuleTables* t_;
  std::vector<uint32_t> back_first_;
  std::vector<Step> back_;                                           // by the place they lead to
  std::vector<std::vector<std::pair<uint32_t, uint32_t>>> callers_;  // (from, to) by rule
  using Entry = std::pair<uint32_t, uint32_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
};

}  // namespace

void SetClosingFigures(RuleTables* tables) {
  Closing(tables).Run();
  for (size_t p = kDonePlace + 1; p < tables->places.size(); ++p) {
    const RulePlace& place = tables->places[p];
    RuleInfo& rule = tables->rules[place.rule];
    if (place.flags & kPlaceCounted) rule.unit_bytes = 1;
    for (uint32_t j = place.first_jump; j < place.first_jump + place.jumps; ++j) {
      const RuleJump& jump = tables->jumps[j];
      // From behind the count to the top of the loop again, where the figure is that of its exit.
      if (jump.kind == RuleJump::Kind::kCountUp && rule.count_min > 0) {
        rule.unit_bytes = tables->places[jump.to].close_bytes - place.close_bytes;
      }
    }
  }
}

void RemoveDeadEnds(RuleTables* tables) {
  const auto dead = [tables](uint32_t place) {
    return tables->places[place].close_bytes == kUnbounded;
  };
  for (RulePlace& place : tables->places) {
    uint32_t kept = place.first_edge;
    for (uint32_t e = place.first_edge; e < place.first_edge + place.edges; ++e) {
      if (!dead(tables->edges[e].to)) tables->edges[kept++] = tables->edges[e];
    }
    place.edges = kept - place.first_edge;
    kept = place.first_jump;
    for (uint32_t j = place.first_jump; j < place.first_jump + place.jumps; ++j) {
      const RuleJump& jump = tables->jumps[j];
      const bool empty_rule =
          jump.kind == RuleJump::Kind::kCall && dead(tables->rules[jump.arg].start);
      if (!dead(jump.to) && !empty_rule) tables->jumps[kept++] = jump;
    }
    place.jumps = kept - place.first_jump;
    if (place.close_to != kNoPlace && dead(place.close_to)) place.close_to = kNoPlace;
    if (place.flags == kPlaceFinal && place.edges == 0 && place.jumps == 0) {
      place.flags |= kPlaceTail;
    }
  }
}

}  // namespace chimera
