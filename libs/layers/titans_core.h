// The attention of the Titans op over a batch, in its two forms (titans.h): ring attention, and the
// decayed linear core.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "layers/linear_op.h"
#include "layers/titans.h"
#include "layers/titans_plan.h"
#include "layers/train_batch.h"
#include "tensor/tape.h"

namespace chimera {

// A block of 16 positions that ended before its document did, within this batch.
struct TitansBlock {
  int piece;
  int32_t number;  // position / 16
  int64_t row;     // its rows in the batch, possibly none
  int n;
  float carried;  // tokens whose sum of r the start state holds
};

// Borrowed, but for the plan. ring_start and ring_end: the ring slab of a sequence is
// state_stride floats after that of the one before.
struct TitansCoreInput {
  Tape* tape;
  TrainBatch batch;
  TitansShape shape;
  std::shared_ptr<const TitansPlan> plan;
  const float* ring_start;
  float* ring_end;
  FloatParam slot_k, slot_v;
  Var* proj;              // [rows][4 * width]: q first
  Var* kv;                // [rows][2 * kv_width]
  const float* log_keep;  // [rows][n_heads], with decay_linear
  const float* r;         // [rows][width]

  // The piece's start state, null when it has none.
  const float* RingStart(int seq, const TitansPiece& piece) const {
    return piece.carried ? ring_start + seq * batch.state_stride : nullptr;
  }
  float* RingEnd(int seq) const { return ring_end + seq * batch.state_stride; }
  const TitansPiece& piece(int i) const { return plan->pieces()[static_cast<size_t>(i)]; }
};

// Gradients. q goes to the first columns of d_proj [rows][4 * width], which are written.
struct TitansCoreGrads {
  float* d_proj;
  float* d_kv;        // [rows][2 * kv_width]
  float* d_block_kv;  // [blocks][2 * kv_width]
  float* d_log_keep;  // [rows][n_heads]
};

// Thread-compatible; buffers are in the tape's arena.
class TitansCore {
 public:
  virtual ~TitansCore() = default;
  // o [rows][width], and the ring slabs at the end of the batch. block_kv [blocks][2 * kv_width].
  virtual void Forward(const std::vector<TitansBlock>& blocks, const float* block_kv, float* o) = 0;
  // Adds to the learned slots.
  virtual void Backward(const float* o, const float* d_o, const TitansCoreGrads& grads) = 0;
};

std::unique_ptr<TitansCore> NewTitansAttention(const TitansCoreInput& input);
std::unique_ptr<TitansCore> NewTitansDecay(const TitansCoreInput& input);

}  // namespace chimera
