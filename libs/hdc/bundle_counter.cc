#include "hdc/bundle_counter.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace chimera {

BundleCounter::BundleCounter(const HyperKernels& kernels)
    : kernels_(&kernels), sums_(kPlanes), waiting_(kPlanes) {
  Reset();
}

void BundleCounter::Reset() {
  for (HyperVector& sum : sums_) sum.words.fill(0);
  has_waiting_.fill(false);
  total_weight_ = 0;
}

void BundleCounter::Add(const HyperVector& vector, int weight) {
  CHIMERA_CHECK(weight == 1 || weight == 2);
  CHIMERA_CHECK(total_weight_ + static_cast<uint32_t>(weight) <= kMaxWeight);
  total_weight_ += static_cast<uint32_t>(weight);
  HyperVector carry = vector;
  Carry(weight - 1, &carry);
}

void BundleCounter::Carry(int p, HyperVector* carry) {
  for (; p < kPlanes; ++p) {
    if (!has_waiting_[p]) {
      waiting_[p] = *carry;
      has_waiting_[p] = true;
      return;
    }
    kernels_->full_add(sums_[p].words.data(), waiting_[p].words.data(), carry->words.data());
    has_waiting_[p] = false;
  }
}

int BundleCounter::Settle(std::array<HyperVector, kPlanes>* planes) const {
  const HyperVector none{};
  HyperVector carry{};
  const int n = std::bit_width(total_weight_);  // no counter reaches a higher plane
  for (int p = 0; p < n; ++p) {
    (*planes)[p] = sums_[p];
    const HyperVector& waiting = has_waiting_[p] ? waiting_[p] : none;
    kernels_->full_add((*planes)[p].words.data(), waiting.words.data(), carry.words.data());
  }
  return n;
}

HyperVector BundleCounter::Majority(const HyperVector& tie) const {
  std::array<HyperVector, kPlanes> planes;
  const int n = Settle(&planes);
  // 2 * count > total is count > floor(total / 2); only an even total can tie.
  HyperVector out;
  kernels_->exceeds(planes[0].words.data(), n, total_weight_ / 2,
                    total_weight_ % 2 == 0 ? tie.words.data() : nullptr, out.words.data());
  return out;
}

void BundleCounter::SignedSums(std::span<int32_t, kHyperBits> acc) const {
  std::array<HyperVector, kPlanes> planes;
  const int n = Settle(&planes);
  std::fill(acc.begin(), acc.end(), -static_cast<int32_t>(total_weight_));
  for (int p = 0; p < n; ++p) {
    for (int i = 0; i < kHyperBits; ++i) {
      acc[i] += static_cast<int32_t>(planes[p].Bit(i)) << (p + 1);
    }
  }
}

}  // namespace chimera
