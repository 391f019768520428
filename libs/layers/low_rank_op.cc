#include "layers/low_rank_op.h"

#include <cstring>

#include "base/check.h"
#include "layers/low_rank.h"
#include "layers/token_blocks.h"
#include "tensor/matmul.h"

namespace chimera {
namespace {

// out[i] = scale * x[i] over [tokens][16].
float* Scaled(Tape* tape, const float* x, int64_t tokens, float scale) {
  float* out = tape->arena().New<float>(tokens * kLowRank);
  for (int64_t i = 0; i < tokens * kLowRank; ++i) out[i] = scale * x[i];
  return out;
}

class LowRankOp {
 public:
  LowRankOp(Tape* tape, Var* x, const LowRankParam& param, std::vector<Var*> outputs)
      : tape_(tape),
        x_(x),
        param_(param),
        outputs_(std::move(outputs)),
        scale_(param.ramp * param.gate.value[0]) {}

  void Forward() {
    h_ = tape_->arena().New<float>(x_->rows * kLowRank);
    ParallelMatmul(tape_->exec(),
                   {.m = x_->rows,
                    .n = kLowRank,
                    .k = x_->cols,
                    .lda = x_->cols,
                    .ldb = x_->cols,
                    .ldc = kLowRank,
                    .trans_b = true},
                   x_->value, param_.a.value, h_);
    // Scaled before the second product, as serving does.
    scaled_ = Scaled(tape_, h_, x_->rows, scale_);
    int64_t row = 0;
    for (Var* y : outputs_) {
      ParallelMatmul(tape_->exec(),
                     {.m = y->rows,
                      .n = y->cols,
                      .k = kLowRank,
                      .lda = kLowRank,
                      .ldb = kLowRank,
                      .ldc = y->cols,
                      .trans_b = true,
                      .accumulate = true},
                     scaled_, param_.b.value + row * kLowRank, y->value);
      row += y->cols;
    }
    CHIMERA_CHECK(row == param_.b.rows);
  }

  void Backward() {
    float* up = UpGradient();
    if (up == nullptr) return;
    const int64_t n = x_->rows * kLowRank;
    if (param_.gate_learns) {
      double sum = 0.0;
      for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(up[i]) * h_[i];
      param_.gate.grad[0] += param_.ramp * static_cast<float>(sum);
    }
    const float* dh = Scaled(tape_, up, x_->rows, scale_);
    ParallelMatmul(tape_->exec(),
                   {.m = kLowRank,
                    .n = x_->cols,
                    .k = x_->rows,
                    .lda = kLowRank,
                    .ldb = x_->cols,
                    .ldc = x_->cols,
                    .trans_a = true,
                    .accumulate = true},
                   dh, x_->value, param_.a.grad);
    bool accumulate = false;
    float* dx = tape_->GradTarget(x_, &accumulate);
    ParallelMatmul(tape_->exec(),
                   {.m = x_->rows,
                    .n = x_->cols,
                    .k = kLowRank,
                    .lda = kLowRank,
                    .ldb = x_->cols,
                    .ldc = x_->cols,
                    .accumulate = accumulate},
                   dh, param_.a.value, dx);
  }

 private:
  // dY B over all outputs, [tokens][16], and B's gradient; null when no output has a gradient.
  float* UpGradient() {
    float* up = nullptr;
    int64_t row = 0;
    for (const Var* y : outputs_) {
      const int64_t begin = row;
      row += y->cols;
      if (!y->has_grad) continue;
      const bool accumulate = up != nullptr;
      if (!accumulate) up = tape_->arena().New<float>(x_->rows * kLowRank);
      ParallelMatmul(tape_->exec(),
                     {.m = y->rows,
                      .n = kLowRank,
                      .k = y->cols,
                      .lda = y->cols,
                      .ldb = kLowRank,
                      .ldc = kLowRank,
                      .accumulate = accumulate},
                     y->grad, param_.b.value + begin * kLowRank, up);
      ParallelMatmul(tape_->exec(),
                     {.m = y->cols,
                      .n = kLowRank,
                      .k = y->rows,
                      .lda = y->cols,
                      .ldb = kLowRank,
                      .ldc = kLowRank,
                      .trans_a = true,
                      .accumulate = true},
                     y->grad, scaled_, param_.b.grad + begin * kLowRank);
    }
    return up;
  }

  Tape* tape_;
  Var* x_;
  const LowRankParam param_;
  const std::vector<Var*> outputs_;
  const float scale_;
  float* h_ = nullptr;       // A x
  float* scaled_ = nullptr;  // ramp * gate * A x
};

}  // namespace

void AddLowRank(Tape* tape, Var* x, const LowRankParam& param, const std::vector<Var*>& outputs) {
  CHIMERA_CHECK(param.a.rows == kLowRank && param.a.cols == x->cols && param.b.cols == kLowRank);
  auto op = std::make_shared<LowRankOp>(tape, x, param, outputs);
  op->Forward();
  tape->OnBackward([op] { op->Backward(); });
}

}  // namespace chimera
