// One table of the index: which slots lie in which of its 16,384 buckets
// (math-inference-training C.3). The settled slots are one array ordered by bucket (CSR); what came
// since is chained from one head a bucket, until Merge settles it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "hdc/huge_pages.h"
#include "hdc/lsh.h"
#include "hdc/prefetch.h"

namespace chimera {

// Room for the settled slots of one table: a part of an arena.
struct SlotArray {
  std::shared_ptr<uint32_t[]> arena;  // what keeps slots alive
  uint32_t* slots = nullptr;
  size_t capacity = 0;
};

// 96 KiB and 4 bytes a slot (settled) or 8 (fresh). Thread-compatible.
class BucketTable {
 public:
  // Slots that came since the last merge; more do not fit.
  static constexpr size_t kFreshMax = 65000;

  BucketTable();

  // Tables side by side share huge pages: an insert writes to all of them.
  static void* operator new[](size_t bytes) { return AllocateHuge(bytes); }
  static void operator delete[](void* tables) { std::free(tables); }

  // The slot is in no bucket yet, and fewer than kFreshMax came since the last merge (checked).
  void Insert(uint32_t bucket, uint32_t slot);
  // The slot is in this bucket. Nothing of it stays behind.
  void Erase(uint32_t bucket, uint32_t slot);

  // Room that settled arrays need beside their slots: they are copied in blocks.
  static constexpr size_t kBlock = 16;

  // Settles everything, in time linear in the slots (0.7 ms for 200,000), into *spare, which has
  // room for them (checked) and gets the old array.
  void Merge(SlotArray* spare);
  // How much room that is at least.
  size_t MergedRoom() const {
    return offsets_.back() - gone_ + fresh_.size() - fresh_gone_ + kBlock;
  }

  // visit(slot) for every slot of the bucket, in any order.
  template <typename Visit>
  void ForEach(uint32_t bucket, const Visit& visit) const {
    for (uint32_t i = offsets_[bucket]; i < offsets_[bucket + 1]; ++i) {
      if (settled_.slots[i] != kGone) visit(settled_.slots[i]);
    }
    if (fresh_.empty()) return;
    for (uint16_t at = heads_[bucket]; at != kEnd; at = fresh_[at].next) visit(fresh_[at].slot);
  }

  // Loads ahead of ForEach: first where the bucket begins, some time later what is in it. Insert
  // needs the fresh head alone.
  void PrefetchFresh(uint32_t bucket) const { PrefetchLine(&heads_[bucket]); }
  void PrefetchHead(uint32_t bucket) const {
    PrefetchLine(&offsets_[bucket]);
    PrefetchFresh(bucket);
  }
  void PrefetchSlots(uint32_t bucket) const {
    // A bucket of 12 slots often lies on two lines.
    PrefetchLine(settled_.slots + offsets_[bucket]);
    PrefetchLine(settled_.slots + offsets_[bucket + 1]);
    if (heads_[bucket] != kEnd) PrefetchLine(&fresh_[heads_[bucket]]);
  }

  const SlotArray& settled() const { return settled_; }
  // Without the settled arrays, which are part of arenas.
  size_t MemoryBytes() const;

 private:
  static constexpr uint32_t kGone = ~uint32_t{0};
  static constexpr uint16_t kEnd = 0xFFFF;
  struct Fresh {
    uint32_t slot;
    uint16_t next;  // in fresh_, of the same bucket
  };

  // Copies what is left of the settled slots begin..end; returns the end of the copy.
  uint32_t* CopySettled(uint32_t begin, uint32_t end, uint32_t* out) const;

  std::array<uint32_t, kLshBuckets + 1> offsets_{};
  std::array<uint16_t, kLshBuckets> heads_;
  SlotArray settled_;
  std::vector<Fresh> fresh_;
  // Places that erased slots left; the next merge closes them.
  size_t gone_ = 0, fresh_gone_ = 0;
};

}  // namespace chimera
