#include "hdc/lsh.h"

#include <algorithm>

#include "base/philox.h"
#include "hdc/hyper_kernels.h"

namespace chimera {

LshTables::LshTables(uint64_t seed) {
  uint16_t positions[PickPlan::kPositions];
  for (uint32_t t = 0; t < kLshTables; ++t) {
    const PhiloxStream stream(seed, RngPurpose::kLshBits, t);
    uint16_t* const begin = &positions[kStride * t];
    uint16_t* end = begin;
    for (uint64_t n = 0; end != begin + kLshBitsPerTable; ++n) {
      const auto position = static_cast<uint16_t>(stream.Word(n) >> 19);
      if (std::find(begin, end, position) == end) *end++ = position;
    }
    std::fill(end, begin + kStride, *begin);
  }
  plan_ = MakePickPlan(positions);
}

void LshTables::Buckets(const HyperVector& sketch, int n, uint16_t* ids) const {
  BestHyper().pick(sketch.words.data(), plan_, n, ids);
  for (int t = 0; t < n; ++t) ids[t] %= kLshBuckets;
}

}  // namespace chimera
