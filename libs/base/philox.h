// Philox4x32-10, the only source of randomness (Salmon et al. 2011; DESIGN D2).
// A value is named by (seed, purpose, stream, index), so it never depends on who asked before.
// Free of Abseil; everything here is pure.
#pragma once

#include <array>
#include <cstdint>

namespace chimera {

// What a random value is for. No (purpose, stream, index) triple is ever shared.
enum class RngPurpose : uint32_t {
  kTokenSampling = 1,
  kZerothOrderNoise = 2,
  kLshBits = 3,
  kFeatureCode = 4,
  kMemoryDrop = 5,
  kDataShuffle = 6,
  kStochasticRounding = 7,
  kLoopDepth = 8,
  kWeightInit = 9,
  kCaseDraw = 10,
};

using PhiloxBlock = std::array<uint32_t, 4>;

// One block of four words. counter = (index_lo, index_hi, stream, purpose), key = (seed_lo,
// seed_hi).
constexpr PhiloxBlock Philox4x32(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(p0)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// Uniform in [0, 1) with 24 bits, exact in float.
constexpr float UniformFromBits(uint32_t bits) {
  return static_cast<float>(bits >> 8) * (1.0f / 16777216.0f);
}

// The values of one (seed, purpose, stream), addressable in O(1). Immutable.
class PhiloxStream {
 public:
  constexpr PhiloxStream(uint64_t seed, RngPurpose purpose, uint32_t stream)
      : seed_(seed), purpose_(purpose), stream_(stream) {}

  constexpr PhiloxBlock Block(uint64_t index) const {
    return Philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), stream_,
                       static_cast<uint32_t>(purpose_)},
                      static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32));
  }
  // Word n is word n % 4 of block n / 4.
  constexpr uint32_t Word(uint64_t n) const { return Block(n / 4)[n % 4]; }
  constexpr float Uniform(uint64_t n) const { return UniformFromBits(Word(n)); }
  // Sign n is bit n % 32 of word n / 32; a set bit means +1.
  constexpr int Sign(uint64_t n) const { return (Word(n / 32) >> (n % 32)) & 1 ? 1 : -1; }

 private:
  uint64_t seed_;
  RngPurpose purpose_;
  uint32_t stream_;
};

}  // namespace chimera
