#include "memory/fact_index.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "hdc/features.h"
#include "memory/store_options.h"

namespace chimera {
namespace {

SketchIndex EmptyIndex() {
  auto index = SketchIndex::Create(static_cast<size_t>(kMemoryFactsMaxLimit), kDefaultCodebookSeed);
  CHIMERA_CHECK(index.ok());
  return *std::move(index);
}

}  // namespace

FactIndex::FactIndex() : sketches_(EmptyIndex()) {}

void FactIndex::Insert(uint64_t id, const FactHead& head, const HyperVector& sketch) {
  Erase(id);
  CHIMERA_CHECK(sketches_.Insert(id, sketch).ok());  // callers keep to the limit of facts
  heads_[id] = head;
  user_facts_ += head.source == Source::kUser;
  text_bytes_ += head.text_bytes;
  if (facts() < 2 * policy_facts_ || facts() < static_cast<int64_t>(SketchIndex::kTablesFrom))
    return;
  policy_ = CheapestPolicy(static_cast<size_t>(facts()), kRecallDistance, kRecallWanted);
  policy_facts_ = facts();
}

bool FactIndex::Erase(uint64_t id) {
  const auto at = heads_.find(id);
  if (at == heads_.end()) return false;
  user_facts_ -= at->second.source == Source::kUser;
  text_bytes_ -= at->second.text_bytes;
  heads_.erase(at);
  sketches_.Erase(id);
  return true;
}

const FactHead* FactIndex::Find(uint64_t id) const {
  const auto at = heads_.find(id);
  return at == heads_.end() ? nullptr : &at->second;
}

std::vector<SketchMatch> FactIndex::Nearest(const HyperVector& query, int k,
                                            uint32_t tags_any) const {
  std::vector<SketchMatch> best;
  if (k <= 0) return best;
  if (tags_any != 0) return NearestTagged(query, k, tags_any);
  thread_local SearchScratch scratch;
  sketches_.Nearest(query, k, policy_, &scratch, &best);
  // What is farther the tables find by luck only.
  const bool sure = best.size() == static_cast<size_t>(k) &&
                    best.back().distance <= static_cast<int>(kRecallDistance * kHyperBits);
  if (!sure && !policy_.scan()) sketches_.Nearest(query, k, kScan, &scratch, &best);
  return best;
}

std::vector<SketchMatch> FactIndex::NearestTagged(const HyperVector& query, int k,
                                                  uint32_t tags_any) const {
  std::vector<SketchMatch> best;  // a heap with the worst of the k in front
  for (const auto& [id, head] : heads_) {
    if ((head.tags & tags_any) == 0) continue;
    best.push_back({.distance = Hamming(query, *sketches_.Find(id)), .id = id});
    std::push_heap(best.begin(), best.end());
    if (best.size() <= static_cast<size_t>(k)) continue;
    std::pop_heap(best.begin(), best.end());
    best.pop_back();
  }
  std::sort_heap(best.begin(), best.end());
  return best;
}

std::vector<uint64_t> FactIndex::Ids(uint64_t first_id, size_t limit) const {
  std::vector<uint64_t> ids;
  for (const auto& [id, head] : heads_) {
    if (id >= first_id) ids.push_back(id);
  }
  const size_t count = std::min(limit, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count), ids.end());
  ids.resize(count);
  return ids;
}

}  // namespace chimera
