#include "hdc/lsh.h"

#include <algorithm>

#include "base/philox.h"

namespace chimera {

LshTables::LshTables(uint64_t seed) {
  for (uint32_t t = 0; t < kLshTables; ++t) {
    const PhiloxStream stream(seed, RngPurpose::kLshBits, t);
    auto* const begin = positions_[t].data();
    auto* end = begin;
    for (uint64_t n = 0; end != begin + kLshBitsPerTable; ++n) {
      const auto position = static_cast<uint16_t>(stream.Word(n) >> 19);
      if (std::find(begin, end, position) == end) *end++ = position;
    }
  }
}

uint32_t LshTables::Bucket(int table, const HyperVector& sketch) const {
  uint32_t id = 0;
  for (int j = 0; j < kLshBitsPerTable; ++j) {
    id |= static_cast<uint32_t>(sketch.Bit(positions_[table][j])) << j;
  }
  return id;
}

}  // namespace chimera
