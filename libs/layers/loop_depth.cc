#include "layers/loop_depth.h"

#include <cmath>

#include "base/check.h"
#include "base/philox.h"

namespace chimera {
namespace {

constexpr int kBlockBits = 20;

double Unit(uint32_t word) { return static_cast<double>(word) / 4294967296.0; }

}  // namespace

LoopDepths::LoopDepths(const LoopDepthOptions& options, uint64_t seed, uint64_t step,
                       uint32_t sequence)
    : options_(options), seed_(seed), first_(step << kBlockBits), sequence_(sequence) {
  CHIMERA_CHECK(options.loops_min >= 1 && options.loops_min <= options.loops_max);
  CHIMERA_CHECK(options.loops_max <= kLoopsMax && options.mean > 0);
  const PhiloxBlock words = PhiloxStream(seed, RngPurpose::kLoopDepth, sequence).Block(first_);
  uniform_ = Unit(words[0]) < options.uniform_share;
  by_block_ = Unit(words[1]) < options.block_share;
  const int depths = options.loops_max - options.loops_min + 1;
  double term = std::exp(-options.mean), poisson = term;  // P(0), P(N <= 0)
  for (int i = 1; i <= kLoopsMax; ++i) {
    term *= options.mean / i;
    poisson += term;
    const double uniform = static_cast<double>(i - options.loops_min + 1) / depths;
    const bool all = i >= options.loops_max, none = i < options.loops_min;
    below_[static_cast<size_t>(i)] = all ? 1.0 : none ? 0.0 : uniform_ ? uniform : poisson;
  }
  below_[0] = 0.0;
  depth_ = FromWord(words[2]);
}

int LoopDepths::FromWord(uint32_t word) const {
  const double u = Unit(word);
  int depth = options_.loops_min;
  while (u >= below_[static_cast<size_t>(depth)]) ++depth;
  return depth;
}

int LoopDepths::Depth(int64_t block) const {
  CHIMERA_DCHECK(block >= 0 && block < (int64_t{1} << kBlockBits) - 1);
  if (!by_block_) return depth_;
  const PhiloxStream stream(seed_, RngPurpose::kLoopDepth, sequence_);
  return FromWord(stream.Block(first_ + 1 + static_cast<uint64_t>(block))[0]);
}

}  // namespace chimera
