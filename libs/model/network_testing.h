// What the tests of the training network share: texts, passes, and the checks that every shape of
// model has to stand.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/exec_context.h"
#include "model/network.h"
#include "model/network_naive.h"
#include "tensor/tape.h"

namespace chimera {

// Random tokens and targets; documents start at 0 and at n / 3. No loops, no fields.
NaiveText RandomText(int n, int vocab, uint32_t stream);

// One forward pass over sequences of equal length laid end to end, ready for Backward.
struct NetworkPass {
  NetworkPass(const ModelConfig& config, Parameters* parameters, int threads);

  // From fresh states.
  double Run(const NaiveText& text, int n_seqs);
  // Rows [begin, begin + n) of one sequence, from start; end becomes start.
  double Continue(const NaiveText& text, int begin, int n);

  ExecContext exec;
  Tape tape;
  Network network;
  std::vector<float> start, end, nll;  // nll of the last run
};

using TensorPredicate = std::function<bool(const std::string&)>;
inline bool NoTensor(const std::string&) { return false; }

// The loss minus the double twin's, with the parameters CheckGradients takes.
double LossGap(const ModelConfig& config, const NaiveText& text);

// The loss, and elements of every trainable tensor's gradient, against central differences of the
// double twin. still: tensors without a gradient, which the twin must not have either.
void CheckGradients(const ModelConfig& config, const NaiveText& text, double loss_bound,
                    const TensorPredicate& still);

// Iterations of token t, of `length` to a sequence.
using DepthOf = uint8_t (*)(size_t t, size_t length);
inline uint8_t RaggedDepth(size_t t, size_t) { return static_cast<uint8_t>(1 + t / 64 % 4); }
// What TM layers in a loop ask for.
inline uint8_t SequenceDepth(size_t t, size_t length) {
  return static_cast<uint8_t>(1 + t / length % 4);
}

// Same bits with one thread and two, loss and gradients.
void CheckThreads(const ModelConfig& config, DepthOf depth);

// Changing a token changes nothing before it, in its own sequence or in the others.
void CheckCausality(const ModelConfig& config, DepthOf depth);

// Every tensor acts: moved, the loss changes. idle: those that must not.
void CheckAblations(const ModelConfig& config, const TensorPredicate& idle);

// Loss, token losses, end states and every gradient to the bit with gradient checkpointing, over
// steps that reuse the arena; with less than `share` of the memory.
void CheckCheckpointing(const ModelConfig& config, DepthOf depth, double share);

}  // namespace chimera
