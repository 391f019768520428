// What the tests of the Titans layer share: random layers, a stream that steps through them, and
// the same numbers for the naive twin.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/exec_context.h"
#include "layers/kernel_testing.h"
#include "layers/linear_op.h"
#include "layers/titans.h"
#include "layers/titans_layer_naive.h"
#include "layers/titans_op.h"
#include "tensor/tape.h"

namespace chimera {

// W1 [hidden][d] and W2 [d][hidden] of a small head, with momentum, as kernels want them:
// input-major and padded with zeros. Empty momentum counts as zero.
Floats PadFast(const NaiveTitansMemory<double>& memory,
               const NaiveTitansMemory<double>::State& state);
NaiveTitansMemory<double>::State UnpadFast(const NaiveTitansMemory<double>& memory,
                                           const float* fast);
// n tokens of d <= 64 dimensions [kTitansTokens].
Floats PadTokens(const NaiveTitansMemory<double>::Tokens& tokens, int d);

// Rows of d as rows of 64 and back.
Floats PadRows(const Doubles& x, int d);
Doubles UnpadRows(const Floats& x, int d);

// Parameters of one layer and the projection of block means. Owns everything.
struct TitansFixture {
  TitansFixture(const TitansShape& shape, uint32_t seed);

  TitansLayer layer() const;
  // n tokens of inputs.
  Floats In(int n, uint32_t seed) const;
  Floats Gates(int n, uint32_t seed) const;
  // What a caller does with a block mean, in plain float.
  void ProjectKv(const float* mean, float* k, float* v) const;
  // The twin of a document with these inputs.
  NaiveTitansLayer<double> Naive(const Floats& in, const Floats& gates) const;

  TitansShape shape;
  Floats gate_bias, w1, w2, slot_k, slot_v, head_norm, w_kv, block_norm;
};

// One stream: steps, and remembers the keys and values its ring kept.
class TitansStream {
 public:
  explicit TitansStream(const TitansFixture& fixture, TitansUse use = TitansUse::kWrite);

  // y [width] of the next token.
  Floats Step(const float* in, const float* gates);
  // All tokens of in: y [n][width].
  Floats Run(const Floats& in, const Floats& gates);

  // Drops what it remembers.
  void Forget();

  int64_t position() const { return position_; }
  float* memory() { return state_.data(); }
  float* ring() { return state_.data() + TitansMemoryFloats(fixture_->shape); }
  Floats& state() { return state_; }
  // Keys and values as the ring held them after each token, and block tokens; rows of kv_width.
  Doubles k_hat, v_hat, block_k_hat, block_v_hat;

 private:
  void Remember();

  const TitansFixture* fixture_;
  TitansUse use_;
  int64_t position_ = 0;
  int64_t blocks_ = 0, remembered_ = 0;
  Floats state_, block_, node_;
};

// Gives the twin the rounding of the stream's keys and values, checks that it is one, and runs it
// forward again.
void AdoptRounding(const TitansStream& stream, NaiveTitansLayer<double>* naive);

// A float parameter with buffers of its own.
struct OwnedParam {
  OwnedParam(Floats v, int rows, int cols) : value(std::move(v)), grad(value.size()) {
    param = {value.data(), grad.data(), rows, cols};
  }
  Floats value, grad;
  FloatParam param;
};

// The op with its own tape and parameters. Inputs of several sequences stand one after another.
class TitansOpRun {
 public:
  TitansOpRun(const TitansFixture& fixture, int n_seqs, int threads = 2);

  // Runs forward; reset may be empty, start [n_seqs][state] may be empty (fresh streams). Leaves y
  // and end. A second call on the same object is a second application on the same tape.
  TitansMemoryPass* Forward(const Floats& in, const Floats& gates,
                            const std::vector<uint8_t>& reset, const Floats& start,
                            const TitansOptions& options = {});
  // Gradients of sum(y . dy) of the last application; parameters' gradients are added to.
  void Backward(const Floats& dy);

  // Gradients of application i as rows of `in` and `gates`.
  Floats InGrad(int i = 0) const;
  Floats GatesGrad(int i = 0) const;

  std::shared_ptr<TitansMemoryPass> memory;  // of the last application
  Floats y, end;
  OwnedParam gate_bias, w1, w2, slot_k, slot_v, head_norm, w_kv, block_norm;

 private:
  struct Application {
    Var *proj, *kv, *gates, *y;
    std::vector<uint8_t> reset;
    Floats start, end;
  };

  TitansShape shape_;
  int n_seqs_;
  int64_t rows_ = 1;  // of the application that owns the memory
  ExecContext exec_;
  Tape tape_;
  LinearParam linear_;
  std::vector<std::unique_ptr<Application>> applications_;
};

}  // namespace chimera
