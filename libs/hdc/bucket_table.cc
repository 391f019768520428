#include "hdc/bucket_table.h"

#include <cstring>

#include "base/check.h"

namespace chimera {

BucketTable::BucketTable() { heads_.fill(kEnd); }

void BucketTable::Insert(uint32_t bucket, uint32_t slot) {
  CHIMERA_CHECK(fresh_.size() < kFreshMax);
  const auto at = static_cast<uint16_t>(fresh_.size());
  // By a quarter and not by doubling: there are 64 tables.
  if (fresh_.size() == fresh_.capacity()) fresh_.reserve(fresh_.size() + fresh_.size() / 4 + 16);
  fresh_.push_back({.slot = slot, .next = heads_[bucket]});
  heads_[bucket] = at;
}

void BucketTable::Erase(uint32_t bucket, uint32_t slot) {
  for (uint32_t i = offsets_[bucket]; i < offsets_[bucket + 1]; ++i) {
    if (settled_.slots[i] != slot) continue;
    settled_.slots[i] = kGone;
    ++gone_;
    return;
  }
  uint16_t* link = &heads_[bucket];
  while (*link != kEnd && fresh_[*link].slot != slot) link = &fresh_[*link].next;
  CHIMERA_CHECK(*link != kEnd);
  Fresh& fresh = fresh_[*link];
  *link = fresh.next;
  fresh.slot = kGone;  // in no chain any more
  ++fresh_gone_;
}

uint32_t* BucketTable::CopySettled(uint32_t begin, uint32_t end, uint32_t* out) const {
  const uint32_t* const slots = settled_.slots;
  if (gone_ == 0) {
    // Whole blocks, what is too much being written over: buckets are short and of unlike lengths.
    for (uint32_t i = begin; i < end; i += static_cast<uint32_t>(kBlock)) {
      std::memcpy(out + (i - begin), slots + i, kBlock * sizeof(uint32_t));
    }
    return out + (end - begin);
  }
  for (uint32_t i = begin; i < end; ++i) {
    *out = slots[i];
    out += *out != kGone;
  }
  return out;
}

void BucketTable::Merge(SlotArray* spare) {
  CHIMERA_CHECK(spare->capacity >= MergedRoom());
  uint32_t* const first = spare->slots;
  uint32_t* out = first;
  uint32_t begin = 0;
  for (uint32_t bucket = 0; bucket < kLshBuckets; ++bucket) {
    const uint32_t end = offsets_[bucket + 1];
    offsets_[bucket] = static_cast<uint32_t>(out - first);
    out = CopySettled(begin, end, out);
    begin = end;
    for (uint16_t at = heads_[bucket]; at != kEnd; at = fresh_[at].next) *out++ = fresh_[at].slot;
  }
  offsets_.back() = static_cast<uint32_t>(out - first);
  std::swap(settled_, *spare);
  if (!fresh_.empty()) heads_.fill(kEnd);
  fresh_.clear();
  gone_ = fresh_gone_ = 0;
}

size_t BucketTable::MemoryBytes() const {
  return sizeof(*this) + fresh_.capacity() * sizeof(Fresh);
}

}  // namespace chimera
