// Choosing and joining rows on the tape: what looped layers need to run an iteration for some of
// the tokens only (math-backbone 4.3).
#pragma once

#include <cstdint>
#include <vector>

#include "tensor/tape.h"

namespace chimera {

// y[i] = x[index[i]], indices distinct. Rows with keep_grad[i] == 0 pass no gradient back; null:
// all of them do. index and keep_grad must live until the tape's next Reset.
Var* GatherRows(Tape* tape, Var* x, const int32_t* index, int64_t n, const uint8_t* keep_grad);

// Some rows of x that go to rows of the result.
struct RowPiece {
  Var* x = nullptr;
  std::vector<int32_t> from;  // rows of x
  std::vector<int32_t> to;    // rows of the result, as many
};

// The result has n rows, each of which exactly one piece fills.
Var* AssembleRows(Tape* tape, const std::vector<RowPiece>& pieces, int64_t n);

}  // namespace chimera
