// Feature codes (math-inference-training C.2): the fixed pseudo-random vector of a 64-bit feature
// hash.
#pragma once

#include <cstdint>
#include <string_view>

#include "hdc/hypervector.h"

namespace chimera {

// The seed every store and model uses unless told otherwise; sketches of two seeds do not compare.
inline constexpr uint64_t kDefaultCodebookSeed = 0x5EED;

// XXH3-64 of byte 01 and the id as u32, little endian.
uint64_t TokenFeature(int32_t token);
// XXH3-64 of byte 02 and the word's UTF-8.
uint64_t WordFeature(std::string_view word);

// The codes of one seed. Block b = 0..63 of a code is the Philox block (purpose 4, stream b,
// index = hash) and fills bits 128 b .. 128 b + 127. Immutable.
class FeatureCodebook {
 public:
  explicit FeatureCodebook(uint64_t seed = kDefaultCodebookSeed);

  HyperVector Code(uint64_t feature) const;
  // Rotate(Code(first), 1) XOR Code(second), from the two codes: order matters.
  static HyperVector Bigram(const HyperVector& first, const HyperVector& second);
  // Decides tied bits everywhere: hash 0, streams 64..127, which no feature uses.
  const HyperVector& tie() const { return tie_; }
  uint64_t seed() const { return seed_; }

 private:
  uint64_t seed_;
  HyperVector tie_;
};

}  // namespace chimera
