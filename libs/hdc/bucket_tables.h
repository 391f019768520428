// The 64 tables of the index (math-inference-training C.3) and the memory of their rows, which grow
// wider with what is in them: some buckets at a time, so that no insert takes long.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "hdc/bucket_table.h"
#include "hdc/lsh.h"

namespace chimera {

// The bucket of one vector in every table.
using BucketIds = std::array<uint16_t, kLshTables>;

// Rows of 8 MiB at first, 64 MiB from 114,688 to 245,760 slots, and while they are moved those
// before beside them; chained slots are a third of that at first, a tenth of it later. Nothing
// shrinks. Thread-compatible.
class BucketTables {
 public:
  BucketTables() { Widen(BucketTable::kWidthMin); }

  // Not from the beginning: Prepare makes one table of the 64 ready at a time.
  bool ready() const { return rows_ != nullptr; }
  void Prepare() { Move(kLshBuckets); }

  // Ready from here on. What tables do, for all of them. Insert moves at most a sixteenth of one.
  void Insert(const BucketIds& buckets, uint32_t slot);
  void Erase(const BucketIds& buckets, uint32_t slot);

  // The table where this bucket is, until the next change.
  const BucketTable& At(size_t table, uint32_t bucket) const {
    return Moved(table, bucket) ? wider_tables_[table] : tables_[table];
  }

  // Bytes allocated, without what is inside this object.
  size_t MemoryBytes() const;

 private:
  struct Free {
    void operator()(uint32_t* rows) const { std::free(rows); }
  };

  bool Moved(size_t table, uint32_t bucket) const { return table * kLshBuckets + bucket < moved_; }
  BucketTable& TableOf(size_t table, uint32_t bucket) {
    return Moved(table, bucket) ? wider_tables_[table] : tables_[table];
  }
  void Widen(uint32_t width);
  void Move(size_t buckets);

  std::array<BucketTable, kLshTables> tables_, wider_tables_;
  // Rows of all tables, one table after the other, in huge pages; wider_ is null but while they
  // move.
  std::unique_ptr<uint32_t[], Free> rows_, wider_;
  uint32_t rows_width_ = 0, width_ = 0;  // of rows_; of the widest
  size_t moved_ = 0;                     // buckets, table by table, that are in the wider tables
  size_t slots_ = 0;
  size_t inserts_ = 0;  // since buckets were moved
};

}  // namespace chimera
