// Which rows of a training batch run which iteration of the looped block (math-backbone 4.3, 4.4):
// sequences of equal depth go together, an iteration holds only the tokens that run it, and the
// state of a token that stopped is held.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/train_batch.h"
#include "tensor/tape.h"

namespace chimera {

// One iteration of one group. Pointers live in the arena of the tape it was made for.
struct LoopRows {
  TrainBatch batch;                    // the rows of this iteration, sequence by sequence
  const int32_t* rows = nullptr;       // their rows in the whole batch
  const int32_t* previous = nullptr;   // their rows in the previous iteration; null in the first
  const uint8_t* keep_grad = nullptr;  // 1: the gradient goes on into the previous iteration
  std::vector<int32_t> last;           // rows of this iteration that stop here ...
  std::vector<int32_t> last_to;        // ... and their rows in the whole batch
  bool taped = false;                  // some row's gradient reaches this iteration
};

// The groups of a batch, each a list of iterations. loops of a row: batch.loops, or the default.
// Backward truncation "half": a row that runs r iterations sends gradients through the last
// ceil(r / 2) of them.
std::vector<std::vector<LoopRows>> PlanLoops(Tape* tape, const TrainBatch& batch,
                                             int loops_default);

// What becomes of the states that iteration (0, 1, ...) of a sequence leaves untouched: kept, or
// dropped when a document starts after the last token that runs it.
struct HeldState {
  int32_t lane = 0;
  int iteration = 0;
  bool executed = false;  // the end state has been written by the iteration
  bool dropped = false;   // and must be zero
};
std::vector<HeldState> PlanHeldStates(const TrainBatch& batch, int loops_default, int loops_max);

}  // namespace chimera
