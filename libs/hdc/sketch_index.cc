#include "hdc/sketch_index.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "hdc/huge_pages.h"
#include "hdc/hyper_kernels.h"
#include "hdc/prefetch.h"

namespace chimera {
namespace {

// A table takes in a sixth of the vectors before it is put in order. More would make inserts
// cheaper, searches slower and the tables larger (docs/experiments.md).
constexpr size_t kFreshPart = 6;

constexpr uint32_t kTile = 64;  // vectors whose distances are computed before any is looked at

// How far ahead memory is asked for, in buckets and in candidates.
constexpr size_t kHeadsAhead = 24, kSlotsAhead = 12, kRanksAhead = 3;

// The k smallest, with the largest of them in front.
void Keep(SketchMatch match, size_t k, std::vector<SketchMatch>* heap) {
  if (heap->size() == k) {
    if (!(match < heap->front())) return;
    std::pop_heap(heap->begin(), heap->end());
    heap->back() = match;
  } else {
    heap->push_back(match);
  }
  std::push_heap(heap->begin(), heap->end());
}

uint32_t Limit(const std::vector<SketchMatch>& heap, size_t k) {
  return heap.size() < k ? kHyperBits : static_cast<uint32_t>(heap.front().distance);
}

}  // namespace

absl::StatusOr<SketchIndex> SketchIndex::Create(size_t capacity, uint64_t seed) {
  if (capacity < 1 || capacity > kCapacityMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("sketch index capacity ", capacity, " is not within 1 and ", kCapacityMax));
  }
  return SketchIndex(capacity, seed);
}

SketchIndex::SketchIndex(size_t capacity, uint64_t seed)
    : capacity_(capacity), lsh_(std::make_unique<const LshTables>(seed)) {}

