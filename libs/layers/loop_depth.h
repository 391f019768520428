// How many passes through the loop each part of a training batch takes (math-backbone 4.3, 4.4).
// The law of a draw: clamp(Poisson(mean), loops_min, loops_max); for a share of the sequences
// uniform over loops_min..loops_max instead. Most sequences keep one depth; a share draws a new one
// every 64 tokens, so that held states are met in training.
#pragma once

#include <array>
#include <cstdint>

namespace chimera {

inline constexpr int kLoopBlockTokens = 64;
inline constexpr int kLoopsMax = 16;

struct LoopDepthOptions {
  double mean = 2.0;  // loop_default
  int loops_min = 1;
  int loops_max = 6;  // at most kLoopsMax
  double uniform_share = 0.10;
  double block_share = 0.25;
};

// Pure in (options, seed, step, sequence, block): replaying a step draws the same depths.
// Randomness: purpose 8 (loop depth), stream = sequence, Philox block step * 2^20 + k. k = 0 holds
// the sequence's own words (0: uniform law?, 1: by block?, 2: its depth), k = 1 + block word 0 that
// block's depth. *Immutable*.
class LoopDepths {
 public:
  // step < 2^44; sequence = its index in the step's batch, over all machines.
  LoopDepths(const LoopDepthOptions& options, uint64_t seed, uint64_t step, uint32_t sequence);

  // Whether every block of 64 tokens has a depth of its own.
  bool by_block() const { return by_block_; }
  bool uniform() const { return uniform_; }
  // Passes of tokens 64 * block .. 64 * block + 63 of the sequence; block < 2^20 - 1.
  int Depth(int64_t block) const;

 private:
  int FromWord(uint32_t word) const;

  LoopDepthOptions options_;
  std::array<double, kLoopsMax + 1> below_;  // P(depth <= i), of the law of this sequence
  uint64_t seed_;
  uint64_t first_;
  uint32_t sequence_;
  bool uniform_;
  bool by_block_;
  int depth_;
};

// Passes that carry a gradient: the last ceil(depth / 2) (`backward_truncation half`).
constexpr int TapedLoops(int depth) { return (depth + 1) / 2; }

}  // namespace chimera
