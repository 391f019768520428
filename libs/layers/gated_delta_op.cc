#include <memory>

#include "layers/efla.h"
#include "layers/gated_delta.h"
#include "layers/head_grid.h"
#include "layers/mixer_ops.h"
#include "layers/short_conv.h"

namespace chimera {
namespace {

// One application of the mixer: what the forward leaves stays in the tape's arena for the backward.
class GatedDeltaOp {
 public:
  GatedDeltaOp(Tape* tape, const TrainBatch& batch, const GatedDeltaParams& params, Var* qkv,
               Var* gate, Var* a, Var* b)
      : tape_(tape),
        exec_(tape->exec()),
        grid_(batch, static_cast<int>(a->cols)),
        params_(params),
        heads_(grid_.n_heads()),
        normed_(params.rule == DeltaRule::kBeta ? 2 * heads_ : heads_),
        width_(grid_.width()),
        rows_(grid_.rows()),
        qkv_(qkv),
        gate_(gate),
        a_(a),
        b_(b),
        y_(tape->New(rows_, width_)) {
    Arena& arena = tape->arena();
    conv_out_ = arena.New<float>(rows_ * 3 * width_);
    key_inv_ = arena.New<float>(rows_ * normed_);
    lambda_ = arena.New<float>(rows_ * heads_);
    g_ = arena.New<float>(rows_ * heads_);
    beta_ = arena.New<float>(rows_ * heads_);
    states_ = arena.New<float>(grid_.Chunks() * kHeadState);
    wide_ = arena.New<float>(rows_ * 3 * width_);
    o_ = arena.New<float>(rows_ * width_);
    head_inv_ = arena.New<float>(rows_ * heads_);
  }

  Var* y() const { return y_; }

  void Forward() {
    ConvAndGates();
    grid_.ForEach(exec_, [&](int seq, int head) {
      const GatedDeltaSequence sequence = Head(seq, head);
      const int64_t at = kConvState * 3 * width_ + int64_t{head} * kHeadState;
      GatedDeltaTrain().forward(&sequence, grid_.batch().Start(seq) + at,
                                wide_ + grid_.QkvAt(seq, head), grid_.batch().End(seq) + at,
                                states_ + grid_.FirstChunk(seq, head) * kHeadState);
    });
    CopyColumns(exec_, rows_, width_, wide_, 3 * width_, o_, width_);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      GatedDelta().head_norm(o_ + t * width_, gate_->value + t * width_, params_.head_norm.value,
                             n * heads_, y_->value + t * width_, head_inv_ + t * heads_);
    });
  }

  void Backward() {
    bool unused = false;
    d_a_ = tape_->GradTarget(a_, &unused);
    d_b_ = tape_->GradTarget(b_, &unused);
    d_conv_ = tape_->arena().New<float>(rows_ * 3 * width_);
    HeadNormBackward();
    grid_.ForEach(exec_, [&](int seq, int head) {
      const GatedDeltaSequence sequence = Head(seq, head);
      const int64_t at = grid_.QkvAt(seq, head), gates = grid_.GateAt(seq, head);
      GatedDeltaTrain().backward(&sequence, states_ + grid_.FirstChunk(seq, head) * kHeadState,
                                 wide_ + at, nullptr, d_conv_ + at, d_conv_ + at + width_,
                                 d_conv_ + at + 2 * width_, d_a_ + gates, d_b_ + gates, nullptr);
    });
    GatesBackward();
    ConvBackward();
  }

 private:
  GatedDeltaSequence Head(int seq, int head) const {
    auto sequence = grid_.HeadOf<GatedDeltaSequence>(conv_out_, seq, head);
    sequence.g = g_ + grid_.GateAt(seq, head);
    sequence.beta = beta_ + grid_.GateAt(seq, head);
    return sequence;
  }

