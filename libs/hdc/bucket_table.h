// One table of the index: which slots lie in which of its 16,384 buckets
// (math-inference-training C.3). The settled slots are one array ordered by bucket (CSR); what came
// since is chained from one head a bucket, until Merge settles it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "hdc/lsh.h"

namespace chimera {

// Slots in an array that its owner lends to the next merge, so that merging allocates only to grow.
struct SlotArray {
  std::unique_ptr<uint32_t[]> slots;
  size_t capacity = 0;
};

// 96 KiB and 4 bytes a slot (settled) or 6 (fresh). Thread-compatible.
class BucketTable {
 public:
  // Slots that came since the last merge; more do not fit.
  static constexpr size_t kFreshMax = 65000;

  BucketTable();

  // The slot is in no bucket yet; fresh() < kFreshMax.
  void Insert(uint32_t bucket, uint32_t slot);
  // The slot is in this bucket. Nothing of it stays behind.
  void Erase(uint32_t bucket, uint32_t slot);

  // Settles everything, in time linear in the slots (0.3 ms for 200,000), with the memory of
  // *spare, which gets the old memory.
  void Merge(SlotArray* spare);

  // visit(slot) for every slot of the bucket, in any order.
  template <typename Visit>
  void ForEach(uint32_t bucket, const Visit& visit) const {
    for (uint32_t i = offsets_[bucket]; i < offsets_[bucket + 1]; ++i) {
      if (settled_.slots[i] != kGone) visit(settled_.slots[i]);
    }
    if (fresh_slots_.empty()) return;
    for (uint16_t at = heads_[bucket]; at != kEnd; at = fresh_next_[at]) visit(fresh_slots_[at]);
  }

  // Loads ahead of ForEach: first where the bucket begins, some time later what is in it.
  void PrefetchHead(uint32_t bucket) const {
    __builtin_prefetch(&offsets_[bucket]);
    __builtin_prefetch(&heads_[bucket]);
  }
  void PrefetchSlots(uint32_t bucket) const {
    __builtin_prefetch(settled_.slots.get() + offsets_[bucket]);
  }

  size_t fresh() const { return fresh_slots_.size(); }
  // Places that erased slots left; the next merge closes them.
  size_t gone() const { return gone_; }
  size_t MemoryBytes() const;

 private:
  static constexpr uint32_t kGone = ~uint32_t{0};
  static constexpr uint16_t kEnd = 0xFFFF;

  std::array<uint32_t, kLshBuckets + 1> offsets_{};
  std::array<uint16_t, kLshBuckets> heads_;
  SlotArray settled_;
  std::vector<uint32_t> fresh_slots_;
  std::vector<uint16_t> fresh_next_;
  size_t gone_ = 0;
};

}  // namespace chimera
