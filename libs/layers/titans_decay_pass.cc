// The decayed linear core over a batch: one state a head, documents start from the learned slots.
#include <cstring>
#include <vector>

#include "layers/gated_delta.h"
#include "layers/titans_core.h"
#include "layers/titans_slab.h"
#include "layers/titans_train.h"
#include "layers/token_blocks.h"

namespace chimera {
namespace {

class DecayPass : public TitansCore {
 public:
  explicit DecayPass(const TitansCoreInput& input)
      : in_(input),
        shape_(input.shape),
        heads_(shape_.n_heads),
        group_(shape_.n_heads / shape_.kv_heads),
        width_(shape_.width()),
        kv_width_(shape_.kv_width()),
        rows_(input.batch.rows()) {
    Arena& arena = in_.tape->arena();
    q_ = arena.New<float>(rows_ * width_);
    q_inv_ = arena.New<float>(rows_ * heads_);
    k_ = arena.New<float>(rows_ * kv_width_);
    v_ = arena.New<float>(rows_ * kv_width_);
    k_inv_ = arena.New<float>(rows_ * shape_.kv_heads);
    saved_begin_.push_back(0);
    for (const TitansPiece& piece : in_.plan->pieces()) {
      saved_begin_.push_back(saved_begin_.back() + CountChunks(nullptr, piece.n));
    }
    saved_ = arena.New<float>(saved_begin_.back() * heads_ * kHeadState);
  }

  void Forward(const std::vector<TitansBlock>&, const float*, float* o) override {
    ForTokens(in_.tape->exec(), rows_, [&](int64_t t, int64_t n) {
      for (int64_t row = t; row < t + n; ++row) {
        const float* kv = in_.kv->value + row * 2 * kv_width_;
        GatedDelta().l2norm(in_.proj->value + row * 4 * width_, heads_, q_ + row * width_,
                            q_inv_ + row * heads_);
        GatedDelta().l2norm(kv, shape_.kv_heads, k_ + row * kv_width_,
                            k_inv_ + row * shape_.kv_heads);
        std::memcpy(v_ + row * kv_width_, kv + kv_width_,
                    static_cast<size_t>(kv_width_) * sizeof(float));
      }
    });
    in_.tape->exec()->ParallelFor(int64_t{in_.batch.n_seqs} * heads_, [&](int64_t i) {
      ForwardHead(static_cast<int>(i / heads_), static_cast<int>(i % heads_), o);
    });
  }

  void Backward(const float*, const float* d_o, const TitansCoreGrads& grads) override {
    const int64_t slot_floats = int64_t{shape_.persistent_slots} * kHeadDim;
    const int64_t tasks = int64_t{in_.batch.n_seqs} * heads_;
    Arena& arena = in_.tape->arena();
    float* d_slots = arena.New<float>(tasks * 2 * slot_floats);
    std::memset(d_slots, 0, static_cast<size_t>(tasks * 2 * slot_floats) * sizeof(float));
    float* dq = arena.New<float>(rows_ * width_);
    float* dk = arena.New<float>(rows_ * kv_width_);
    float* dv = arena.New<float>(rows_ * kv_width_);
    std::memset(dk, 0, static_cast<size_t>(rows_ * kv_width_) * sizeof(float));
    std::memset(dv, 0, static_cast<size_t>(rows_ * kv_width_) * sizeof(float));
    // Heads of one kv head share dk and dv: they run one after another.
    in_.tape->exec()->ParallelFor(int64_t{in_.batch.n_seqs} * shape_.kv_heads, [&](int64_t i) {
      const int seq = static_cast<int>(i / shape_.kv_heads);
      const int kv = static_cast<int>(i % shape_.kv_heads);
      for (int head = kv * group_; head < (kv + 1) * group_; ++head) {
        float* d_slot = d_slots + (int64_t{seq} * heads_ + head) * 2 * slot_floats;
        BackwardHead(seq, head, d_o, dq, dk, dv, grads.d_log_keep, d_slot, d_slot + slot_floats);
      }
    });
    for (int64_t i = 0; i < tasks; ++i) {
      const int64_t kv = i % heads_ / group_ * kHeadDim;
      for (int64_t j = 0; j < slot_floats; ++j) {
        const int64_t at = j / kHeadDim * kv_width_ + kv + j % kHeadDim;
        in_.slot_k.grad[at] += d_slots[i * 2 * slot_floats + j];
        in_.slot_v.grad[at] += d_slots[(i * 2 + 1) * slot_floats + j];
      }
    }
    NormBackward(dq, dk, dv, grads);
  }

