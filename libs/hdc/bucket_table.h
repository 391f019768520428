// One table of the index: which slots lie in which of its 16,384 buckets
// (math-inference-training C.3). Every bucket has a row of the same width, so that an insert writes
// one cache line and a search reads one; what a row has no room for is chained.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "hdc/lsh.h"
#include "hdc/prefetch.h"

namespace chimera {

// A row is a head and up to width - 1 slots, all words of 32 bits. The rows belong to BucketTables;
// the chained slots (8 bytes each) are the table's own. Thread-compatible.
class BucketTable {
 public:
  static constexpr uint32_t kWidthMin = 2;
  // Doubled up to a cache line of 16 words, then 24, 32, 48, 64, ..: rows of a size that wastes
  // little, and few steps.
  static constexpr uint32_t WidthAfter(uint32_t width) {
    if (width < 16) return 2 * width;
    return (width & (width - 1)) == 0 ? width / 2 * 3 : width / 3 * 4;
  }
  static constexpr size_t RowWords(uint32_t width) { return size_t{width} * kLshBuckets; }
  // Slots up to which rows of this width are wide enough: as many in the mean as a row has room
  // for. A tenth of them is chained then at width 16, a third at width 2.
  static constexpr size_t SlotsFor(uint32_t width) { return size_t{width - 1} * kLshBuckets; }

  // Without rows: nothing but Take from it may be called.
  BucketTable() = default;
  // RowWords(width) words, which may hold anything. A bucket is there when it was taken.
  BucketTable(uint32_t* rows, uint32_t width) : rows_(rows), width_(width) {}
  // Takes a copy of a bucket of a narrower table; of one without rows, an empty bucket.
  void Take(const BucketTable& narrower, uint32_t bucket);

  // The slot is in no bucket yet. Constant time, but for a chained one that takes more memory.
  void Insert(uint32_t bucket, uint32_t slot);
  // The slot is in this bucket (checked). Nothing of it stays behind. Linear in the bucket's slots.
  void Erase(uint32_t bucket, uint32_t slot);

  // visit(slot) for every slot of the bucket, in any order.
  template <typename Visit>
  void ForEach(uint32_t bucket, const Visit& visit) const {
    const uint32_t* const row = Row(bucket);
    const uint32_t in_row = InRow(row);
    for (uint32_t i = 1; i <= in_row; ++i) visit(row[i]);
    for (uint32_t at = First(row); at != kEnd; at = chained_[at].next) visit(chained_[at].slot);
  }

  // Loads ahead of the functions above: the row, and some time later what is chained to it.
  void PrefetchRow(uint32_t bucket) const {
    const uint32_t* const row = Row(bucket);
    PrefetchLine(row);
    if (width_ > kLineWords) PrefetchLine(row + kLineWords);
  }
  void PrefetchChain(uint32_t bucket) const {
    if (const uint32_t at = First(Row(bucket)); at != kEnd) PrefetchLine(&chained_[at]);
  }

  // Of the chained slots alone.
  size_t MemoryBytes() const { return chained_.capacity() * sizeof(Chained); }

 private:
  static constexpr uint32_t kLineWords = 16;
  static constexpr uint32_t kEnd = ~uint32_t{0};
  struct Chained {
    uint32_t slot;
    uint32_t next;  // in chained_: of the same bucket, or the next that is free
  };

  uint32_t* Row(uint32_t bucket) const { return rows_ + size_t{bucket} * width_; }
  // The head is the number of slots in the row or, when some are chained and the row is full, width
  // + the first of those.
  uint32_t InRow(const uint32_t* row) const { return std::min(row[0], width_ - 1); }
  uint32_t First(const uint32_t* row) const { return row[0] < width_ ? kEnd : row[0] - width_; }

  uint32_t* rows_ = nullptr;
  uint32_t width_ = 0;
  uint32_t free_ = kEnd;  // the first place in chained_ that an erased slot left
  std::vector<Chained> chained_;
};

}  // namespace chimera
