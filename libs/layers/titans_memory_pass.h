// The memory branch of the Titans op over a batch: retrieval, writes, and the backward of both.
// Weights and momentum are kept every 16 chunks (256 tokens) only; the backward rebuilds the ones
// between. Later iterations of a loop read the memory of the first: they rebuild the same weights,
// and hand their queries and gradients to its backward.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/exec_context.h"
#include "base/mutex.h"
#include "layers/linear_op.h"
#include "layers/titans.h"
#include "layers/titans_plan.h"
#include "layers/train_batch.h"
#include "tensor/tape.h"

namespace chimera {

// One buffer for each thread of a loop, whoever comes. Thread-safe.
class ScratchPool {
 public:
  // buffers of `floats` in the tape's arena, one for each thread.
  ScratchPool(Tape* tape, int64_t floats);
  float* Take();
  void Give(float* buffer);

 private:
  Mutex mutex_;
  std::vector<float*> free_ ABSL_GUARDED_BY(mutex_);
};

// What the memory of one application sees. Borrowed; rows are those of the batch.
struct TitansMemoryInput {
  const float* km = nullptr;  // [rows][width], unit rows
  const float* vm = nullptr;  // row r at vm + r * vm_stride
  int64_t vm_stride = 0;
  const float* gates = nullptr;  // [rows][3 * n_heads], squashed
};

// Gradients, in the same shapes.
struct TitansMemoryGrads {
  float* km;
  float* vm;
  int64_t vm_stride;
  float* gates;
};

// Thread-compatible. Lives as long as the tape's closures; buffers are in the tape's arena.
class TitansMemoryPass {
 public:
  // batch: memory_start and memory_end are used. use: kWrite or kFrozen.
  TitansMemoryPass(Tape* tape, const TrainBatch& batch, const TitansShape& shape, FloatParam w1,
                   FloatParam w2, TitansUse use, bool first_order,
                   std::shared_ptr<const TitansPlan> plan, const TitansMemoryInput& input);

  const TitansPlan& plan() const { return *plan_; }
  const TrainBatch& batch() const { return batch_; }

  // r = M(qm) of every row, and the slabs at the end of the batch. Surprise statistics of the slab
  // pass through: training does not measure them.
  void Forward(const float* qm, float* r);
  // After every reader's. dr [rows][width]; writes all of grads and dqm, adds to w1 and w2.
  void Backward(const float* qm, const float* dr, float* dqm, const TitansMemoryGrads& grads);

  // A later iteration over sequences source[i] of this batch (null: the same ones); rows of its
  // sequence i stand at i * seq_len.
  struct Reader {
    int n_seqs;
    const int32_t* source;
    const float* qm;
    const float* dr;  // null: not yet known
  };
  void ReadForward(const Reader& reader, float* r);
  // Writes dqm and leaves the rest to Backward; the buffers must stay.
  void ReadBackward(const Reader& reader, float* dqm);

 private:
  static constexpr int kSpanChunks = 16;

  int64_t Row(int seq) const { return batch_.Row(seq); }
  // kTitansFast floats: what chunk `chunk` of the piece, the first of a span, begins with.
  float* Saved(int piece, int chunk, int head) const;
  void Begin(int seq, const TitansPiece& piece, int head, float* fast) const;
  void Pack(int seq, int chunk, int head, float* tokens) const;
  void WriteChunkOf(int seq, int chunk, int head, float* fast) const;
  void ForwardHead(int seq, int head, const float* qm, float* r);
  void BackwardHead(int seq, int head, const float* qm, const float* dr, float* dqm,
                    const TitansMemoryGrads& grads, float* states, float* d_first);
  void WriteBackward(int seq, const TitansPiece& piece, int chunk, int head, const float* fast,
                     float* d_fast, const TitansMemoryGrads& grads) const;
  void WriteEnd(int seq, const TitansPiece& piece, int head, const float* fast) const;
  void WriteEndHeader(int seq) const;
  // Weights of the chunks [begin, end) of one span into states [kSpanChunks][kTitansFast].
  void Rebuild(int seq, int piece, int begin, int end, int head, float* states) const;
  // Runs body(state, chunk) over all chunks of a head, rebuilt.
  template <typename Body>
  void ForChunks(int seq, int head, float* states, const Body& body) const;

  Tape* tape_;
  TrainBatch batch_;
  TitansShape shape_;
  FloatParam w1_, w2_;
  bool writes_, first_order_;
  std::shared_ptr<const TitansPlan> plan_;
  TitansMemoryInput in_;
  std::vector<int64_t> span_begin_;  // of each piece, in saved states a head
  float* saved_;
  ScratchPool scratch_;
  std::vector<Reader> readers_;
};

}  // namespace chimera
