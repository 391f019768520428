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
  int n_facts = 4;
  float lr = 3e-3f;
  TitansUse use = TitansUse::kWrite;  // or kFrozen
  uint32_t seed = 1;
};

// One document: the facts within the first 32 tokens a fact, the queries in the last 16 a fact;
// everything else is filler.
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
  NeedleText Text(int64_t index, int distance) const;

  // One AdamW step on `batch` new documents. Returns the mean loss of their queries, in nats.
  double Train(int batch, int distance);
  // Part of the queries answered right on documents never trained on.
  double Recall(int documents, int distance, TitansUse use);

 private:
  struct Net;
  std::unique_ptr<Net> net_;
};

}  // namespace chimera
