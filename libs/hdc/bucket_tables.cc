#include "hdc/bucket_tables.h"

#include <utility>

#include "base/huge_pages.h"

namespace chimera {
namespace {

// Buckets that move together, and the part of the slots that is inserted meanwhile: all are there
// before a sixteenth is.
constexpr size_t kMovedAtOnce = kLshBuckets / 16;
constexpr size_t kMovePart = 16 * kLshTables * kLshBuckets / kMovedAtOnce;

}  // namespace

void BucketTables::Widen(uint32_t width) {
  const size_t words = BucketTable::RowWords(width);
  wider_.reset(static_cast<uint32_t*>(AllocateHuge(kLshTables * words * sizeof(uint32_t))));
  for (size_t t = 0; t < kLshTables; ++t) wider_tables_[t] = BucketTable(&wider_[t * words], width);
  width_ = width;
}

void BucketTables::Move(size_t buckets) {
  for (; buckets > 0; --buckets, ++moved_) {
    const size_t t = moved_ / kLshBuckets;
    wider_tables_[t].Take(tables_[t], static_cast<uint32_t>(moved_ % kLshBuckets));
  }
  if (moved_ < kLshTables * kLshBuckets) return;
  tables_ = std::move(wider_tables_);
  rows_ = std::move(wider_);
  rows_width_ = width_;
  moved_ = 0;
}

void BucketTables::Insert(const BucketIds& buckets, uint32_t slot) {
  for (size_t t = 0; t < kLshTables; ++t) At(t, buckets[t]).PrefetchRow(buckets[t]);
  for (size_t t = 0; t < kLshTables; ++t) TableOf(t, buckets[t]).Insert(buckets[t], slot);
  ++slots_;
  if (wider_ == nullptr) {
    if (slots_ > BucketTable::SlotsFor(width_)) Widen(BucketTable::WidthAfter(width_));
  } else if (++inserts_ >= slots_ / kMovePart) {
    inserts_ = 0;
    Move(kMovedAtOnce);
  }
}

void BucketTables::Erase(const BucketIds& buckets, uint32_t slot) {
  for (size_t t = 0; t < kLshTables; ++t) At(t, buckets[t]).PrefetchRow(buckets[t]);
  for (size_t t = 0; t < kLshTables; ++t) At(t, buckets[t]).PrefetchChain(buckets[t]);
  for (size_t t = 0; t < kLshTables; ++t) TableOf(t, buckets[t]).Erase(buckets[t], slot);
  --slots_;
}

size_t BucketTables::MemoryBytes() const {
  size_t words = 0;
  if (rows_ != nullptr) words += BucketTable::RowWords(rows_width_);
  if (wider_ != nullptr) words += BucketTable::RowWords(width_);
  size_t bytes = kLshTables * words * sizeof(uint32_t);
  for (const BucketTable& table : tables_) bytes += table.MemoryBytes();
  for (const BucketTable& table : wider_tables_) bytes += table.MemoryBytes();
  return bytes;
}

}  // namespace chimera
