// Plain decode: one token in, one hidden vector out, through every layer (DESIGN spine, "model
// Step"). Prefill, replay and scoring run the same arithmetic, so they equal Step bit for bit.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/exec_context.h"
#include "model/braid_state.h"
#include "model/model.h"
#include "model/window.h"

namespace chimera {

// Means over the heads and layers of the gated delta rule since they were last taken (FEATURES O2,
// gd_alpha_mean and gd_beta_mean); both are in (0, 1), or 0 when no such layer has run.
struct GateMeans {
  double alpha = 0;
  double beta = 0;
  int64_t count = 0;  // gates they are the means of
};

// Scratch of a running stream. Everything is allocated in the constructor; Step and Prefill never
// allocate. Thread-compatible; the model must outlive it.
class Stepper {
 public:
  // Rows of a pass: of steps and windows; of prompts, whose experts see more tokens each the longer
  // a pass is.
  static constexpr int kBatchMax = 64;
  static constexpr int kPrefillMax = 256;

  // rows_max: kBatchMax..kPrefillMax. Scratch grows with it.
  Stepper(const Model& model, ExecContext* exec, int rows_max = kBatchMax);
  ~Stepper();
  static int64_t Bytes(const ModelConfig& config, int rows_max);  // of its buffers

  // Advances the state by one token (0 <= token < vocab_size) with `loops` iterations of the looped
  // block, 1..state->loops(); 0 means all of them. With exit_early the token stops before that as
  // soon as an iteration changes its hidden state by less than looping.adaptive_exit_threshold, a
  // function of this token and earlier ones only (math-backbone 4.5). Returns the normalised hidden
  // vector, d_model floats, valid until the next call.
  std::span<const float> Step(BraidState* state, int32_t token, int loops = 0,
                              bool exit_early = false);

  // Advances the state by 1..rows_max tokens with the given loops each: the same bits as Step with
  // those loops. Returns their hidden vectors, row by row.
  std::span<const float> Prefill(BraidState* state, std::span<const int32_t> tokens,
                                 std::span<const uint8_t> loops);
  std::span<const float> Prefill(BraidState* state, std::span<const int32_t> tokens, int loops = 0);

  // A row of a pass over several streams.
  struct Row {
    BraidState* state = nullptr;
    int32_t token = 0;
    int loops = 0;  // as in Step
    bool exit_early = false;
    const SpanFields* fields = nullptr;  // that its sketch sees, borrowed; null: none
    // A node of a window that was begun behind this state, instead of a token that advances it: the
    // rows are all its nodes, with the window's loops. The hidden vector is that after the text so
    // far and the path to the node, bit for bit what Step gives along the path. Of the state only
    // what is due at its position anyway changes.
    Window* window = nullptr;
  };
  // Advances several streams in one pass of 1..rows_max rows. Rows of one stream stand together,
  // in order. Returns the hidden vectors row by row, the same bits as Step gives each stream alone.
  std::span<const float> Batch(std::span<const Row> rows);
  // A window alone.
  std::span<const float> Tree(BraidState* state, Window* window, std::span<const int32_t> tokens);

  // Batch in slices, for a pass that lets others go first: Start, Advance until it returns true,
  // then Rows. The rows are tokens of one stream. Start returns how many of them this pass takes,
  // the first ones: all, but where later iterations need copies of memories only as many as there
  // is room for, 64 at least. No other call may come in between; until the end the state is neither
  // here nor there.
  int Start(std::span<const Row> rows);
  // Half a layer of one iteration for the next rows, `most` at most; slice_rows says how many.
  bool Advance(int most);
  int slice_rows() const;
  std::span<const float> Rows() const;

  // Of the last token of the last call: iterations it ran, and the relative change of its hidden
  // state in the last of them (0 after a single one). Of a batch: of the last row of each stream.
  int loops_run() const;
  float residual() const;
  int loops_run(int row) const;
  float residual(int row) const;
  // Of a row of the last call: the norm of its gradient over all TM layers (math-inference-training
  // C.6); 0 without such layers, and of a window, which commits nothing by itself.
  float surprise(int row) const;

  // Logits over the whole vocabulary for n_rows hidden vectors as returned above.
  void Logits(std::span<const float> hidden, int n_rows, std::span<float> logits);
  // Mask-first: the rows of the listed tiles of 16 only, for one hidden vector. Tile tiles[i] fills
  // logits[16 * i .. 16 * i + 15] with the bits that Logits gives those rows; rows beyond the
  // vocabulary are 0. Tiles are inside the vocabulary, in any order.
  void LogitsOfTiles(std::span<const float> hidden, std::span<const int32_t> tiles,
                     std::span<float> logits);

  // The gates of all tokens since the last call.
  GateMeans TakeGateMeans();

 private:
  struct Scratch;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace chimera
