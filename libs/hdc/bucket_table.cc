#include "hdc/bucket_table.h"

#include "base/check.h"

namespace chimera {

BucketTable::BucketTable() { heads_.fill(kEnd); }

void BucketTable::Insert(uint32_t bucket, uint32_t slot) {
  CHIMERA_CHECK(fresh_slots_.size() < kFreshMax);
  fresh_next_.push_back(heads_[bucket]);
  heads_[bucket] = static_cast<uint16_t>(fresh_slots_.size());
  fresh_slots_.push_back(slot);
}

void BucketTable::Erase(uint32_t bucket, uint32_t slot) {
  for (uint32_t i = offsets_[bucket]; i < offsets_[bucket + 1]; ++i) {
    if (settled_.slots[i] != slot) continue;
    settled_.slots[i] = kGone;
    ++gone_;
    return;
  }
  uint16_t* link = &heads_[bucket];
  while (*link != kEnd && fresh_slots_[*link] != slot) link = &fresh_next_[*link];
  CHIMERA_CHECK(*link != kEnd);
  const uint16_t at = *link;
  *link = fresh_next_[at];
  fresh_slots_[at] = kGone;  // in no chain any more; its place returns with the next merge
}

void BucketTable::Merge(SlotArray* spare) {
  // One more, because the loop below writes before it knows whether the slot is gone.
  const size_t needed = offsets_.back() - gone_ + fresh_slots_.size() + 1;
  if (spare->capacity < needed) {
    spare->capacity = needed + needed / 16;
    spare->slots = std::make_unique_for_overwrite<uint32_t[]>(spare->capacity);
  }
  uint32_t* out = spare->slots.get();
  uint32_t begin = 0;
  for (uint32_t bucket = 0; bucket < kLshBuckets; ++bucket) {
    const uint32_t end = offsets_[bucket + 1];
    offsets_[bucket] = static_cast<uint32_t>(out - spare->slots.get());
    for (uint32_t i = begin; i < end; ++i) {
      *out = settled_.slots[i];
      out += *out != kGone;
    }
    begin = end;
    for (uint16_t at = heads_[bucket]; at != kEnd; at = fresh_next_[at]) *out++ = fresh_slots_[at];
  }
  offsets_.back() = static_cast<uint32_t>(out - spare->slots.get());
  std::swap(settled_, *spare);
  if (!fresh_slots_.empty()) heads_.fill(kEnd);
  fresh_slots_.clear();
  fresh_next_.clear();
  gone_ = 0;
}

size_t BucketTable::MemoryBytes() const {
  return sizeof(*this) + settled_.capacity * sizeof(uint32_t) +
         fresh_slots_.capacity() * sizeof(uint32_t) + fresh_next_.capacity() * sizeof(uint16_t);
}

}  // namespace chimera
