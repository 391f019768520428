// The obvious twins of hyper_kernels.h, bit by bit. For tests; never linked into a service.
#pragma once

#include <cstdint>
#include <vector>

namespace chimera {

using NaiveBits = std::vector<uint64_t>;  // 128 words

inline bool NaiveBit(const uint64_t* a, int i) { return a[i / 64] >> (i % 64) & 1; }

inline void NaiveSet(uint64_t* a, int i, bool bit) {
  const uint64_t mask = uint64_t{1} << (i % 64);
  a[i / 64] = bit ? a[i / 64] | mask : a[i / 64] & ~mask;
}

inline NaiveBits NaiveBind(const uint64_t* a, const uint64_t* b) {
  NaiveBits out(128);
  for (int i = 0; i < 8192; ++i) NaiveSet(out.data(), i, NaiveBit(a, i) != NaiveBit(b, i));
  return out;
}

inline NaiveBits NaiveRotate(const uint64_t* a, int left) {
  NaiveBits out(128);
  for (int i = 0; i < 8192; ++i) NaiveSet(out.data(), (i + left) % 8192, NaiveBit(a, i));
  return out;
}

inline void NaiveFullAdd(uint64_t* sum, const uint64_t* b, uint64_t* carry) {
  for (int i = 0; i < 8192; ++i) {
    const int ones = NaiveBit(sum, i) + NaiveBit(b, i) + NaiveBit(carry, i);
    NaiveSet(sum, i, ones % 2 == 1);
    NaiveSet(carry, i, ones >= 2);
  }
}

inline NaiveBits NaiveExceeds(const uint64_t* planes, int n, uint32_t half, const uint64_t* tie) {
  NaiveBits out(128);
  for (int i = 0; i < 8192; ++i) {
    uint32_t count = 0;
    for (int p = 0; p < n; ++p) count += uint32_t{NaiveBit(planes + 128 * p, i)} << p;
    const bool tied = count == half && tie != nullptr && NaiveBit(tie, i);
    NaiveSet(out.data(), i, count > half || tied);
  }
  return out;
}

inline uint32_t NaiveHamming(const uint64_t* a, const uint64_t* b) {
  uint32_t distance = 0;
  for (int i = 0; i < 8192; ++i) distance += NaiveBit(a, i) != NaiveBit(b, i);
  return distance;
}

}  // namespace chimera
