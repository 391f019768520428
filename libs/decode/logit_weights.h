// Weights that enter the distribution before the draw (DESIGN D4; math-inference-training B.4): a
// class table gives every token a class, a node a weight to some classes and to single tokens.
// Functions are pure.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "decode/knot.h"

namespace chimera {

// Of one node, in nats. The logit of a token becomes (penalised logit + weight of its class) +
// weights of the token, one addition after the other, so the result has the same bits wherever it
// is computed. With nothing in them nothing is added.
struct LogitWeights {
  const ClassTable* table = nullptr;  // null only without classes
  std::span<const float> classes;
  std::span<const TokenWeight> tokens;
};

// INVALID_ARGUMENT: another size than the vocabulary's, or a class beyond the last.
absl::Status CheckClassTable(const ClassTable& table, int vocab_size);

// INVALID_ARGUMENT: too many weights, one that is not within kWeightMax, class weights without a
// table, a token outside the vocabulary.
absl::Status CheckWeights(const LogitWeights& weights, int vocab_size);

}  // namespace chimera
