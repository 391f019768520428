// The 64 tables of the index (math-inference-training C.3) and the memory of their rows, which grow
// wider with what is in them: table by table, so that no insert moves more than one.
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
// before beside them; chained slots are a tenth of it or less. Nothing shrinks. Thread-compatible.
class BucketTables {
 public:
  BucketTables() { Widen(BucketTable::kWidthMin); }

  // Not from the beginning: Prepare makes one table ready at a time, so that no call takes long.
  bool ready() const { return rows_ != nullptr; }
  void Prepare() { MoveOne(); }

  // Ready from here on. What the tables do: see there. Insert moves at most one of them (some 0.3
  // ms at width 16).
  void Insert(const BucketIds& buckets, uint32_t slot);
  void Erase(const BucketIds& buckets, uint32_t slot);
  const BucketTable& operator[](size_t table) const { return tables_[table]; }

  // Bytes allocated, without what is inside this object.
  size_t MemoryBytes() const;

 private:
  struct Free {
    void operator()(uint32_t* rows) const { std::free(rows); }
  };

  void Widen(uint32_t width);
  void MoveOne();

  std::array<BucketTable, kLshTables> tables_;
  // Rows of all tables, one table after the other, in huge pages. While tables move, those before
  // moved_ are in wider_ already.
  std::unique_ptr<uint32_t[], Free> rows_, wider_;
  uint32_t rows_width_ = 0, width_ = 0;  // of rows_; of the widest
  size_t moved_ = 0;
  size_t slots_ = 0;
  size_t inserts_ = 0;  // since a table was moved
};

}  // namespace chimera
