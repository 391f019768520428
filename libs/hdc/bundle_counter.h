// Weighted majority of many hypervectors with bit-sliced carry-save counters
// (math-inference-training C.2): 8,192 counters as planes of 8,192 bits. Adding costs two plane
// operations on average.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "hdc/hyper_kernels.h"
#include "hdc/hypervector.h"

namespace chimera {

// Counts, for every bit, the total weight of the added vectors that have it set. Twenty planes, so
// totals stay exact up to kMaxWeight (C.2's six planes stop at 63; see ERRATA). About 40 KB;
// nothing is allocated after construction. Thread-compatible.
class BundleCounter {
 public:
  static constexpr int kPlanes = 20;
  static constexpr uint32_t kMaxWeight = (1u << kPlanes) - 1;

  // The kernels are those of this machine unless a test wants others.
  explicit BundleCounter(const HyperKernels& kernels = BestHyper());

  // weight is 1 or 2. The sum of all weights may not pass kMaxWeight (checked).
  void Add(const HyperVector& vector, int weight);
  void Reset();

  uint32_t total_weight() const { return total_weight_; }

  // Bit set where the signed sum is positive, clear where negative, tie's where it is zero.
  HyperVector Majority(const HyperVector& tie) const;

  // acc[i] = sum of weight * (+1 for a set bit, -1 for a clear one); acc holds kHyperBits values.
  void SignedSums(std::span<int32_t, kHyperBits> acc) const;

 private:
  // The counter of bit i is the sum over p of 2^p * (sums_[p] bit i + waiting_[p] bit i). Letting
  // every second carry wait is what makes the average cost of Add constant.
  // Adds 2^p * carry; carry is destroyed.
  void Carry(int p, HyperVector* carry);
  // The planes with nothing waiting; returns how many can hold a bit.
  int Settle(std::array<HyperVector, kPlanes>* planes) const;

  const HyperKernels* kernels_;
  std::vector<HyperVector> sums_, waiting_;
  std::array<bool, kPlanes> has_waiting_;
  uint32_t total_weight_ = 0;
};

}  // namespace chimera
