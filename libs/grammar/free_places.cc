#include "grammar/free_places.h"

#include <algorithm>
#include <array>
#include <vector>

#include "grammar/utf8_steps.h"

namespace chimera {
namespace {

constexpr uint8_t kUnknown = 0xFF, kMixed = 0xFE;

// The bytes of a string's value that may follow within a character, or begin one that JSON can hold
// as it is.
bool Needed(int utf8, int byte) {
  if (utf8 == 0 && (byte < 0x20 || byte == '"' || byte == '\\')) return false;
  return Utf8Step(utf8, static_cast<uint8_t>(byte)) != kUtf8Bad;
}

// Starts with every string place and takes away those at which some byte is missing or leads to one
// that was taken away.
class FreePlaces {
 public:
  explicit FreePlaces(RuleTables* tables) : t_(tables), utf8_(t_->places.size(), kUnknown) {}

  void Mark() {
    FindUtf8Places();
    if (strings_.empty()) return;
    before_.resize(t_->places.size());
    std::vector<uint32_t> taken;
    free_.assign(t_->places.size(), false);
    for (const uint32_t p : strings_) free_[p] = utf8_[p] < kUtf8Places;
    for (const uint32_t p : strings_) {
      EachEdge(p, [&](const RuleEdge& edge) { before_[edge.to].push_back(p); });
      if (!free_[p] || !Covered(p)) taken.push_back(p);
    }
    for (const uint32_t p : taken) free_[p] = false;
    while (!taken.empty()) {
      const uint32_t p = taken.back();
      taken.pop_back();
      for (const uint32_t from : before_[p]) {
        if (!free_[from] || Covered(from)) continue;
        free_[from] = false;
        taken.push_back(from);
      }
    }
    for (const uint32_t p : strings_) {
      if (!free_[p]) continue;
      RulePlace& place = t_->places[p];
      place.flags |= kPlaceFree;
      RuleInfo& rule = t_->rules[place.rule];
      rule.free_close_bytes = std::max(rule.free_close_bytes, place.close_bytes);
    }
  }

 private:
  template <typename Use>
  void EachEdge(uint32_t place, Use use) {
    const RulePlace& at = t_->places[place];
    for (uint32_t e = at.first_edge; e < at.first_edge + at.edges; ++e) use(t_->edges[e]);
  }

  // Which place within a character a string place is; kMixed when it is several.
  void FindUtf8Places() {
    for (uint32_t p = 0; p < t_->places.size(); ++p) {
      if (!(t_->places[p].flags & kPlaceString)) continue;
      strings_.push_back(p);
      if (t_->places[p].flags & kPlaceBetween) utf8_[p] = 0;
    }
    std::vector<uint32_t> queue = strings_;
    while (!queue.empty()) {
      const uint32_t p = queue.back();
      queue.pop_back();
      if (utf8_[p] >= kUtf8Places) continue;
      EachEdge(p, [&](const RuleEdge& edge) {
        for (int byte = edge.low; byte <= edge.high; ++byte) {
          const int to = Utf8Step(utf8_[p], static_cast<uint8_t>(byte));
          uint8_t& known = utf8_[edge.to];
          if (to == kUtf8Bad || known == to || known == kMixed) continue;
          known = known == kUnknown ? static_cast<uint8_t>(to) : kMixed;
          queue.push_back(edge.to);
        }
      });
    }
  }

  bool Covered(uint32_t place) {
    std::array<bool, 256> covered = {};
    EachEdge(place, [&](const RuleEdge& edge) {
      if (!free_[edge.to]) return;
      for (int byte = edge.low; byte <= edge.high; ++byte) covered[size_t(byte)] = true;
    });
    for (int byte = 0; byte < 256; ++byte) {
      if (!covered[size_t(byte)] && Needed(utf8_[place], byte)) return false;
    }
    return true;
  }

  RuleTables* t_;
  std::vector<uint8_t> utf8_;                  // by place
  std::vector<uint32_t> strings_;              // the places of strings
  std::vector<std::vector<uint32_t>> before_;  // by place, those with an edge to it
  std::vector<bool> free_;                     // by place
};

}  // namespace

void MarkFreePlaces(RuleTables* tables) { FreePlaces(tables).Mark(); }

}  // namespace chimera
