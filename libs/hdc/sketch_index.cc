#include "hdc/sketch_index.h"

#include <algorithm>
#include <array>
#include <bit>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "hdc/hyper_kernels.h"
#include "hdc/prefetch.h"

namespace chimera {
namespace {

// The tables begin at this many vectors. Before there are kTablesFrom, at least 1,024 vectors are
// inserted: an insert makes one of the 64 tables ready, and each of the others takes eight vectors
// into them, so 600 would do.
constexpr size_t kTablesBegin = SketchIndex::kTablesFrom / 4 * 3;
constexpr int kFilledAtOnce = 8;

constexpr uint32_t kTile = 64;  // vectors whose distances are computed before any is looked at

// How far ahead memory is asked for: rows and chains of buckets, candidates.
constexpr size_t kRowsAhead = 24, kChainsAhead = 12, kRanksAhead = 3;

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

uint32_t SketchIndex::Put(uint64_t id, const HyperVector& vector) {
  uint32_t slot;
  if (free_.empty()) {
    slot = vectors_.Add(vector);
    id_of_.push_back(id);
    if (slot % 64 == 0) live_.push_back(0);
  } else {
    slot = free_.back();
    free_.pop_back();
    vectors_[slot] = vector;
    id_of_[slot] = id;
  }
  live_[slot / 64] |= uint64_t{1} << (slot % 64);
  return slot;
}

absl::Status SketchIndex::Insert(uint64_t id, const HyperVector& vector) {
  const auto [at, is_new] = slot_of_.TryEmplace(id);
  if (!is_new) {
    // The vector may be this very one, whose memory Erase clears.
    const HyperVector copy = vector;
    Erase(id);
    return Insert(id, copy);
  }
  if (size() > capacity_) {
    slot_of_.Erase(id);
    return absl::ResourceExhaustedError(
        absl::StrCat("sketch index holds ", capacity_, " vectors, its capacity"));
  }
  const uint32_t slot = Put(id, vector);
  *at = slot;
  if (tables_ == nullptr) {
    if (size() < kTablesBegin) return absl::OkStatus();
    tables_ = std::make_unique<BucketTables>();
  }
  if (slot < filled_) tables_->Insert(BucketsOf(slot), slot);
  FillTables();
  return absl::OkStatus();
}

bool SketchIndex::Erase(uint64_t id) {
  const uint32_t* const at = slot_of_.Find(id);
  if (at == nullptr) return false;
  const uint32_t slot = *at;
  slot_of_.Erase(id);
  if (slot < filled_) tables_->Erase(BucketsOf(slot), slot);
  vectors_[slot].words.fill(0);
  id_of_[slot] = 0;
  live_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
  free_.push_back(slot);
  if (size() < kTablesFrom / 2) {
    tables_.reset();
    filled_ = 0;
  }
  return true;
}

const HyperVector* SketchIndex::Find(uint64_t id) const {
  const uint32_t* const at = slot_of_.Find(id);
  return at == nullptr ? nullptr : &vectors_[*at];
}

BucketIds SketchIndex::BucketsOf(uint32_t slot) const {
  BucketIds buckets;
  lsh_->Buckets(vectors_[slot], kLshTables, buckets.data());
  return buckets;
}

void SketchIndex::FillTables() {
  if (!tables_->ready()) {
    tables_->Prepare();
    return;
  }
  for (int left = kFilledAtOnce; left > 0 && filled_ < vectors_.size();) {
    const uint64_t live = live_[filled_ / 64] >> (filled_ % 64);
    if (live == 0) {
      filled_ = std::min(vectors_.size(), (filled_ / 64 + 1) * 64);
      continue;
    }
    filled_ += static_cast<uint32_t>(std::countr_zero(live));
    tables_->Insert(BucketsOf(filled_), filled_);
    ++filled_;
    --left;
  }
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
  const auto bucket = [&](size_t i) { return looks[i] % kLshBuckets; };
  const auto table = [&](size_t i) -> const BucketTable& {
    return tables_->At(looks[i] >> kLshBitsPerTable, bucket(i));
  };
  if (scratch->votes_.size() < vectors_.size()) scratch->votes_.resize(vectors_.size());
  uint8_t* const votes = scratch->votes_.data();
  std::vector<uint32_t>& met = scratch->met_;
  met.clear();
  for (size_t i = 0; i < std::min(kRowsAhead, looks.size()); ++i) table(i).PrefetchRow(bucket(i));
  for (size_t i = 0; i < std::min(kChainsAhead, looks.size()); ++i) {
    table(i).PrefetchChain(bucket(i));
  }
  for (size_t i = 0; i < looks.size(); ++i) {
    if (const size_t next = i + kRowsAhead; next < looks.size()) {
      table(next).PrefetchRow(bucket(next));
    }
    if (const size_t next = i + kChainsAhead; next < looks.size()) {
      table(next).PrefetchChain(bucket(next));
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
  CHIMERA_CHECK(filled_ == vectors_.size());
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
  const size_t bytes = sizeof(*this) + sizeof(*lsh_) + vectors_.MemoryBytes() +
                       id_of_.size() * sizeof(uint64_t) + live_.capacity() * sizeof(uint64_t) +
                       free_.capacity() * sizeof(uint32_t) + slot_of_.MemoryBytes();
  return tables_ == nullptr ? bytes : bytes + sizeof(*tables_) + tables_->MemoryBytes();
}

}  // namespace chimera
