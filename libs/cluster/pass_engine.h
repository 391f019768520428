// Runs passes over one model for its streams: steps and windows of several streams as the rows of
// one pass, a prompt in slices of half a layer, the head of all rows that want it together.
// Internal to pass_scheduler.cc, which sees to it that one call runs at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/exec_context.h"
#include "base/huge_pages.h"
#include "model/model.h"
#include "model/step.h"

namespace chimera {

inline constexpr int kHeadRowsMax = 32;  // rows of one product with the head

// Rows of one stream, in order, which its state moves on by, or all nodes of its window. Borrowed
// until the job is done.
struct PassJob {
  std::span<const Stepper::Row> rows;  // 1..kPrefillMax; of a window at most kBatchMax
  // Rows whose hidden vector is asked for, ascending, and of the first kHeadRowsMax the logits; of
  // a prompt no more than these.
  std::span<const int> wanted;
  // Mask-first: the tiles of the head that are evaluated for the one wanted row; empty: all.
  std::span<const int32_t> tiles;
  float* hidden = nullptr;     // [wanted][d_model], receives their normalised vectors
  float* logits = nullptr;     // [up to kHeadRowsMax][vocab_size], or [tiles][16]
  float* surprises = nullptr;  // [rows], receives Stepper::surprise; null: nobody asks
  // Of the last row.
  int loops_run = 1;
  float residual = 0.0f;
  // Of its passes; the first job of a pass has those of all.
  GateMeans gates;
};

// Thread-compatible.
class PassEngine {
 public:
  PassEngine(std::shared_ptr<const Model> model, ExecContext* exec);

  const Model& model() const { return *model_; }
  // Bytes of its buffers, which all streams share.
  static int64_t Bytes(const ModelConfig& config);

  // All rows of all jobs in one pass: at most kBatchMax.
  void RunSteps(std::span<PassJob* const> jobs);

  // A prompt from its row `begin` on, at most chunk_max rows of it. Advance runs half a layer of
  // the next rows, or the head, and is true at the end of the chunk. Only one prompt is on its way
  // at a time; Drop forgets it, and its state is lost.
  void StartPrompt(PassJob* job, int begin, int chunk_max);
  bool AdvancePrompt(int rows_max);
  void DropPrompt() { prompt_.reset(); }
  int prompt_end() const { return prompt_->end; }  // of the chunk's rows
  int slice_rows() const { return slice_rows_; }   // of the last Advance; 0 for the head

  // Logits of hidden rows, [n][d_model] to [n][vocab_size].
  void Head(const float* hidden, int n, float* logits);
  // Of one hidden row those of some tiles, [tiles][16].
  void HeadOfTiles(const float* hidden, std::span<const int32_t> tiles, float* logits);

 private:
  struct Prompt {
    PassJob* job;
    int begin, end;
    bool layers_done = false;
  };

  // The wanted rows of a job among rows [begin, end) of its own, found at hidden + (row - begin).
  void Collect(PassJob* job, int begin, int end, const float* hidden);
  // What a pass found out about rows [begin, end) of a job, which are the pass's rows from `first`
  // on.
  static void Report(const Stepper& pass, int first, int begin, int end, PassJob* job);
  void RunHead();

  const std::shared_ptr<const Model> model_;
  Stepper steps_;
  Stepper prompts_;
  std::vector<Stepper::Row> rows_;
  std::optional<Prompt> prompt_;
  int slice_rows_ = 0;
  // What RunHead computes: hidden rows side by side, and where their logits go.
  BufferVector<float> head_in_, head_out_;
  std::vector<float*> head_to_;
  std::vector<PassJob*> tile_jobs_;  // those that ask for tiles only
};

}  // namespace chimera
