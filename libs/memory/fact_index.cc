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

void FactIndex::Insert(const std::string& user, uint64_t id, const HyperVector& sketch,
                       int64_t text_bytes) {
  Erase(user, id);
  User& facts = users_[user];
  const uint32_t slot = TakeSlot();
  Slot(slot) = sketch;
  facts.index_of[id] = static_cast<uint32_t>(facts.entries.size());
  facts.entries.push_back(
      {.id = id, .slot = slot, .text_bytes = static_cast<uint32_t>(text_bytes)});
  facts.text_bytes += text_bytes;
  text_bytes_ += text_bytes;
  ++facts_;
}

bool FactIndex::Erase(const std::string& user, uint64_t id) {
  const auto found = users_.find(user);
  if (found == users_.end()) return false;
  User& facts = found->second;
  const auto at = facts.index_of.find(id);
  if (at == facts.index_of.end()) return false;
  Entry& entry = facts.entries[at->second];
  free_slots_.push_back(entry.slot);
  Slot(entry.slot) = HyperVector{};  // a forgotten fact leaves no trace in memory either
  facts.text_bytes -= entry.text_bytes;
  text_bytes_ -= entry.text_bytes;
  --facts_;
  entry = facts.entries.back();  // the last one moves into the gap
  facts.index_of[entry.id] = at->second;
  facts.index_of.erase(id);
  facts.entries.pop_back();
  if (facts.entries.empty()) users_.erase(found);
  return true;
}

int64_t FactIndex::EraseUser(const std::string& user) {
  const auto found = users_.find(user);
  if (found == users_.end()) return 0;
  for (const Entry& entry : found->second.entries) {
    free_slots_.push_back(entry.slot);
    Slot(entry.slot) = HyperVector{};
  }
  const auto erased = static_cast<int64_t>(found->second.entries.size());
  facts_ -= erased;
  text_bytes_ -= found->second.text_bytes;
  users_.erase(found);
  return erased;
}

bool FactIndex::Contains(const std::string& user, uint64_t id) const {
  const auto found = users_.find(user);
  return found != users_.end() && found->second.index_of.contains(id);
}

std::vector<FactIndex::Match> FactIndex::Nearest(const std::string& user, const HyperVector& query,
                                                 int k) const {
  std::vector<Match> best;  // a heap with the worst of the k in front
  const auto found = users_.find(user);
  if (found == users_.end() || k <= 0) return best;
  for (const Entry& entry : found->second.entries) {
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

int64_t FactIndex::facts(const std::string& user) const {
  const auto found = users_.find(user);
  return found == users_.end() ? 0 : static_cast<int64_t>(found->second.entries.size());
}

int64_t FactIndex::text_bytes(const std::string& user) const {
  const auto found = users_.find(user);
  return found == users_.end() ? 0 : found->second.text_bytes;
}

}  // namespace chimera
