// Which bits of a hypervector make up 64 words of 16 bits: as positions, and prepared for two
// permutations of words, of which the first takes the bits in the order they have in the vector
// and the second puts them in the order of the result. Read by code compiled for one instruction
// set: plain arrays and no functions. Free of Abseil.
#pragma once

#include <cstdint>

namespace chimera {

// Immutable once made.
struct alignas(64) PickPlan {
  static constexpr int kPositions = 1024;

  // Bit j of word i of the result is bit positions[16 i + j] of the vector.
  uint16_t positions[kPositions];

  // The different positions in their order are cut into windows of up to 32, each of which lies in
  // the 32 words of 16 bits from word first[w] on. 0 windows when 32 are not enough; then there
  // are positions only. A lane says where a bit is: the word in its low six bits, 15 - the bit in
  // its high four. Lane 32 w + i is bit i of window w, of words of that window.
  int32_t windows;
  uint16_t first[32];
  alignas(64) uint16_t window_lanes[kPositions];
  // Lane 16 i + j is bit j of word i of the result, of words of the windows' bits.
  uint16_t result_lanes[kPositions];
};

// The positions are below 8,192.
PickPlan MakePickPlan(const uint16_t* positions);

}  // namespace chimera
