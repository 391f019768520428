// Walking a batch by (sequence, head), as the recurrences do.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "base/exec_context.h"
#include "layers/head.h"
#include "layers/token_blocks.h"
#include "layers/train_batch.h"

namespace chimera {

// Where rows and saved chunk states of each head begin. Immutable; the batch's pointers are
// borrowed.
class HeadGrid {
 public:
  HeadGrid(const TrainBatch& batch, int n_heads) : batch_(batch), n_heads_(n_heads) {
    chunk_begin_.push_back(0);
    for (int s = 0; s < batch.n_seqs; ++s) {
      chunk_begin_.push_back(chunk_begin_.back() + CountChunks(Reset(s), batch.Length(s)));
    }
  }

  const TrainBatch& batch() const { return batch_; }
  int n_heads() const { return n_heads_; }
  int64_t width() const { return int64_t{n_heads_} * kHeadDim; }
  int64_t rows() const { return batch_.rows(); }
  const uint8_t* Reset(int seq) const { return batch_.Reset(seq); }
  int64_t Row(int seq) const { return batch_.Row(seq); }

  // First float of a head in activations of 3 * width columns (q, k, v), and in [rows][n_heads].
  int64_t QkvAt(int seq, int head) const { return Row(seq) * 3 * width() + head * kHeadDim; }
  int64_t GateAt(int seq, int head) const { return Row(seq) * n_heads_ + head; }

  // Saved states, all heads together, and the first of one head: its chunks stand side by side.
  int64_t Chunks() const { return chunk_begin_.back() * n_heads_; }
  int64_t FirstChunk(int seq, int head) const {
    const auto s = static_cast<size_t>(seq);
    return chunk_begin_[s] * n_heads_ + (chunk_begin_[s + 1] - chunk_begin_[s]) * head;
  }

  // A Sequence (gated_delta.h, mlstm.h) with the fields both share.
  template <typename Sequence>
  Sequence HeadOf(const float* qkv, int seq, int head) const {
    Sequence sequence{};
    sequence.q = qkv + QkvAt(seq, head);
    sequence.k = sequence.q + width();
    sequence.v = sequence.k + width();
    sequence.stride = 3 * width();
    sequence.gate_stride = n_heads_;
    sequence.reset = Reset(seq);
    sequence.n_tokens = batch_.Length(seq);
    return sequence;
  }

  // Runs body(sequence, head) for all pairs.
  template <typename Body>
  void ForEach(ExecContext* exec, const Body& body) const {
    exec->ParallelFor(int64_t{batch_.n_seqs} * n_heads_, [&](int64_t i) {
      body(static_cast<int>(i / n_heads_), static_cast<int>(i % n_heads_));
    });
  }

 private:
  TrainBatch batch_;
  int n_heads_;
  std::vector<int64_t> chunk_begin_;
};

// Copies the first `width` columns of every row; the recurrences write rows of 3 * width.
inline void CopyColumns(ExecContext* exec, int64_t rows, int64_t width, const float* from,
                        int64_t from_stride, float* to, int64_t to_stride) {
  ForTokens(exec, rows, [&](int64_t t, int64_t n) {
    for (int64_t r = t; r < t + n; ++r) {
      std::memcpy(to + r * to_stride, from + r * from_stride,
                  static_cast<size_t>(width) * sizeof(float));
    }
  });
}

}  // namespace chimera
