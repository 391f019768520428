#include <memory>

#include "layers/head_grid.h"
#include "layers/mixer_ops.h"
#include "layers/mlstm.h"

namespace chimera {
namespace {

// One application of the mixer: what the forward leaves stays in the tape's arena for the backward.
class MlstmOp {
 public:
  MlstmOp(Tape* tape, const TrainBatch& batch, const MlstmParams& params, Var* qkv, Var* gate,
          Var* i, Var* f)
      : tape_(tape),
        exec_(tape->exec()),
        grid_(batch, static_cast<int>(i->cols)),
        params_(params),
        heads_(grid_.n_heads()),
        width_(grid_.width()),
        rows_(grid_.rows()),
        qkv_(qkv),
        gate_(gate),
        i_(i),
        f_(f),
        y_(tape->New(rows_, width_)) {
    Arena& arena = tape->arena();
    capped_i_ = arena.New<float>(rows_ * heads_);
    capped_f_ = arena.New<float>(rows_ * heads_);
    states_ = arena.New<float>(grid_.Chunks() * kMlstmSaved);
    wide_ = arena.New<float>(rows_ * 3 * width_);
    h_ = arena.New<float>(rows_ * width_);
    head_inv_ = arena.New<float>(rows_ * heads_);
  }

  Var* y() const { return y_; }

  void Forward() {
    const TrainBatch& batch = grid_.batch();
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      const int64_t at = t * heads_;
      Mlstm().gate_cap(i_->value + at, params_.gate_bias.value, n, heads_, capped_i_ + at);
      Mlstm().gate_cap(f_->value + at, params_.gate_bias.value + heads_, n, heads_, capped_f_ + at);
    });
    grid_.ForEach(exec_, [&](int seq, int head) {
      const MlstmSequence sequence = Head(seq, head);
      // The kernel only reads the start state.
      const MlstmState start = StateOf(const_cast<float*>(batch.Start(seq)), head);
      const MlstmState end = StateOf(batch.End(seq), head);
      MlstmTrain().forward(&sequence, &start, wide_ + grid_.QkvAt(seq, head), &end,
                           states_ + grid_.FirstChunk(seq, head) * kMlstmSaved);
    });
    CopyColumns(exec_, rows_, width_, wide_, 3 * width_, h_, width_);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      Mlstm().head_norm(h_ + t * width_, gate_->value + t * width_, params_.head_norm.value, n,
                        heads_, y_->value + t * width_, head_inv_ + t * heads_);
    });
  }

  void Backward() {
    bool unused = false;
    float* d_i = tape_->GradTarget(i_, &unused);
    float* d_f = tape_->GradTarget(f_, &unused);
    float* d_qkv = tape_->GradTarget(qkv_, &unused);
    float* d_wide = tape_->arena().New<float>(rows_ * 3 * width_);
    HeadNormBackward(d_wide);
    const MlstmState none = {nullptr, nullptr, nullptr};
    grid_.ForEach(exec_, [&](int seq, int head) {
      const MlstmSequence sequence = Head(seq, head);
      const int64_t at = grid_.QkvAt(seq, head), gates = grid_.GateAt(seq, head);
      MlstmTrain().backward(&sequence, states_ + grid_.FirstChunk(seq, head) * kMlstmSaved,
                            wide_ + at, d_wide + at, &none, d_qkv + at, d_qkv + at + width_,
                            d_qkv + at + 2 * width_, d_i + gates, d_f + gates, &none);
    });
    PartialSums d_bias_i(tape_, rows_, heads_), d_bias_f(tape_, rows_, heads_);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      const int64_t at = t * heads_;
      MlstmTrain().gate_cap_backward(capped_i_ + at, d_i + at, n, heads_, d_i + at,
                                     d_bias_i.Block(t));
      MlstmTrain().gate_cap_backward(capped_f_ + at, d_f + at, n, heads_, d_f + at,
                                     d_bias_f.Block(t));
    });
    d_bias_i.AddTo(params_.gate_bias.grad);
    d_bias_f.AddTo(params_.gate_bias.grad + heads_);
  }

 private:
  MlstmSequence Head(int seq, int head) const {
    auto sequence = grid_.HeadOf<MlstmSequence>(qkv_->value, seq, head);
    sequence.i = capped_i_ + grid_.GateAt(seq, head);
    sequence.f = capped_f_ + grid_.GateAt(seq, head);
    return sequence;
  }

  // One head's part of a sequence's state: matrices, vectors n, frames m.
  MlstmState StateOf(float* block, int head) const {
    return {block + int64_t{head} * kHeadState,
            block + int64_t{heads_} * kHeadState + int64_t{head} * kHeadDim,
            block + int64_t{heads_} * (kHeadState + kHeadDim) + head};
  }

  // Writes the gradient of h at the strides the recurrence wants.
  void HeadNormBackward(float* d_wide) {
    bool unused = false;
    float* d_gate = tape_->GradTarget(gate_, &unused);
    float* d_h = tape_->arena().New<float>(rows_ * width_);
    PartialSums d_norm(tape_, rows_, width_);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      const int64_t at = t * width_;
      MlstmTrain().head_norm_backward(h_ + at, gate_->value + at, params_.head_norm.value,
                                      head_inv_ + t * heads_, y_->grad + at, n, heads_, d_h + at,
                                      d_gate + at, d_norm.Block(t));
    });
    d_norm.AddTo(params_.head_norm.grad);
    CopyColumns(exec_, rows_, width_, d_h, width_, d_wide, 3 * width_);
  }

  Tape* tape_;
  ExecContext* exec_;
  HeadGrid grid_;
  MlstmParams params_;
  int heads_;
  int64_t width_, rows_;
  Var *qkv_, *gate_, *i_, *f_, *y_;
  float *capped_i_, *capped_f_;
  float* states_;  // chunk start states
  float* wide_;    // [rows][3 * width]: h in the first width columns
  float* h_;
  float* head_inv_;  // [rows][heads]
};

}  // namespace

Var* MlstmMixer(Tape* tape, const TrainBatch& batch, const MlstmParams& params, Var* qkv, Var* gate,
                Var* i, Var* f) {
  auto op = std::make_shared<MlstmOp>(tape, batch, params, qkv, gate, i, f);
  op->Forward();
  tape->OnBackward([op] { op->Backward(); });
  return op->y();
}

}  // namespace chimera
