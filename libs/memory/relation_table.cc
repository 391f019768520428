#include "memory/relation_table.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "base/check.h"

namespace chimera {
namespace {

std::tuple<uint32_t, uint32_t, uint32_t> KeyOf(const Triple& triple) {
  return {triple.subject, triple.predicate, triple.object};
}

bool Before(const Triple& a, const Triple& b) { return KeyOf(a) < KeyOf(b); }

// Heavier first.
bool Ranks(const Triple& a, const Triple& b) {
  return a.weight != b.weight ? a.weight > b.weight : Before(a, b);
}

// Where the triple is, or end.
template <typename Run>
auto FindIn(Run& run, const Triple& triple) {
  const auto at = std::lower_bound(run.begin(), run.end(), triple, Before);
  return at != run.end() && KeyOf(*at) == KeyOf(triple) ? at : run.end();
}

bool Matches(const Triple& triple, const TriplePattern& pattern) {
  return (pattern.subject == kAnyName || pattern.subject == triple.subject) &&
         (pattern.predicate == kAnyName || pattern.predicate == triple.predicate) &&
         (pattern.object == kAnyName || pattern.object == triple.object);
}

}  // namespace

uint32_t RelationTable::FindName(std::string_view name) const {
  const auto found = ids_.find(name);
  return found == ids_.end() ? kAnyName : found->second;
}

void RelationTable::AddName(uint32_t id, std::string_view name) {
  CHIMERA_CHECK(id != kAnyName);
  const auto [at, added] = names_.emplace(id, name);
  CHIMERA_CHECK(added && ids_.emplace(at->second, id).second);
  next_name_id_ = std::max(next_name_id_, id + 1);
}

void RelationTable::EraseName(uint32_t id) {
  const auto found = names_.find(id);
  if (found == names_.end()) return;
  ids_.erase(found->second);
  names_.erase(found);
}

std::vector<uint32_t> RelationTable::NamesOnlyIn(std::span<const Triple> triples) const {
  if (triples.empty()) return {};
  std::set<uint32_t> names;
  std::set<std::tuple<uint32_t, uint32_t, uint32_t>> theirs;
  for (const Triple& triple : triples) {
    theirs.insert(KeyOf(triple));
    names.insert({triple.subject, triple.predicate, triple.object});
  }
  for (const std::vector<Triple>* run : {&run_, &fresh_}) {
    for (const Triple& triple : *run) {
      if (theirs.contains(KeyOf(triple))) continue;
      for (const uint32_t id : {triple.subject, triple.predicate, triple.object}) names.erase(id);
    }
  }
  return {names.begin(), names.end()};
}

const Triple* RelationTable::Find(uint32_t subject, uint32_t predicate, uint32_t object) const {
  const Triple wanted{subject, predicate, object, 0};
  for (const std::vector<Triple>* run : {&run_, &fresh_}) {
    const auto at = FindIn(*run, wanted);
    if (at != run->end()) return &*at;
  }
  return nullptr;
}

void RelationTable::Put(const Triple& triple) {
  for (std::vector<Triple>* run : {&run_, &fresh_}) {
    const auto at = FindIn(*run, triple);
    if (at == run->end()) continue;
    at->weight = triple.weight;
    return;
  }
  fresh_.insert(std::lower_bound(fresh_.begin(), fresh_.end(), triple, Before), triple);
  if (fresh_.size() < kFreshMax) return;
  const auto middle = static_cast<std::ptrdiff_t>(run_.size());
  run_.reserve(run_.size() + fresh_.size());  // exactly, not the next power of two
  run_.insert(run_.end(), fresh_.begin(), fresh_.end());
  std::inplace_merge(run_.begin(), run_.begin() + middle, run_.end(), Before);
  fresh_.clear();
}

void RelationTable::Erase(std::span<const Triple> triples) {
  if (triples.empty()) return;
  std::set<std::tuple<uint32_t, uint32_t, uint32_t>> gone;
  for (const Triple& triple : triples) gone.insert(KeyOf(triple));
  for (std::vector<Triple>* run : {&run_, &fresh_}) {
    std::erase_if(*run, [&gone](const Triple& triple) { return gone.contains(KeyOf(triple)); });
  }
}

std::vector<Triple> RelationTable::Match(const TriplePattern& pattern, size_t limit) const {
  std::vector<Triple> best;  // a heap with the last of the best in front
  for (const std::vector<Triple>* run : {&run_, &fresh_}) {
    auto first = run->begin(), last = run->end();
    if (pattern.subject != kAnyName) {
      first = std::lower_bound(first, last, Triple{pattern.subject, 0, 0, 0}, Before);
      last = std::upper_bound(first, last, Triple{pattern.subject, kAnyName, kAnyName, 0}, Before);
    }
    for (; first != last; ++first) {
      if (!Matches(*first, pattern)) continue;
      if (best.size() == limit) {
        if (limit == 0 || !Ranks(*first, best.front())) continue;
        std::pop_heap(best.begin(), best.end(), Ranks);
        best.pop_back();
      }
      best.push_back(*first);
      std::push_heap(best.begin(), best.end(), Ranks);
    }
  }
  std::sort_heap(best.begin(), best.end(), Ranks);
  return best;
}

}  // namespace chimera
