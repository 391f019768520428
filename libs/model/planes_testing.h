// One text through the plane that trains and the plane that serves, for tests that compare them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model.h"
#include "model/network.h"

namespace chimera {

std::vector<int32_t> RandomTokens(int n, int vocab, uint64_t seed);

// n_seqs sequences of equal length cut from one text, each token's target the next; no document
// starts inside. Borrows the tokens, n_seqs * length + 1 of them; must outlive the backward pass.
class TextBatch {
 public:
  explicit TextBatch(std::span<const int32_t> tokens, int n_seqs = 1);
  const TrainBatch& view() const { return view_; }

 private:
  std::vector<uint8_t> reset_;
  TrainBatch view_;
};

struct PlaneRun {
  int threads = 1;
  std::span<const uint8_t> loops;  // iterations of each token; empty: the default
  SpanFields fields;               // of every token
};
// Negative log-likelihood of each next token. With backward the gradients land in the parameters.
std::vector<float> TrainNll(const ModelConfig& config, Parameters* parameters,
                            std::span<const int32_t> tokens, const PlaneRun& run, bool backward);
// The same, `block` tokens a pass.
std::vector<float> ServeNll(const Model& model, std::span<const int32_t> tokens, size_t block,
                            const PlaneRun& run);

}  // namespace chimera
