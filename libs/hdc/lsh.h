// Bucket ids of locality-sensitive hashing (math-inference-training C.3): 64 tables of 14 sampled
// bits. Exact buckets find near duplicates (cosine 0.8 and up), not topics.
#pragma once

#include <cstdint>
#include <span>

#include "hdc/hypervector.h"
#include "hdc/pick_plan.h"

namespace chimera {

inline constexpr int kLshTables = 64;
inline constexpr int kLshBitsPerTable = 14;
inline constexpr int kLshBuckets = 1 << kLshBitsPerTable;

// The bit positions of one seed: table t reads the words of the Philox blocks 0, 1, .. of (purpose
// 3, stream t); position = word >> 19, repeats skipped. Immutable.
class LshTables {
 public:
  explicit LshTables(uint64_t seed);

  // Bit j of id t is the sketch's bit at position j of table t; 0 <= id < 2^14. For the first n
  // tables.
  void Buckets(const HyperVector& sketch, int n, uint16_t* ids) const;
  std::span<const uint16_t, kLshBitsPerTable> positions(int table) const {
    return std::span<const uint16_t, kLshBitsPerTable>(plan_.positions + kStride * table,
                                                       kLshBitsPerTable);
  }

 private:
  // Sixteen to a table; the last two repeat the first.
  static constexpr int kStride = PickPlan::kPositions / kLshTables;
  PickPlan plan_;
};

}  // namespace chimera