  void ConvAndGates() {
    const TrainBatch& batch = grid_.batch();
    const int channels = static_cast<int>(3 * width_);
    exec_->ParallelFor(batch.n_seqs, [&](int64_t s) {
      const int64_t row = batch.Row(s) * channels;
      ShortConv().forward(qkv_->value + row, params_.conv.value, batch.Start(s), batch.Reset(s),
                          batch.Length(s), channels, channels, conv_out_ + row, batch.End(s));
    });
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      for (int64_t r = t; r < t + n; ++r) {  // q, then k: rows of 64, heads of each
        float* row = conv_out_ + r * channels;
        GatedDelta().l2norm(row, normed_, row, key_inv_ + r * normed_);
      }
      if (params_.rule == DeltaRule::kBeta) {
        GatedDelta().gates(a_->value + t * heads_, b_->value + t * heads_, params_.a_log.value,
                           params_.dt_bias.value, n, heads_, g_ + t * heads_, beta_ + t * heads_);
      } else {
        Efla().gates(EflaRows(t, n), g_ + t * heads_, beta_ + t * heads_, lambda_ + t * heads_);
      }
    });
  }

  EflaGates EflaRows(int64_t t, int64_t n) const {
    const bool gated = params_.rule == DeltaRule::kGatedEfla;
    return {gated ? a_->value + t * heads_ : nullptr,
            b_->value + t * heads_,
            conv_out_ + t * 3 * width_ + width_,
            3 * width_,
            params_.a_log.value,
            params_.dt_bias.value,
            n,
            heads_};
  }

  // Leaves the gradient of o in wide_, at the strides the recurrence wants.
  void HeadNormBackward() {
    bool unused = false;
    float* d_gate = tape_->GradTarget(gate_, &unused);
    float* d_o = tape_->arena().New<float>(rows_ * width_);
    PartialSums d_norm(tape_, rows_, kHeadDim);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      const int64_t at = t * width_;
      GatedDeltaTrain().head_norm_backward(o_ + at, gate_->value + at, params_.head_norm.value,
                                           head_inv_ + t * heads_, y_->grad + at, n * heads_,
                                           d_o + at, d_gate + at, d_norm.Block(t));
    });
    d_norm.AddTo(params_.head_norm.grad);
    CopyColumns(exec_, rows_, width_, d_o, width_, wide_, 3 * width_);
  }

  // d_a_ and d_b_ hold the gradients of g and beta on entry; d_conv_ those of q, k and v as the
  // recurrence saw them.
  void GatesBackward() {
    PartialSums d_a_log(tape_, rows_, heads_), d_dt(tape_, rows_, heads_);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      const int64_t h = t * heads_;
      if (params_.rule == DeltaRule::kBeta) {
        GatedDeltaTrain().gates_backward(a_->value + h, params_.a_log.value, params_.dt_bias.value,
                                         g_ + h, beta_ + h, d_a_ + h, d_b_ + h, n, heads_, d_a_ + h,
                                         d_b_ + h, d_a_log.Block(t), d_dt.Block(t));
      } else {
        Efla().gates_backward(EflaRows(t, n), g_ + h, lambda_ + h, d_a_ + h, d_b_ + h, d_a_ + h,
                              d_b_ + h, d_conv_ + t * 3 * width_ + width_, d_a_log.Block(t),
                              d_dt.Block(t));
      }
      for (int64_t r = t; r < t + n; ++r) {
        float* d_row = d_conv_ + r * 3 * width_;
        GatedDeltaTrain().l2norm_backward(conv_out_ + r * 3 * width_, key_inv_ + r * normed_, d_row,
                                          normed_, d_row);
      }
    });
    if (params_.rule == DeltaRule::kEfla) return;  // no decay
    d_a_log.AddTo(params_.a_log.grad);
    d_dt.AddTo(params_.dt_bias.grad);
  }

  // One partial dw per sequence, added in order.
  void ConvBackward() {
    const TrainBatch& batch = grid_.batch();
    const int channels = static_cast<int>(3 * width_);
    const int64_t taps = int64_t{channels} * kConvWidth;
    bool unused = false;
    float* d_qkv = tape_->GradTarget(qkv_, &unused);
    float* dw = tape_->arena().New<float>(batch.n_seqs * taps);
    std::memset(dw, 0, static_cast<size_t>(batch.n_seqs * taps) * sizeof(float));
    exec_->ParallelFor(batch.n_seqs, [&](int64_t s) {
      const int64_t row = batch.Row(s) * channels;
      ShortConv().backward(qkv_->value + row, params_.conv.value, batch.Start(s), batch.Reset(s),
                           d_conv_ + row, batch.Length(s), channels, channels, d_qkv + row,
                           dw + s * taps);
    });
    for (int64_t s = 0; s < batch.n_seqs; ++s) {
      for (int64_t i = 0; i < taps; ++i) params_.conv.grad[i] += dw[s * taps + i];
    }
  }

  Tape* tape_;
  ExecContext* exec_;
  HeadGrid grid_;
  GatedDeltaParams params_;
  int heads_;
  int normed_;  // heads of q and k that are normalised
  int64_t width_, rows_;
  Var *qkv_, *gate_, *a_, *b_, *y_;
  float* conv_out_;  // [rows][3 * width], q and, by the beta rule, k normalised
  float* key_inv_;   // [rows][normed]
  float* lambda_;    // [rows][heads], EFLA only
  float *g_, *beta_;
  float* states_;  // chunk start states
  float* wide_;    // [rows][3 * width]: o, then its gradient, in the first width columns
  float* o_;
  float* head_inv_;  // [rows][heads]
  float *d_a_ = nullptr, *d_b_ = nullptr, *d_conv_ = nullptr;
};

}  // namespace

Var* GatedDeltaMixer(Tape* tape, const TrainBatch& batch, const GatedDeltaParams& params, Var* qkv,
                     Var* gate, Var* a, Var* b) {
  auto op = std::make_shared<GatedDeltaOp>(tape, batch, params, qkv, gate, a, b);
  op->Forward();
  tape->OnBackward([op] { op->Backward(); });
  return op->y();
}

}  // namespace chimera
