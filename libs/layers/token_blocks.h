// Cutting a batch over threads: fixed blocks of tokens, and sums over tokens that do not depend on
// how many threads there are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/exec_context.h"
#include "tensor/tape.h"

namespace chimera {

inline constexpr int64_t kTokenBlock = 256;

// Runs body(first_token, n_tokens) over fixed blocks.
template <typename Body>
void ForTokens(ExecContext* exec, int64_t n_tokens, const Body& body) {
  exec->ParallelFor((n_tokens + kTokenBlock - 1) / kTokenBlock, [&](int64_t block) {
    const int64_t begin = block * kTokenBlock;
    body(begin, std::min(kTokenBlock, n_tokens - begin));
  });
}

// One zeroed partial sum of n floats for each block of tokens, added up in block order.
class PartialSums {
 public:
  PartialSums(Tape* tape, int64_t n_tokens, int64_t n)
      : n_(n), blocks_((n_tokens + kTokenBlock - 1) / kTokenBlock) {
    sums_ = tape->arena().New<float>(n_ * blocks_);
    std::memset(sums_, 0, static_cast<size_t>(n_ * blocks_) * sizeof(float));
  }
  // The partial sum of the block that starts at this token.
  float* Block(int64_t first_token) { return sums_ + first_token / kTokenBlock * n_; }
  // into[i] += sum over blocks, ascending.
  void AddTo(float* into) const {
    for (int64_t b = 0; b < blocks_; ++b) {
      for (int64_t i = 0; i < n_; ++i) into[i] += sums_[b * n_ + i];
    }
  }

 private:
  int64_t n_;
  int64_t blocks_;
  float* sums_;
};

}  // namespace chimera
