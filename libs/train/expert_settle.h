// The last act on a network with experts: with the weights as they will be exported, text from all
// over the data runs through it and only the biases of the experts move (MoeSettler), by ever
// smaller steps. In training they follow the few places the batches read at the time
// (docs/experiments.md, 2026-11-26).
#pragma once

#include <cstdint>
#include <span>

#include "model/network.h"
#include "tensor/tape.h"
#include "train/expert_balance.h"

namespace chimera {

// Moves the biases `passes` times. A pass reads one sequence of at most 512 tokens with the default
// loops, on from the states the last one left: a few hundred tokens from zero states are loaded
// otherwise than the depth of a book. The sequences begin at places spread evenly over the stream;
// one of less than two tokens leaves the biases alone. The network must be prepared; the tape is
// reset. A function of its arguments: every thread count moves them to the same bits.
void SettleExperts(std::span<const int32_t> stream, int32_t eot, int64_t passes, Network* network,
                   Tape* tape, ExpertBalance* balance);

}  // namespace chimera
