// Plain decode: one token in, one hidden vector out, through every layer (DESIGN spine, "model
// Step"). Prefill, replay and scoring run the same arithmetic, so they equal Step bit for bit.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/exec_context.h"
#include "model/braid_state.h"
#include "model/model.h"

namespace chimera {

// Means over the heads and layers of the gated delta rule since they were last taken (FEATURES O2,
// gd_alpha_mean and gd_beta_mean); both are in (0, 1), or 0 when no such layer has run.
struct GateMeans {
  double alpha = 0;
  double beta = 0;
};

// Scratch of a running stream. Everything is allocated in the constructor; Step and Prefill never
// allocate. Thread-compatible; the model must outlive it.
class Stepper {
 public:
  static constexpr int kPrefillMax = 64;  // tokens of one Prefill call

  Stepper(const Model& model, ExecContext* exec);
  ~Stepper();

  // Advances the state by one token (0 <= token < vocab_size). Returns the normalised hidden
  // vector, d_model floats, valid until the next call.
  std::span<const float> Step(BraidState* state, int32_t token);

  // Advances the state by 1..kPrefillMax tokens. Returns their hidden vectors, row by row.
  std::span<const float> Prefill(BraidState* state, std::span<const int32_t> tokens);

  // Logits over the whole vocabulary for n_rows hidden vectors as returned above.
  void Logits(std::span<const float> hidden, int n_rows, std::span<float> logits);

  // The gates of all tokens since the last call.
  GateMeans TakeGateMeans();

 private:
  struct Scratch;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace chimera
