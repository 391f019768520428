#include "hdc/bundle_counter.h"

#include <algorithm>

#include "base/check.h"

namespace chimera {

BundleCounter::BundleCounter() : planes_(kPlanes) { Reset(); }

void BundleCounter::Reset() {
  for (Plane& plane : planes_) {
    plane.sum.words.fill(0);
    plane.has_waiting = false;
  }
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
    Plane& plane = planes_[p];
    if (!plane.has_waiting) {
      plane.waiting = *carry;
      plane.has_waiting = true;
      return;
    }
    for (int w = 0; w < kHyperWords; ++w) {  // full adder
      const uint64_t a = plane.sum.words[w];
      const uint64_t b = plane.waiting.words[w];
      const uint64_t c = carry->words[w];
      plane.sum.words[w] = a ^ b ^ c;
      carry->words[w] = (a & b) | (c & (a ^ b));
    }
    plane.has_waiting = false;
  }
}

std::vector<HyperVector> BundleCounter::Settled() const {
  std::vector<HyperVector> planes(kPlanes);
  HyperVector carry{};
  for (int p = 0; p < kPlanes; ++p) {
    for (int w = 0; w < kHyperWords; ++w) {
      const uint64_t a = planes_[p].sum.words[w];
      const uint64_t b = planes_[p].has_waiting ? planes_[p].waiting.words[w] : 0;
      const uint64_t c = carry.words[w];
      planes[p].words[w] = a ^ b ^ c;
      carry.words[w] = (a & b) | (c & (a ^ b));
    }
  }
  return planes;
}

HyperVector BundleCounter::Majority(const HyperVector& tie) const {
  const std::vector<HyperVector> planes = Settled();
  // 2 * count > total is count > floor(total / 2), compared from the highest plane down.
  const uint32_t half = total_weight_ / 2;
  const uint64_t tied = total_weight_ % 2 == 0 ? ~uint64_t{0} : 0;
  HyperVector out;
  for (int w = 0; w < kHyperWords; ++w) {
    uint64_t more = 0;
    uint64_t same = ~uint64_t{0};
    for (int p = kPlanes - 1; p >= 0; --p) {
      const uint64_t plane = planes[p].words[w];
      if (half >> p & 1) {
        same &= plane;
      } else {
        more |= same & plane;
        same &= ~plane;
      }
    }
    out.words[w] = more | (same & tied & tie.words[w]);
  }
  return out;
}

void BundleCounter::SignedSums(std::span<int32_t, kHyperBits> acc) const {
  const std::vector<HyperVector> planes = Settled();
  std::fill(acc.begin(), acc.end(), -static_cast<int32_t>(total_weight_));
  for (int p = 0; p < kPlanes; ++p) {
    if (total_weight_ >> p == 0) break;  // no counter can reach this plane
    for (int i = 0; i < kHyperBits; ++i) {
      acc[i] += static_cast<int32_t>(planes[p].Bit(i)) << (p + 1);
    }
  }
}

}  // namespace chimera
