// The Titans layer on the tape, between its input projections and SubLN (titans.h; math-backbone
// section 3). Forward equals serving up to the order of float sums: the same rotation, int8 keys
// and values, gates and guard. Gradients pass the rounding straight through, hold the guard
// constant, include second order terms through the write, and stop at the start of the batch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "layers/linear_op.h"
#include "layers/titans.h"
#include "layers/train_batch.h"
#include "tensor/tape.h"

namespace chimera {

struct TitansParams {
  TitansShape shape;
  FloatParam gate_bias;     // [1][3 * n_heads]
  FloatParam w1;            // [n_heads * 64][64]
  FloatParam w2;            // [n_heads * 64][64]
  FloatParam persistent_k;  // [persistent_slots][kv_width]
  FloatParam persistent_v;
  FloatParam head_norm;  // [1][64]
};

// The memory of one application, for later iterations of a loop. Valid until the tape's Reset.
class TitansMemoryPass;

struct TitansOptions {
  TitansUse use = TitansUse::kWrite;
  bool first_order = false;  // of the write, at about half its cost; not the true gradient
  // kReadOnly: what iteration 1 returned, and which of its sequences each sequence of this batch is
  // (null: the same ones, else all have seq_len tokens). Sequences have the same length and resets
  // in both.
  std::shared_ptr<TitansMemoryPass> memory;
  const int32_t* source = nullptr;
};

// Block means [blocks][width] -> [k | v] [blocks][2 * kv_width]: RMSNorm with block_norm, then the
// last rows of the input projection.
using TitansProjectKv = std::function<Var*(Var* means)>;

struct TitansOutput {
  Var* y;                                    // [rows][width]
  std::shared_ptr<TitansMemoryPass> memory;  // of this application, or the one it read
};

// proj [rows][4 * width] = q, km, vm, qm; kv [rows][2 * kv_width]; gates [rows][3 * n_heads] before
// bias. batch.start and end: the ring slabs; memory_start and memory_end: the memory slabs, unused
// with kReadOnly. The position of a sequence is read from its memory slab. project_kv is called at
// most once, during the call, and not at all when no block ends.
TitansOutput TitansMixer(Tape* tape, const TrainBatch& batch, const TitansParams& params,
                         const TitansOptions& options, Var* proj, Var* kv, Var* gates,
                         const TitansProjectKv& project_kv);

}  // namespace chimera
