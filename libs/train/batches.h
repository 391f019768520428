// Cuts a token stream into training batches: n_seqs lanes walk through it side by side, each lane
// seq_len tokens a step, so a lane's state carries over from step to step. A function of the step
// number alone: resuming needs no position of its own.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace chimera {

struct Batch {
  std::vector<int32_t> tokens;   // [n_seqs][seq_len]
  std::vector<int32_t> targets;  // the token after each
  std::vector<uint8_t> reset;    // 1 where the token is end-of-text
};

// Immutable; the stream must outlive it.
class Batches {
 public:
  // stream.size() >= 2.
  Batches(std::span<const int32_t> stream, int32_t eot, int n_seqs, int seq_len)
      : stream_(stream), eot_(eot), n_seqs_(n_seqs), seq_len_(seq_len) {}

  // The batch of a step (0, 1, ...); lanes wrap around at the end of the stream.
  Batch At(int64_t step) const {
    Batch batch;
    const auto size = static_cast<int64_t>(stream_.size());
    for (int lane = 0; lane < n_seqs_; ++lane) {
      int64_t at = (size * lane / n_seqs_ + step % size * seq_len_) % size;
      for (int i = 0; i < seq_len_; ++i) {
        const int64_t next = at + 1 == size ? 0 : at + 1;
        batch.tokens.push_back(stream_[static_cast<size_t>(at)]);
        batch.targets.push_back(stream_[static_cast<size_t>(next)]);
        batch.reset.push_back(stream_[static_cast<size_t>(at)] == eot_ ? 1 : 0);
        at = next;
      }
    }
    return batch;
  }

 private:
  std::span<const int32_t> stream_;
  int32_t eot_;
  int n_seqs_;
  int seq_len_;
};

}  // namespace chimera
