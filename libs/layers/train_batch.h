// What every training op needs to know about a batch: n_seqs sequences of seq_len tokens each, laid
// out as rows n_seqs * seq_len of every activation, with flags where documents start.
#pragma once

#include <cstdint>

namespace chimera {

struct TrainBatch {
  int n_seqs = 0;
  int seq_len = 0;
  const int32_t* tokens = nullptr;   // [rows] inputs
  const int32_t* targets = nullptr;  // [rows] the token after each input
  const uint8_t* reset = nullptr;    // [rows] 1: every state is dropped before this token
  // Recurrent state of one layer in the layout of BraidState, one block a sequence, state_stride
  // floats apart; start is only read, end only written. Set per layer by the network.
  const float* start = nullptr;
  float* end = nullptr;
  int64_t state_stride = 0;

  int64_t rows() const { return int64_t{n_seqs} * seq_len; }
};

}  // namespace chimera
