#include "layers/titans_op.h"

#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"
#include "layers/gated_delta.h"
#include "layers/titans_core.h"
#include "layers/titans_memory_pass.h"
#include "layers/titans_slab.h"
#include "layers/titans_train.h"
#include "layers/token_blocks.h"

namespace chimera {
namespace {

// One application of the layer. On the tape it stands twice: retrieval and writes before the
// projection of the block means, attention and gate after it.
class TitansOp {
 public:
  TitansOp(Tape* tape, const TrainBatch& batch, const TitansParams& params,
           const TitansOptions& options, Var* proj, Var* kv, Var* gates)
      : tape_(tape),
        exec_(tape->exec()),
        batch_(batch),
        params_(params),
        shape_(params.shape),
        options_(options),
        heads_(shape_.n_heads),
        width_(shape_.width()),
        rows_(batch.rows()),
        proj_(proj),
        kv_(kv),
        gates_(gates),
        y_(tape->New(rows_, width_)) {
    CHIMERA_CHECK(proj->cols == 4 * width_ && kv->cols == 2 * shape_.kv_width() &&
                  gates->cols == 3 * heads_ && heads_ % shape_.kv_heads == 0);
    Arena& arena = tape->arena();
    act_ = arena.New<float>(rows_ * 3 * heads_);
    log_keep_ = arena.New<float>(rows_ * heads_);
    for (float** x : {&km_, &qm_, &r_, &o_}) *x = arena.New<float>(rows_ * width_);
    for (float** x : {&km_inv_, &qm_inv_, &r_inv_}) *x = arena.New<float>(rows_ * heads_);
    MakePlan();
    MakeCore();
  }

  Var* y() const { return y_; }
  Var* means() const { return means_; }
  const std::shared_ptr<TitansMemoryPass>& memory() const { return memory_; }
  bool has_blocks() const { return !blocks_.empty(); }

  void ForwardMemory() {
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      Titans().gates(gates_->value + t * 3 * heads_, params_.gate_bias.value, n, heads_,
                     act_ + t * 3 * heads_, log_keep_ + t * heads_);
      for (int64_t row = t; row < t + n; ++row) {
        const float* at = proj_->value + row * 4 * width_;
        GatedDelta().l2norm(at + width_, heads_, km_ + row * width_, km_inv_ + row * heads_);
        GatedDelta().l2norm(at + 3 * width_, heads_, qm_ + row * width_, qm_inv_ + row * heads_);
      }
    });
    if (Reads()) {
      memory_->ReadForward({batch_.n_seqs, options_.source, qm_, nullptr}, r_);
    } else {
      memory_ = std::make_shared<TitansMemoryPass>(
          tape_, batch_, shape_, params_.w1, params_.w2, options_.use, options_.first_order, plan_,
          TitansMemoryInput{km_, proj_->value + 2 * width_, 4 * width_, act_});
      memory_->Forward(qm_, r_);
    }
    MakeMeans();
  }

