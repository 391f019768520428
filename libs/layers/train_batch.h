// What every training op needs to know about a batch: sequences of tokens laid end to end as the
// rows of every activation, with flags where documents start, and where each sequence keeps its
// recurrent state.
#pragma once

#include <cstdint>

namespace chimera {

struct SketchFields;

struct TrainBatch {
  int n_seqs = 0;
  int seq_len = 0;  // tokens of every sequence, unless row_begin says otherwise
  // Sequences of different lengths: sequence s holds rows [row_begin[s], row_begin[s + 1]), n_seqs
  // + 1 entries, every sequence at least one row. Null: seq_len rows each.
  const int64_t* row_begin = nullptr;
  // Which block of the states a sequence owns; null: block s.
  const int32_t* lane = nullptr;
  const int32_t* tokens = nullptr;       // [rows] inputs
  const int32_t* targets = nullptr;      // [rows] the token after each input
  const uint8_t* reset = nullptr;        // [rows] 1: every state is dropped before this token
  const uint8_t* loops = nullptr;        // [rows] iterations of the looped block; null: the default
  const SketchFields* fields = nullptr;  // of SK layers (span_knot_op.h); null: all absent
  // Recurrent state of one layer in the layout of BraidState, one block a lane, state_stride
  // floats apart; start is only read, end only written. Set per layer by the network.
  const float* start = nullptr;
  float* end = nullptr;
  int64_t state_stride = 0;
  // The same for the memory of a TM layer, which all iterations of a loop share.
  const float* memory_start = nullptr;
  float* memory_end = nullptr;

  int64_t Row(int64_t seq) const { return row_begin != nullptr ? row_begin[seq] : seq * seq_len; }
  int64_t rows() const { return Row(n_seqs); }
  int Length(int64_t seq) const { return static_cast<int>(Row(seq + 1) - Row(seq)); }
  const uint8_t* Reset(int64_t seq) const { return reset + Row(seq); }
  const float* Start(int64_t seq) const { return start + StateAt(seq); }
  float* End(int64_t seq) const { return end + StateAt(seq); }
  const float* MemoryStart(int64_t seq) const { return memory_start + StateAt(seq); }
  float* MemoryEnd(int64_t seq) const { return memory_end + StateAt(seq); }

 private:
  int64_t StateAt(int64_t seq) const { return (lane != nullptr ? lane[seq] : seq) * state_stride; }
};

}  // namespace chimera