uint32_t SketchIndex::TakeSlot() {
  if (!free_.empty()) {
    const uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  const uint32_t slot = vectors_.Add();
  id_of_.push_back(0);
  if (slot % 64 == 0) live_.push_back(0);
  return slot;
}

absl::Status SketchIndex::Insert(uint64_t id, const HyperVector& vector) {
  const auto [at, is_new] = slot_of_.try_emplace(id, 0);
  if (!is_new) {
    // The vector may be this very one, whose memory Erase clears.
    const HyperVector copy = vector;
    Erase(id);
    return Insert(id, copy);
  }
  if (slot_of_.size() > capacity_) {
    slot_of_.erase(at);
    return absl::ResourceExhaustedError(
        absl::StrCat("sketch index holds ", capacity_, " vectors, its capacity"));
  }
  const uint32_t slot = TakeSlot();
  at->second = slot;
  vectors_[slot] = vector;
  id_of_[slot] = id;
  live_[slot / 64] |= uint64_t{1} << (slot % 64);
  if (tables_ == nullptr) {
    if (size() >= kTablesFrom) BuildTables();
    return absl::OkStatus();
  }
  std::array<uint16_t, kLshTables> buckets;
  lsh_->Buckets(vector, kLshTables, buckets.data());
  for (int t = 0; t < kLshTables; ++t) tables_[t].PrefetchFresh(buckets[t]);
  for (int t = 0; t < kLshTables; ++t) tables_[t].Insert(buckets[t], slot);
  MergeOne();
  return absl::OkStatus();
}

bool SketchIndex::Erase(uint64_t id) {
  const auto at = slot_of_.find(id);
  if (at == slot_of_.end()) return false;
  const uint32_t slot = at->second;
  slot_of_.erase(at);
  if (tables_ != nullptr) {
    std::array<uint16_t, kLshTables> buckets;
    lsh_->Buckets(vectors_[slot], kLshTables, buckets.data());
    for (int t = 0; t < kLshTables; ++t) tables_[t].PrefetchHead(buckets[t]);
    for (int t = 0; t < kLshTables; ++t) tables_[t].PrefetchSlots(buckets[t]);
    for (int t = 0; t < kLshTables; ++t) tables_[t].Erase(buckets[t], slot);
  }
  vectors_[slot].words.fill(0);
  id_of_[slot] = 0;
  live_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
  free_.push_back(slot);
  if (tables_ != nullptr && size() < kTablesFrom / 2) {
    tables_.reset();
    spare_ = arena_ = SlotArray();
  } else if (tables_ != nullptr) {
    MergeOne();
  }
  return true;
}

const HyperVector* SketchIndex::Find(uint64_t id) const {
  const auto at = slot_of_.find(id);
  return at == slot_of_.end() ? nullptr : &vectors_[at->second];
}

void SketchIndex::BuildTables() {
  tables_ = std::make_unique<BucketTable[]>(kLshTables);
  std::array<uint16_t, kLshTables> buckets;
  for (const auto& [id, slot] : slot_of_) {
    lsh_->Buckets(vectors_[slot], kLshTables, buckets.data());
    for (int t = 0; t < kLshTables; ++t) tables_[t].Insert(buckets[t], slot);
  }
  for (int t = 0; t < kLshTables; ++t) Merge(&tables_[t]);
  changes_ = 0;
  next_table_ = 0;
}

void SketchIndex::MergeOne() {
  // Between two merges of a table all 64 take their turn.
  const size_t fresh = std::min(size() / kFreshPart, BucketTable::kFreshMax - kLshTables);
  if (++changes_ < std::max<size_t>(fresh / kLshTables, 1)) return;
  changes_ = 0;
  Merge(&tables_[next_table_]);
  next_table_ = (next_table_ + 1) % kLshTables;
}

void SketchIndex::Merge(BucketTable* table) {
  const size_t room = table->MergedRoom();
  if (spare_.capacity < room) {
    if (arena_.capacity < room) {
      const size_t most = capacity_ + BucketTable::kBlock;
      arena_.capacity = std::max(room, std::min(room + room / 2, most));
      const size_t slots = arena_.capacity * (kLshTables + 1);
      arena_.slots = static_cast<uint32_t*>(AllocateHuge(slots * sizeof(uint32_t)));
      arena_.arena.reset(arena_.slots, [](uint32_t* memory) { std::free(memory); });
      arena_left_ = kLshTables + 1;
    }
    CHIMERA_CHECK(arena_left_-- > 0);
    spare_ = arena_;
    arena_.slots += arena_.capacity;
  }
  table->Merge(&spare_);
}

void SketchIndex::Meet(const HyperVector& query, const SearchPolicy& policy,
                       SearchScratch* scratch) const {
  std::array<uint16_t, kLshTables> buckets;
  lsh_->Buckets(query, policy.tables, buckets.data());
  std::vector<uint32_t>& looks = scratch->looks_;
  looks.clear();
  for (int t = 0; t < policy.tables; ++t) {
    const uint32_t look = static_cast<uint32_t>(t) << kLshBitsPerTable | buckets[t];
    looks.push_back(look);
    if (t >= policy.flip_tables) continue;
    for (int j = 0; j < kLshBitsPerTable; ++j) looks.push_back(look ^ 1u << j);
  }
  const auto table = [&](size_t i) -> const BucketTable& {
    return tables_[looks[i] >> kLshBitsPerTable];
  };
  const auto bucket = [&](size_t i) { return looks[i] % kLshBuckets; };
  if (scratch->votes_.size() < vectors_.size()) scratch->votes_.resize(vectors_.size());
  uint8_t* const votes = scratch->votes_.data();
  std::vector<uint32_t>& met = scratch->met_;
  met.clear();
  for (size_t i = 0; i < std::min(kHeadsAhead, looks.size()); ++i) table(i).PrefetchHead(bucket(i));
  for (size_t i = 0; i < std::min(kSlotsAhead, looks.size()); ++i) {
    table(i).PrefetchSlots(bucket(i));
  }
  for (size_t i = 0; i < looks.size(); ++i) {
    if (const size_t next = i + kHeadsAhead; next < looks.size()) {
      table(next).PrefetchHead(bucket(next));
    }
    if (const size_t next = i + kSlotsAhead; next < looks.size()) {
      table(next).PrefetchSlots(bucket(next));
    }
    table(i).ForEach(bucket(i), [&](uint32_t slot) {
      if (votes[slot]++ == 0) met.push_back(slot);
    });
  }
  size_t kept = 0;
  for (const uint32_t slot : met) {
    const bool enough = votes[slot] >= policy.min_votes;
    votes[slot] = 0;
    met[kept] = slot;
    kept += enough;
  }
  met.resize(kept);
}

void SketchIndex::Rank(const HyperVector& query, int k, std::span<const uint32_t> slots,
                       std::vector<SketchMatch>* matches) const {
  const HyperKernels& kernels = BestHyper();
  const auto most = static_cast<size_t>(k);
  const auto prefetch = [&](size_t i) {
    const HyperVector& vector = vectors_[slots[i]];
    for (int w = 0; w < kHyperWords; w += 8) PrefetchLine(&vector.words[w]);
  };
  for (size_t i = 0; i < std::min(kRanksAhead, slots.size()); ++i) prefetch(i);
  for (size_t i = 0; i < slots.size(); ++i) {
    if (i + kRanksAhead < slots.size()) prefetch(i + kRanksAhead);
    const uint32_t limit = Limit(*matches, most);
    const uint32_t distance =
        kernels.hamming_within(query.words.data(), vectors_[slots[i]].words.data(), limit);
    if (distance > limit) continue;
    Keep({.distance = static_cast<int>(distance), .id = id_of_[slots[i]]}, most, matches);
  }
}

void SketchIndex::Nearest(const HyperVector& query, int k, const SearchPolicy& policy,
                          SearchScratch* scratch, std::vector<SketchMatch>* matches) const {
  if (policy.scan() || size() < kTablesFrom) {
    NearestOfMany({&query, 1}, k, scratch, {matches, 1});
    return;
  }
  CHIMERA_CHECK(policy.tables <= kLshTables && policy.flip_tables <= policy.tables);
  matches->clear();
  if (k <= 0) return;
  Meet(query, policy, scratch);
  Rank(query, k, scratch->met_, matches);
  std::sort_heap(matches->begin(), matches->end());
}

void SketchIndex::NearestOfMany(std::span<const HyperVector> queries, int k, SearchScratch* scratch,
                                std::span<std::vector<SketchMatch>> matches) const {
  CHIMERA_CHECK(matches.size() == queries.size());
  for (std::vector<SketchMatch>& found : matches) found.clear();
  if (k <= 0) return;
  const HyperKernels& kernels = BestHyper();
  const auto most = static_cast<size_t>(k);
  scratch->distances_.resize(kTile * kBlock);
  uint32_t* const distances = scratch->distances_.data();
  for (uint32_t first = 0; first < vectors_.size();) {
    std::span<const HyperVector> rows = vectors_.From(first);
    rows = rows.first(std::min<size_t>(rows.size(), kTile));
    for (size_t q = 0; q < queries.size(); q += kBlock) {
      const auto n = static_cast<int>(std::min<size_t>(queries.size() - q, kBlock));
      kernels.hamming_rows(queries[q].words.data(), n, rows[0].words.data(),
                           static_cast<int>(rows.size()), distances);
      for (int i = 0; i < n; ++i) {
        std::vector<SketchMatch>& found = matches[q + static_cast<size_t>(i)];
        for (uint32_t r = 0; r < rows.size(); ++r) {
          const uint32_t distance = distances[r * static_cast<uint32_t>(n) + i];
          if (distance > Limit(found, most) || !Live(first + r)) continue;
          Keep({.distance = static_cast<int>(distance), .id = id_of_[first + r]}, most, &found);
        }
      }
    }
    first += static_cast<uint32_t>(rows.size());
  }
  for (std::vector<SketchMatch>& found : matches) std::sort_heap(found.begin(), found.end());
}

size_t SketchIndex::MemoryBytes() const {
  size_t bytes = sizeof(*this) + sizeof(*lsh_) + vectors_.MemoryBytes() +
                 id_of_.capacity() * sizeof(uint64_t) + live_.capacity() * sizeof(uint64_t) +
                 free_.capacity() * sizeof(uint32_t) +
                 slot_of_.capacity() * (sizeof(std::pair<uint64_t, uint32_t>) + 1);
  if (tables_ == nullptr) return bytes;
  std::map<const void*, size_t> arenas = {{arena_.arena.get(), arena_.capacity},
                                          {spare_.arena.get(), spare_.capacity}};
  for (int t = 0; t < kLshTables; ++t) {
    bytes += tables_[t].MemoryBytes();
    arenas[tables_[t].settled().arena.get()] = tables_[t].settled().capacity;
  }
  for (const auto& [arena, capacity] : arenas) {
    bytes += capacity * (kLshTables + 1) * sizeof(uint32_t);
  }
  return bytes;
}

}  // namespace chimera
