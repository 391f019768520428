#include "hdc/bucket_table.h"

#include <cstring>

#include "base/check.h"

namespace chimera {

void BucketTable::Take(const BucketTable& narrower, uint32_t bucket) {
  CHIMERA_CHECK(narrower.width_ < width_);
  uint32_t* const row = Row(bucket);
  row[0] = 0;
  if (narrower.width_ == 0) return;
  const uint32_t* const from = narrower.Row(bucket);
  row[0] = narrower.InRow(from);
  // All that fit, and not as many as there are: rows are short and of unlike lengths.
  std::memcpy(row + 1, from + 1, (narrower.width_ - 1) * sizeof(uint32_t));
  for (uint32_t at = narrower.First(from); at != kEnd; at = narrower.chained_[at].next) {
    Insert(bucket, narrower.chained_[at].slot);
  }
}

void BucketTable::Insert(uint32_t bucket, uint32_t slot) {
  uint32_t* const row = Row(bucket);
  if (row[0] < width_ - 1) {
    row[++row[0]] = slot;
    return;
  }
  uint32_t at = free_;
  if (at != kEnd) {
    free_ = chained_[at].next;
  } else {
    at = static_cast<uint32_t>(chained_.size());
    // By a quarter and not by doubling: there are 64 tables.
    if (at == chained_.capacity()) chained_.reserve(at + at / 4 + 16);
    chained_.emplace_back();
  }
  chained_[at] = {.slot = slot, .next = First(row)};
  row[0] = width_ + at;
}

void BucketTable::Erase(uint32_t bucket, uint32_t slot) {
  uint32_t* const row = Row(bucket);
  uint32_t* const end = row + 1 + InRow(row);
  uint32_t* place = std::find(row + 1, end, slot);
  const uint32_t first = First(row);
  if (place == end) {
    uint32_t at = first;
    while (at != kEnd && chained_[at].slot != slot) at = chained_[at].next;
    CHIMERA_CHECK(at != kEnd);
    place = &chained_[at].slot;
  }
  // The last of the row or the first of the chain comes here.
  if (first == kEnd) {
    *place = end[-1];
    end[-1] = 0;
    --row[0];
    return;
  }
  *place = chained_[first].slot;
  const uint32_t next = chained_[first].next;
  row[0] = next == kEnd ? width_ - 1 : width_ + next;
  chained_[first] = {.slot = 0, .next = free_};
  free_ = first;
}

}  // namespace chimera
