#include "hdc/bucket_tables.h"

#include <utility>

#include "hdc/huge_pages.h"

namespace chimera {
namespace {

// While tables move, one moves each time this part of the slots was inserted: all 64 are there
// before a sixteenth is.
constexpr size_t kMovePart = 1024;

}  // namespace

void BucketTables::Widen(uint32_t width) {
  const size_t bytes = kLshTables * BucketTable::RowWords(width) * sizeof(uint32_t);
  wider_.reset(static_cast<uint32_t*>(AllocateHuge(bytes)));
  width_ = width;
  moved_ = 0;
}

void BucketTables::MoveOne() {
  tables_[moved_].Move(&wider_[moved_ * BucketTable::RowWords(width_)], width_);
  if (++moved_ < kLshTables) return;
  rows_ = std::move(wider_);
  rows_width_ = width_;
}

void BucketTables::Insert(const BucketIds& buckets, uint32_t slot) {
  for (size_t t = 0; t < kLshTables; ++t) tables_[t].PrefetchRow(buckets[t]);
  for (size_t t = 0; t < kLshTables; ++t) tables_[t].Insert(buckets[t], slot);
  ++slots_;
  if (wider_ == nullptr) {
    if (slots_ > BucketTable::SlotsFor(width_)) Widen(BucketTable::WidthAfter(width_));
  } else if (++inserts_ >= slots_ / kMovePart) {
    inserts_ = 0;
    MoveOne();
  }
}

void BucketTables::Erase(const BucketIds& buckets, uint32_t slot) {
  for (size_t t = 0; t < kLshTables; ++t) tables_[t].PrefetchRow(buckets[t]);
  for (size_t t = 0; t < kLshTables; ++t) tables_[t].PrefetchChain(buckets[t]);
  for (size_t t = 0; t < kLshTables; ++t) tables_[t].Erase(buckets[t], slot);
  --slots_;
}

size_t BucketTables::MemoryBytes() const {
  size_t words = 0;
  if (rows_ != nullptr) words += BucketTable::RowWords(rows_width_);
  if (wider_ != nullptr) words += BucketTable::RowWords(width_);
  size_t bytes = kLshTables * words * sizeof(uint32_t);
  for (const BucketTable& table : tables_) bytes += table.MemoryBytes();
  return bytes;
}

}  // namespace chimera