  void ForwardAttention(Var* block_kv) {
    block_kv_ = block_kv;
    core_->Forward(blocks_, block_kv == nullptr ? nullptr : block_kv->value, o_);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      Titans().head_gate(o_ + t * width_, r_ + t * width_, params_.head_norm.value, n * heads_,
                         y_->value + t * width_, r_inv_ + t * heads_);
    });
  }

  void BackwardAttention() {
    bool unused = false;
    d_proj_ = tape_->GradTarget(proj_, &unused);
    d_act_ = tape_->GradTarget(gates_, &unused);
    float* d_kv = tape_->GradTarget(kv_, &unused);
    float* d_blocks = block_kv_ == nullptr ? nullptr : tape_->GradTarget(block_kv_, &unused);
    d_r_ = New(rows_ * width_);
    float* d_o = New(rows_ * width_);
    d_log_keep_ = New(rows_ * heads_);
    Zero(d_r_, rows_ * width_);
    Zero(d_kv, kv_->size());
    if (d_blocks != nullptr) Zero(d_blocks, block_kv_->size());
    PartialSums d_norm(tape_, rows_, kHeadDim);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      const int64_t at = t * width_;
      TitansAttendTrain().head_gate_backward(o_ + at, r_ + at, params_.head_norm.value,
                                             r_inv_ + t * heads_, y_->grad + at, n * heads_,
                                             d_o + at, d_r_ + at, d_norm.Block(t));
    });
    d_norm.AddTo(params_.head_norm.grad);
    core_->Backward(o_, d_o, {d_proj_, d_kv, d_blocks, d_log_keep_});
  }

  void BackwardMemory() {
    MeansBackward();
    float* dqm = New(rows_ * width_);
    float* dkm = New(rows_ * width_);
    if (Reads()) {
      memory_->ReadBackward({batch_.n_seqs, options_.source, qm_, d_r_}, dqm);
      Zero(dkm, rows_ * width_);
      Zero(d_act_, gates_->size());
      for (int64_t row = 0; row < rows_; ++row) {
        Zero(d_proj_ + row * 4 * width_ + 2 * width_, width_);
      }
    } else {
      memory_->Backward(qm_, d_r_, dqm, {dkm, d_proj_ + 2 * width_, 4 * width_, d_act_});
    }
    PartialSums d_bias(tape_, rows_, 3 * heads_);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      if (shape_.decay_linear) AddDecay(t, n);
      const int64_t at = t * 3 * heads_;
      TitansMemoryTrain().gates_backward(act_ + at, d_act_ + at, n, heads_, d_act_ + at,
                                         d_bias.Block(t));
      for (int64_t row = t; row < t + n; ++row) {
        float* d_row = d_proj_ + row * 4 * width_;
        GatedDeltaTrain().l2norm_backward(km_ + row * width_, km_inv_ + row * heads_,
                                          dkm + row * width_, heads_, d_row + width_);
        GatedDeltaTrain().l2norm_backward(qm_ + row * width_, qm_inv_ + row * heads_,
                                          dqm + row * width_, heads_, d_row + 3 * width_);
      }
    });
    d_bias.AddTo(params_.gate_bias.grad);
  }

 private:
  bool Reads() const { return options_.use == TitansUse::kReadOnly; }
  float* New(int64_t n) { return tape_->arena().New<float>(n); }
  static void Zero(float* x, int64_t n) {
    std::memset(x, 0, static_cast<size_t>(n) * sizeof(float));
  }

  void MakePlan() {
    std::vector<int64_t> positions(static_cast<size_t>(batch_.n_seqs));
    if (Reads()) {
      CHIMERA_CHECK(options_.memory != nullptr);
      memory_ = options_.memory;
      const TitansPlan& from = memory_->plan();
      for (int s = 0; s < batch_.n_seqs; ++s) {
        const int source = options_.source == nullptr ? s : options_.source[s];
        positions[static_cast<size_t>(s)] = from.position(memory_->batch().Row(source));
      }
    } else {
      for (int s = 0; s < batch_.n_seqs; ++s) {
        positions[static_cast<size_t>(s)] = TitansPosition(batch_.MemoryStart(s));
      }
    }
    plan_ = std::make_shared<const TitansPlan>(batch_, positions);
  }

  void MakeCore() {
    const TitansCoreInput input = {
        tape_, batch_, shape_,    plan_, params_.persistent_k, params_.persistent_v,
        proj_, kv_,    log_keep_, r_};
    core_ = shape_.decay_linear ? NewTitansDecay(input) : NewTitansAttention(input);
    if (!shape_.decay_linear) FindBlocks();
  }

  const float* RingStart(int piece) const {
    int seq = 0;
    while (plan_->piece_end(seq) <= piece) ++seq;
    return batch_.Start(seq);
  }

  void FindBlocks() {
    for (int p = 0; p < static_cast<int>(plan_->pieces().size()); ++p) {
      const TitansPiece& piece = plan_->pieces()[static_cast<size_t>(p)];
      float carried = 0;
      if (piece.carried) {
        const auto header = ReadHeader<TitansRingHeader>(RingStart(p));
        carried = static_cast<float>(header.block_count);
        if (header.block_count > 0 && header.block != piece.position / kTitansChunk) {
          blocks_.push_back({p, header.block, piece.row, 0, carried});
          carried = 0;
        }
      }
      for (int c = piece.chunk_begin; c + 1 < piece.chunk_end; ++c) {
        const TitansChunk& chunk = plan_->chunk(c);
        blocks_.push_back({p, chunk.position / kTitansChunk, chunk.row, chunk.n, carried});
        carried = 0;
      }
    }
  }

  // means_ [blocks][width]: the mean of r over each finished block.
  void MakeMeans() {
    if (blocks_.empty()) return;
    means_ = tape_->New(static_cast<int64_t>(blocks_.size()), width_);
    for (size_t b = 0; b < blocks_.size(); ++b) {
      const TitansBlock& block = blocks_[b];
      float* mean = means_->value + static_cast<int64_t>(b) * width_;
      if (block.carried > 0) {
        std::memcpy(mean, RingStart(block.piece) + kTitansHeader,
                    static_cast<size_t>(width_) * sizeof(float));
      } else {
        Zero(mean, width_);
      }
      for (int64_t row = block.row; row < block.row + block.n; ++row) {
        for (int i = 0; i < width_; ++i) mean[i] = mean[i] + r_[row * width_ + i];
      }
      for (int i = 0; i < width_; ++i) mean[i] = mean[i] * Part(block);
    }
  }
  static float Part(const TitansBlock& block) {
    return 1.0f / (static_cast<float>(block.n) + block.carried);
  }

  void MeansBackward() {
    if (means_ == nullptr || !means_->has_grad) return;
    for (size_t b = 0; b < blocks_.size(); ++b) {
      const TitansBlock& block = blocks_[b];
      const float* d = means_->grad + static_cast<int64_t>(b) * width_;
      for (int64_t row = block.row; row < block.row + block.n; ++row) {
        for (int i = 0; i < width_; ++i) d_r_[row * width_ + i] += d[i] * Part(block);
      }
    }
  }

  // log_keep = log(1 - alpha)
  void AddDecay(int64_t t, int64_t n) {
    for (int64_t row = t; row < t + n; ++row) {
      for (int h = 0; h < heads_; ++h) {
        const int64_t at = row * 3 * heads_ + 2 * heads_ + h;
        d_act_[at] -= d_log_keep_[row * heads_ + h] / (1.0f - act_[at]);
      }
    }
  }

  Tape* tape_;
  ExecContext* exec_;
  TrainBatch batch_;
  TitansParams params_;
  TitansShape shape_;
  TitansOptions options_;
  int heads_, width_;
  int64_t rows_;
  Var *proj_, *kv_, *gates_, *y_;
  Var* means_ = nullptr;
  Var* block_kv_ = nullptr;
  std::shared_ptr<const TitansPlan> plan_;
  std::shared_ptr<TitansMemoryPass> memory_;
  std::unique_ptr<TitansCore> core_;
  std::vector<TitansBlock> blocks_;
  float *act_, *log_keep_;     // squashed gates [rows][3 * heads], log(1 - alpha)
  float *km_, *qm_, *r_, *o_;  // [rows][width]
  float *km_inv_, *qm_inv_, *r_inv_;
  float *d_proj_ = nullptr, *d_act_ = nullptr, *d_r_ = nullptr, *d_log_keep_ = nullptr;
};

}  // namespace

TitansOutput TitansMixer(Tape* tape, const TrainBatch& batch, const TitansParams& params,
                         const TitansOptions& options, Var* proj, Var* kv, Var* gates,
                         const TitansProjectKv& project_kv) {
  auto op = std::make_shared<TitansOp>(tape, batch, params, options, proj, kv, gates);
  op->ForwardMemory();
  tape->OnBackward([op] { op->BackwardMemory(); });
  op->ForwardAttention(op->has_blocks() ? project_kv(op->means()) : nullptr);
  tape->OnBackward([op] { op->BackwardAttention(); });
  return {op->y(), op->memory()};
}

}  // namespace chimera
