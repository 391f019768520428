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

// Beyond this a rule counts as one that never ends: the sum over a whole stack fits 32 bits.
constexpr uint64_t kRuleBytesMax = 1048000;
static_assert((kGrammarDepthMax + 1) * kRuleBytesMax < kUnbounded);

// Knuth's generalisation of Dijkstra's algorithm: places leave the queue with their final figure,
// and a rule is known once its start is, or the least number of turns of its counter.
class Closing {
 public:
  explicit Closing(RuleTables* tables)
      : t_(tables),
        whole_(tables->rules.size(), kUnbounded),
        frames_(tables->rules.size(), 0),
        callers_(tables->rules.size()) {
    IndexBackwards();
    FindCounters();
  }

  void Run() {
    for (uint32_t p = 0; p < t_->places.size(); ++p) {
      t_->places[p].close_bytes = kUnbounded;
      if (t_->places[p].flags & kPlaceFinal) Offer(p, 0, 0);
    }
    Offer(kDonePlace, 0, 0);
    while (!queue_.empty()) {
      const auto [bytes, at] = queue_.top();
      queue_.pop();
      if (at >= t_->places.size()) {
        FinishRule(at - static_cast<uint32_t>(t_->places.size()), bytes);
      } else if (t_->places[at].close_bytes == bytes) {
        FinishPlace(at);
      }
    }
    // Any place of a rule may have turns before it.
    for (uint32_t p = kDonePlace + 1; p < t_->places.size(); ++p) {
      const uint32_t turn = turn_[t_->places[p].rule];
      if (turn != kNoPlace) RaiseFrames(p, t_->places[turn].close_frames);
    }
    // A counter that cannot turn often enough.
    for (uint32_t rule = 0; rule < whole_.size(); ++rule) {
      if (whole_[rule] == kUnbounded) t_->places[t_->rules[rule].start].close_bytes = kUnbounded;
    }
  }

 private:
  struct Step {
    uint32_t from = 0;
    uint32_t cost = 0;
    uint32_t rule = kNoRule;  // of a call
  };

  // Where a turn of each counter begins, and what a counted character costs.
  void FindCounters() {
    turn_.assign(t_->rules.size(), kNoPlace);
    for (uint32_t p = kDonePlace + 1; p < t_->places.size(); ++p) {
      const RulePlace& place = t_->places[p];
      RuleInfo& rule = t_->rules[place.rule];
      if (rule.count_min == 0) continue;
      if (place.flags & kPlaceCounted) rule.unit_bytes = 1;
      for (uint32_t j = place.first_jump; j < place.first_jump + place.jumps; ++j) {
        if (t_->jumps[j].kind == RuleJump::Kind::kCountUp) turn_[place.rule] = t_->jumps[j].to;
      }
    }
  }

  void FinishPlace(uint32_t place) {
    for (uint32_t i = back_first_[place]; i < back_first_[place + 1]; ++i) Back(back_[i], place);
    if (place == kDonePlace) return;
    const uint32_t rule = t_->places[place].rule;
    RuleInfo& info = t_->rules[rule];
    const uint32_t start = info.start;
    if (place != start && place != turn_[rule]) return;
    if (turn_[rule] != kNoPlace) {
      // From the place of the turn it is one turn and what the start has to go.
      if (!Known(turn_[rule]) || !Known(start)) return;
      info.unit_bytes = t_->places[turn_[rule]].close_bytes - t_->places[start].close_bytes;
    }
    frames_[rule] = t_->places[start].close_frames;
    if (turn_[rule] != kNoPlace) {
      frames_[rule] = std::max(frames_[rule], t_->places[turn_[rule]].close_frames);
    }
    const uint64_t whole =
        t_->places[start].close_bytes + uint64_t{info.count_min} * info.unit_bytes;
    if (whole > kRuleBytesMax) return;
    queue_.push({static_cast<uint32_t>(whole), rule + static_cast<uint32_t>(t_->places.size())});
  }

  void FinishRule(uint32_t rule, uint32_t bytes) {
    if (whole_[rule] != kUnbounded) return;
    whole_[rule] = bytes;
    for (const auto& [from, to] : callers_[rule]) {
      if (Known(to)) OfferCall(from, rule, to);
    }
  }

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

  void Offer(uint32_t place, uint32_t bytes, uint16_t frames) {
    if (bytes > kRuleBytesMax || bytes >= t_->places[place].close_bytes) return;
    t_->places[place].close_bytes = bytes;
    t_->places[place].close_frames = frames;
    queue_.push({bytes, place});
  }
  void OfferCall(uint32_t from, uint32_t rule, uint32_t to) {
    const RulePlace& behind = t_->places[to];
    const bool tail = behind.flags == kPlaceFinal && behind.edges == 0 && behind.jumps == 0;
    const int called = std::min(frames_[rule] + (tail ? 0 : 1), 0xFFFF);
    Offer(from, whole_[rule] + behind.close_bytes,
          std::max(behind.close_frames, static_cast<uint16_t>(called)));
  }
  void RaiseFrames(uint32_t place, uint16_t frames) {
    t_->places[place].close_frames = std::max(t_->places[place].close_frames, frames);
  }

  void Back(const Step& step, uint32_t to) {
    const RulePlace& place = t_->places[to];
    if (step.rule == kNoRule) {
      return Offer(step.from, place.close_bytes + step.cost, place.close_frames);
    }
    if (whole_[step.rule] != kUnbounded) OfferCall(step.from, step.rule, to);
  }

  RuleTables* t_;
  std::vector<uint32_t> whole_;   // by rule: from its start with the counter at 0 to its end
  std::vector<uint16_t> frames_;  // by rule: that its shortest text pushes
  std::vector<uint32_t> turn_;    // by rule: the place behind its kCountUp, if it has to count
  std::vector<uint32_t> back_first_;
  std::vector<Step> back_;                                           // by the place they lead to
  std::vector<std::vector<std::pair<uint32_t, uint32_t>>> callers_;  // (from, to) by rule
  using Entry = std::pair<uint32_t, uint32_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
};

}  // namespace

void SetClosingFigures(RuleTables* tables) { Closing(tables).Run(); }

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
