// A toy task for the Titans layer: facts (key, value) early in a document, then filler, then the
// keys again, thousands of tokens later; the network is one Titans layer between an embedding and
// an output map, without a residual path, so that values can only come from attention or memory.
// Used by a test and by the command titans_needle.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/exec_context.h"
#include "layers/titans.h"

namespace chimera {

struct NeedleOptions {
  int n_heads = 2;
  int window_len = 16;
  int n_keys = 16;
  int n_values = 8;
  int n_fillers = 8;
  int n_facts = 2;
  TitansUse use = TitansUse::kWrite;  // or kFrozen
  // Off: block tokens are zeros, so that beyond the window there is the memory and nothing else.
  // With them the layer learns to look into the last 64 blocks and never needs the memory for more.
  bool block_tokens = false;
  uint32_t seed = 3;
};

// One document: the facts within the first 16 tokens a fact, then filler, then three queries a
// fact, eight tokens each.
struct NeedleText {
  std::vector<int32_t> tokens;
  std::vector<int32_t> answers;  // [tokens], -1 where nothing is asked
};

// Thread-compatible.
class NeedleModel {
 public:
  NeedleModel(const NeedleOptions& options, int threads);
  ~NeedleModel();

  // The document number `index`, with `distance` tokens from the end of the facts to the queries.
  NeedleText Text(uint32_t index, int distance) const;

  // Step `step` of 1 .. steps: AdamW on new documents, about 2,048 tokens. The first half of a run
  // puts the queries at most 128 tokens away, the second half at `distance`, where the learning
  // rate falls. Returns the mean loss of the queries, in nats.
  double Train(int step, int steps, int distance);
  // Part of the queries answered right on documents never trained on.
  double Recall(int documents, int distance, TitansUse use);

 private:
  struct Net;
  std::unique_ptr<Net> net_;
};

}  // namespace chimera