 private:
  TitansDecaySequence Sequence(const TitansPiece& piece, int head) const {
    const int64_t kv = piece.row * kv_width_ + head / group_ * kHeadDim;
    return {q_ + piece.row * width_ + head * kHeadDim, width_, k_ + kv, v_ + kv, kv_width_,
            in_.log_keep + piece.row * heads_ + head,  heads_, piece.n};
  }
  float* Saved(int piece, int head) const {
    const auto p = static_cast<size_t>(piece);
    const int64_t chunks = saved_begin_[p + 1] - saved_begin_[p];
    return saved_ + (saved_begin_[p] * heads_ + head * chunks) * kHeadState;
  }
  const float* SlotK(int head) const { return in_.slot_k.value + head / group_ * kHeadDim; }
  const float* SlotV(int head) const { return in_.slot_v.value + head / group_ * kHeadDim; }

  void ForwardHead(int seq, int head, float* o) {
    alignas(64) float state[kHeadState];
    for (int p = in_.plan->piece_begin(seq); p < in_.plan->piece_end(seq); ++p) {
      const TitansPiece& piece = in_.piece(p);
      if (const float* ring = in_.RingStart(seq, piece)) {
        std::memcpy(state, ring + kTitansHeader + head * kHeadState, sizeof(state));
      } else {
        TitansDecayTrain().start(SlotK(head), SlotV(head), kv_width_, shape_.persistent_slots,
                                 state);
      }
      const TitansDecaySequence sequence = Sequence(piece, head);
      TitansDecayTrain().forward(&sequence, state, o + piece.row * width_ + head * kHeadDim,
                                 Saved(p, head));
    }
    float* ring = in_.RingEnd(seq);
    std::memcpy(ring + kTitansHeader + head * kHeadState, state, sizeof(state));
    if (head == 0) {
      TitansRingHeader header = {};
      header.started = 1;
      WriteHeader(header, ring);
    }
  }

  void BackwardHead(int seq, int head, const float* d_o, float* dq, float* dk, float* dv,
                    float* d_log_keep, float* d_slot_k, float* d_slot_v) {
    alignas(64) float d_state[kHeadState];
    for (int p = in_.plan->piece_end(seq) - 1; p >= in_.plan->piece_begin(seq); --p) {
      const TitansPiece& piece = in_.piece(p);
      const TitansDecaySequence sequence = Sequence(piece, head);
      const int64_t q = piece.row * width_ + head * kHeadDim;
      const int64_t kv = piece.row * kv_width_ + head / group_ * kHeadDim;
      std::memset(d_state, 0, sizeof(d_state));
      TitansDecayTrain().backward(&sequence, Saved(p, head), d_o + q, d_state, dq + q, dk + kv,
                                  dv + kv, d_log_keep + piece.row * heads_ + head);
      if (piece.carried) continue;
      TitansDecayTrain().start_backward(SlotK(head), SlotV(head), kv_width_,
                                        shape_.persistent_slots, d_state, d_slot_k, d_slot_v);
    }
  }

  void NormBackward(const float* dq, const float* dk, const float* dv,
                    const TitansCoreGrads& grads) const {
    ForTokens(in_.tape->exec(), rows_, [&](int64_t t, int64_t n) {
      for (int64_t row = t; row < t + n; ++row) {
        float* d_kv = grads.d_kv + row * 2 * kv_width_;
        GatedDeltaTrain().l2norm_backward(q_ + row * width_, q_inv_ + row * heads_,
                                          dq + row * width_, heads_,
                                          grads.d_proj + row * 4 * width_);
        GatedDeltaTrain().l2norm_backward(k_ + row * kv_width_, k_inv_ + row * shape_.kv_heads,
                                          dk + row * kv_width_, shape_.kv_heads, d_kv);
        std::memcpy(d_kv + kv_width_, dv + row * kv_width_,
                    static_cast<size_t>(kv_width_) * sizeof(float));
      }
    });
  }

  TitansCoreInput in_;
  TitansShape shape_;
  int heads_, group_, width_, kv_width_;
  int64_t rows_;
  float *q_, *q_inv_, *k_, *v_, *k_inv_;
  std::vector<int64_t> saved_begin_;  // of each piece, in chunks of a head
  float* saved_;
};

}  // namespace

std::unique_ptr<TitansCore> NewTitansDecay(const TitansCoreInput& input) {
  return std::make_unique<DecayPass>(input);
}

}  // namespace chimera
