#include "memory/fact_index.h"

#include <algorithm>

namespace chimera {
namespace {

bool Nearer(const FactIndex::Match& a, const FactIndex::Match& b) {
  return a.distance != b.distance ? a.distance < b.distance : a.id < b.id;
}

}  // namespace

uint32_t FactIndex::TakeSlot() {
  if (!free_slots_.empty()) {
    const uint32_t slot = free_slots_.back();
    free_slots_.pop_back();
    return slot;
  }
  if (used_slots_ % kSlabVectors == 0) {
    slabs_.push_back(std::make_unique<HyperVector[]>(kSlabVectors));
  }
  return used_slots_++;
}

void FactIndex::Insert(uint64_t id, const FactHead& head, const HyperVector& sketch) {
  Erase(id);
  const uint32_t slot = TakeSlot();
  Slot(slot) = sketch;
  index_of_[id] = static_cast<uint32_t>(entries_.size());
  entries_.push_back({.id = id, .slot = slot, .head = head});
  user_facts_ += head.source == Source::kUser;
  text_bytes_ += head.text_bytes;
}

bool FactIndex::Erase(uint64_t id) {
  const auto at = index_of_.find(id);
  if (at == index_of_.end()) return false;
  Entry& entry = entries_[at->second];
  free_slots_.push_back(entry.slot);
  Slot(entry.slot) = HyperVector{};
  user_facts_ -= entry.head.source == Source::kUser;
  text_bytes_ -= entry.head.text_bytes;
  entry = entries_.back();  // the last one moves into the gap
  index_of_[entry.id] = at->second;
  index_of_.erase(id);
  entries_.pop_back();
  return true;
}

const FactHead* FactIndex::Find(uint64_t id) const {
  const auto at = index_of_.find(id);
  return at == index_of_.end() ? nullptr : &entries_[at->second].head;
}

std::vector<FactIndex::Match> FactIndex::Nearest(const HyperVector& query, int k,
                                                 uint32_t tags_any) const {
  std::vector<Match> best;  // a heap with the worst of the k in front
  if (k <= 0) return best;
  for (const Entry& entry : entries_) {
    if (tags_any != 0 && (entry.head.tags & tags_any) == 0) continue;
    const Match match{.distance = Hamming(query, Slot(entry.slot)), .id = entry.id};
    if (best.size() == static_cast<size_t>(k)) {
      if (!Nearer(match, best.front())) continue;
      std::pop_heap(best.begin(), best.end(), Nearer);
      best.pop_back();
    }
    best.push_back(match);
    std::push_heap(best.begin(), best.end(), Nearer);
  }
  std::sort_heap(best.begin(), best.end(), Nearer);
  return best;
}

std::vector<uint64_t> FactIndex::Ids(uint64_t first_id, size_t limit) const {
  std::vector<uint64_t> ids;
  for (const Entry& entry : entries_) {
    if (entry.id >= first_id) ids.push_back(entry.id);
  }
  const size_t count = std::min(limit, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end());
  ids.resize(count);
  return ids;
}

}  // namespace chimera
