#include "layers/moe_op.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "base/check.h"
#include "layers/linear_operand.h"
#include "layers/moe.h"
#include "layers/rms_norm.h"
#include "layers/swiglu.h"
#include "layers/token_blocks.h"
#include "tensor/kernels.h"
#include "tensor/matmul.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

// An expert's share of slots is padded with zero rows: products come in few heights, and the matrix
// library keeps one compiled product for each shape it ever met.
constexpr int kSlotAlign = 32;

// Up to kTokenBlock slots of one expert, the unit of work.
struct SlotBlock {
  int expert;
  int64_t begin;
  int64_t n;
};

void Product(const MatmulShape& shape, const Operand& a, const Operand& b, float* c) {
  if (a.bf16 != nullptr && b.bf16 != nullptr) {
    MatmulBf16(shape, a.bf16, b.bf16, c);
  } else {
    Matmul(shape, a.f32, b.f32, c);
  }
}

// One application: what the forward leaves stays in the tape's arena for the backward.
class MoeOp {
 public:
  MoeOp(Tape* tape, const LinearInput& input, Var* shared, const MoeParams& params)
      : tape_(tape),
        exec_(tape->exec()),
        input_(input),
        shared_(shared),
        params_(params),
        quantized_(input.q != nullptr),
        rows_(input.normed->rows),
        d_(static_cast<int>(input.normed->cols)),
        hidden_(params.d_expert()),
        experts_(params.n_routed()),
        slots_(MoeSlots(rows_, experts_, kSlotAlign)),
        y_(tape->New(rows_, d_)) {
    const LinearParam &in = *params.w_in, &down = *params.w_out;
    CHIMERA_CHECK(in.quantized == quantized_ && down.quantized == quantized_);
    CHIMERA_CHECK(params.router.cols == d_ && params.gain.rows == experts_);
    CHIMERA_CHECK(in.param.rows == experts_ * 2 * hidden_ && in.param.cols == d_);
    CHIMERA_CHECK(down.param.rows == experts_ * d_ && down.param.cols == hidden_);
    CHIMERA_CHECK(d_ % kActBlock == 0 && hidden_ % kActBlock == 0 && experts_ >= kMoePicks);
    Arena& arena = tape->arena();
    scores_ = arena.New<float>(rows_ * experts_);
    dispatch_ = {arena.New<int32_t>(experts_ + 1), arena.New<int32_t>(experts_),
                 arena.New<int32_t>(slots_), arena.New<float>(slots_),
                 arena.New<int32_t>(rows_ * kMoePicks)};
  }

  Var* y() const { return y_; }

  void Forward(int64_t* picks) {
    Route(picks);
    x_ = NewSide(d_);
    hid_ = NewSide(hidden_);
    h_ = tape_->arena().New<float>(slots_ * 2 * hidden_);
    act_ = tape_->arena().New<float>(slots_ * hidden_);
    inv_ = tape_->arena().New<float>(slots_);
    out_ = tape_->arena().New<float>(slots_ * d_);
    ForBlocks([&](const SlotBlock& block) {
      if (quantized_) {
        QuantisedExpert(block);
      } else {
        FloatExpert(block);
      }
    });
    Combine();
  }

  void Backward() {
    if (!y_->has_grad) return;
    Arena& arena = tape_->arena();
    bf16_ = quantized_ && HasFastBf16();
    gain_grads_ = arena.New<float>(static_cast<int64_t>(blocks_.size()) * hidden_);
    d_hidden_ = arena.New<float>(slots_ * hidden_);
    d_x_ = arena.New<float>(slots_ * d_);
    d_weights_ = arena.New<float>(slots_);
    x_seen_ = Seen(x_, d_);
    hid_seen_ = Seen(hid_, hidden_);
    d_out_ = NewGrad(out_, d_);
    d_h_ = NewGrad(h_, 2 * hidden_);
    ForBlocks([&](const SlotBlock& block) { BlockBackward(block); });
    WeightsBackward();
    InputBackward();
    if (shared_ != nullptr) tape_->PassGrad(y_, shared_);
  }

 private:
  // Rows of one product's input, gathered by slot: int8 with scales and sums, or floats.
  struct Side {
    int8_t* q = nullptr;
    float* s = nullptr;
    int32_t* sums = nullptr;
    float* f32 = nullptr;
  };

  Side NewSide(int cols) {
    Arena& arena = tape_->arena();
    const int64_t blocks = slots_ * (cols / kActBlock);
    Side side;
    if (quantized_) {
      side.q = arena.New<int8_t>(slots_ * cols);
      side.s = arena.New<float>(blocks);
      side.sums = arena.New<int32_t>(blocks);
    }
    if (!quantized_ || cols == hidden_) side.f32 = arena.New<float>(slots_ * cols);
    return side;
  }

  template <typename Body>
  void ForBlocks(const Body& body) {
    exec_->ParallelFor(static_cast<int64_t>(blocks_.size()),
                       [&](int64_t i) { body(blocks_[static_cast<size_t>(i)]); });
  }

  void Route(int64_t* picks) {
    const float* x = input_.normed->value;
    int32_t* picked = tape_->arena().New<int32_t>(rows_ * kMoePicks);
    float* weights = tape_->arena().New<float>(rows_ * kMoePicks);
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      float* scores = scores_ + t * experts_;
      Moe().scores(x + t * d_, params_.router.value, n, experts_, d_, scores);
      Moe().select(scores, params_.bias, n, experts_, params_.scale, picked + t * kMoePicks,
                   weights + t * kMoePicks);
    });
    DispatchTokens(picked, weights, rows_, experts_, kSlotAlign, dispatch_);
    for (int e = 0; e < experts_; ++e) {
      if (picks != nullptr) picks[e] += dispatch_.count[e];
      first_block_.push_back(blocks_.size());
      for (int64_t at = dispatch_.begin[e]; at < dispatch_.begin[e + 1]; at += kTokenBlock) {
        blocks_.push_back({e, at, std::min(kTokenBlock, dispatch_.begin[e + 1] - at)});
      }
    }
    first_block_.push_back(blocks_.size());
  }

  static TernaryView View(const LinearParam& w, int expert, int rows) {
    return ExpertRows({w.codes.data(), w.scales.data(), w.param.rows, w.param.cols}, expert, rows);
  }

  void QuantisedExpert(const SlotBlock& b) {
    const int n = static_cast<int>(b.n);
    const int64_t scales = d_ / kActBlock;
    const int32_t* rows = dispatch_.rows + b.begin;
    int8_t* q = x_.q + b.begin * d_;
    float* s = x_.s + b.begin * scales;
    int32_t* sums = x_.sums + b.begin * scales;
    MoeGather(input_.q, static_cast<size_t>(d_), rows, n, q);
    MoeGather(input_.s, static_cast<size_t>(scales) * sizeof(float), rows, n, s);
    MoeGather(input_.sums, static_cast<size_t>(scales) * sizeof(int32_t), rows, n, sums);
    TernaryGemm(View(*params_.w_in, b.expert, 2 * hidden_), 0, RowTiles(2 * hidden_), n, q, s, sums,
                h_ + b.begin * 2 * hidden_, 2 * hidden_);
    Hidden(b);
    const int64_t hidden_scales = b.begin * (hidden_ / kActBlock);
    QuantizeActivations(hid_.f32 + b.begin * hidden_, n, hidden_, hid_.q + b.begin * hidden_,
                        hid_.s + hidden_scales, hid_.sums + hidden_scales);
    TernaryGemm(View(*params_.w_out, b.expert, d_), 0, RowTiles(d_), n, hid_.q + b.begin * hidden_,
                hid_.s + hidden_scales, hid_.sums + hidden_scales, out_ + b.begin * d_, d_);
  }

  void FloatExpert(const SlotBlock& b) {
    MoeGather(input_.normed->value, static_cast<size_t>(d_) * sizeof(float),
              dispatch_.rows + b.begin, b.n, x_.f32 + b.begin * d_);
    Matmul({.m = b.n,
            .n = 2 * hidden_,
            .k = d_,
            .lda = d_,
            .ldb = d_,
            .ldc = 2 * hidden_,
            .trans_b = true},
           x_.f32 + b.begin * d_, params_.w_in->param.value + InAt(b.expert),
           h_ + b.begin * 2 * hidden_);
    Hidden(b);
    Matmul({.m = b.n,
            .n = d_,
            .k = hidden_,
            .lda = hidden_,
            .ldb = hidden_,
            .ldc = d_,
            .trans_b = true},
           hid_.f32 + b.begin * hidden_, params_.w_out->param.value + OutAt(b.expert),
           out_ + b.begin * d_);
  }

  // SubLN(SiLU(gate) * up).
  void Hidden(const SlotBlock& b) {
    for (int64_t slot = b.begin; slot < b.begin + b.n; ++slot) {
      const float* gate = h_ + slot * 2 * hidden_;
      Swiglu().forward(gate, gate + hidden_, hidden_, act_ + slot * hidden_);
    }
    RmsNorm().forward(act_ + b.begin * hidden_, Gain(b.expert), static_cast<int>(b.n), hidden_,
                      hid_.f32 + b.begin * hidden_, inv_ + b.begin);
  }

  void Combine() {
    ForTokens(exec_, rows_, [&](int64_t t, int64_t n) {
      float* y = y_->value + t * d_;
      const size_t bytes = static_cast<size_t>(n * d_) * sizeof(float);
      if (shared_ != nullptr) {
        std::memcpy(y, shared_->value + t * d_, bytes);
      } else {
        std::memset(y, 0, bytes);
      }
      for (int64_t i = t * kMoePicks; i < (t + n) * kMoePicks; ++i) {
        const int64_t slot = dispatch_.slots[i];
        Moe().add_scaled(out_ + slot * d_, dispatch_.weights[slot], d_,
                         y_->value + i / kMoePicks * d_);
      }
    });
  }

  // Offsets of an expert's matrices, its SubLN.
  int64_t InAt(int expert) const { return int64_t{expert} * 2 * hidden_ * d_; }
  int64_t OutAt(int expert) const { return int64_t{expert} * d_ * hidden_; }
  const float* Gain(int expert) const { return params_.gain.value + int64_t{expert} * hidden_; }

  // What the forward product saw, block by block: s * q, or the floats.
  Operand Seen(const Side& side, int cols) {
    if (!quantized_) return {side.f32, nullptr};
    uint16_t* bf16 = bf16_ ? tape_->arena().New<uint16_t>(slots_ * cols) : nullptr;
    float* f32 = bf16_ ? nullptr : tape_->arena().New<float>(slots_ * cols);
    ForBlocks([&](const SlotBlock& b) {
      const int8_t* q = side.q + b.begin * cols;
      const float* s = side.s + b.begin * (cols / kActBlock);
      if (bf16_) {
        DequantizeActivationsBf16(q, s, static_cast<int>(b.n), cols, bf16 + b.begin * cols);
      } else {
        DequantizeActivations(q, s, static_cast<int>(b.n), cols, f32 + b.begin * cols);
      }
    });
    return {f32, bf16};
  }

  // A gradient by slot, and its bf16 form when products take that.
  struct Grad {
    float* f32;
    uint16_t* bf16;
    Operand operand() const { return {bf16 == nullptr ? f32 : nullptr, bf16}; }
  };
  // The buffer of a value is free for its gradient: nothing reads the value afterwards.
  Grad NewGrad(float* buffer, int cols) {
    return {buffer, bf16_ ? tape_->arena().New<uint16_t>(slots_ * cols) : nullptr};
  }
  static void Convert(const Grad& grad, const SlotBlock& b, int64_t cols) {
    if (grad.bf16 == nullptr) return;
    Kernels().to_bf16(grad.f32 + b.begin * cols, b.n * cols, grad.bf16 + b.begin * cols);
  }

  // dX = dY W of one block and expert: W is [from][to], rows from * expert on.
  static void Back(const SlotBlock& b, const Grad& dy, const LinearParam& w, int from, int to,
                   float* dx) {
    Product({.m = b.n, .n = to, .k = from, .lda = from, .ldb = to, .ldc = to},
            Sub(dy.operand(), b.begin * from), Sub(WeightOperand(w), int64_t{b.expert} * from * to),
            dx + b.begin * to);
  }

  // From dy to the gradients of a block's two products and of its gathered input.
  void BlockBackward(const SlotBlock& b) {
    for (int64_t slot = b.begin; slot < b.begin + b.n; ++slot) {
      float* out = out_ + slot * d_;
      if (dispatch_.rows[slot] < 0) {
        std::memset(out, 0, static_cast<size_t>(d_) * sizeof(float));
        continue;
      }
      d_weights_[slot] = Moe().add_scaled_backward(
          out, dispatch_.weights[slot], y_->grad + int64_t{dispatch_.rows[slot]} * d_, d_, out);
    }
    Convert(d_out_, b, d_);
    Back(b, d_out_, *params_.w_out, d_, hidden_, d_hidden_);
    float* d_hidden = d_hidden_ + b.begin * hidden_;
    const int64_t index = &b - blocks_.data();
    float* d_gain = gain_grads_ + index * hidden_;
    std::memset(d_gain, 0, static_cast<size_t>(hidden_) * sizeof(float));
    RmsNorm().backward(act_ + b.begin * hidden_, Gain(b.expert), inv_ + b.begin, d_hidden,
                       static_cast<int>(b.n), hidden_, d_hidden, d_gain);
    for (int64_t slot = b.begin; slot < b.begin + b.n; ++slot) {
      float* gate = h_ + slot * 2 * hidden_;
      float* up = gate + hidden_;
      Swiglu().backward(gate, up, d_hidden_ + slot * hidden_, hidden_, gate, up);
    }
    Convert(d_h_, b, 2 * hidden_);
    Back(b, d_h_, *params_.w_in, 2 * hidden_, d_, d_x_);
  }

  // dW += dY^T X over the blocks of an expert, in order; one task a matrix.
  void WeightsBackward() {
    exec_->ParallelFor(2 * experts_, [&](int64_t task) {
      const int expert = static_cast<int>(task / 2);
      const bool in = task % 2 == 0;
      const int from = in ? d_ : hidden_, to = in ? 2 * hidden_ : d_;
      const Operand dy = (in ? d_h_ : d_out_).operand();
      const Operand& x = in ? x_seen_ : hid_seen_;
      float* dw =
          in ? params_.w_in->param.grad + InAt(expert) : params_.w_out->param.grad + OutAt(expert);
      float* d_gain = params_.gain.grad + int64_t{expert} * hidden_;
      for (size_t i = first_block_[size_t(expert)]; i < first_block_[size_t(expert) + 1]; ++i) {
        const SlotBlock& b = blocks_[i];
        Product({.m = to,
                 .n = from,
                 .k = b.n,
                 .lda = to,
                 .ldb = from,
                 .ldc = from,
                 .trans_a = true,
                 .accumulate = true},
                Sub(dy, b.begin * to), Sub(x, b.begin * from), dw);
        if (in) continue;
        const float* part = gain_grads_ + static_cast<int64_t>(i) * hidden_;
        Kernels().add(d_gain, part, hidden_, d_gain);
      }
    });
  }

  // The gradient of the input: through the two experts of a token, then through the router.
  void InputBackward() {
    bool accumulate = false;
    float* dx = tape_->GradTarget(input_.normed, &accumulate);
    float* d_logits = tape_->arena().New<float>(rows_ * experts_);
    ForTokens(exec_, rows_, [&](int64_t first, int64_t n) {
      for (int64_t t = first; t < first + n; ++t) {
        const int32_t* slots = dispatch_.slots + t * kMoePicks;
        const float* one = d_x_ + int64_t{slots[0]} * d_;
        const float* two = d_x_ + int64_t{slots[1]} * d_;
        float* row = dx + t * d_;
        if (accumulate) {
          Kernels().add(row, one, d_, row);
          Kernels().add(row, two, d_, row);
        } else {
          Kernels().add(one, two, d_, row);
        }
        LogitGrads(t, d_logits + t * experts_);
      }
    });
    const float *x = input_.normed->value, *router = params_.router.value;
    ParallelMatmul(exec_,
                   {.m = rows_,
                    .n = d_,
                    .k = experts_,
                    .lda = experts_,
                    .ldb = d_,
                    .ldc = d_,
                    .accumulate = true},
                   d_logits, router, dx);
    ParallelMatmul(exec_,
                   {.m = experts_,
                    .n = d_,
                    .k = rows_,
                    .lda = experts_,
                    .ldb = d_,
                    .ldc = d_,
                    .trans_a = true,
                    .accumulate = true},
                   d_logits, x, params_.router.grad);
  }

  // dl_i = R (dw_i / Z - sum_j dw_j s_j / Z^2) s_i (1 - s_i) of the two picks (6.2).
  void LogitGrads(int64_t t, float* d_logits) const {
    std::memset(d_logits, 0, static_cast<size_t>(experts_) * sizeof(float));
    const float* scores = scores_ + t * experts_;
    float dw[kMoePicks], s[kMoePicks];
    int expert[kMoePicks];
    for (int pick = 0; pick < kMoePicks; ++pick) {
      const int32_t slot = dispatch_.slots[t * kMoePicks + pick];
      dw[pick] = d_weights_[slot];
      expert[pick] = ExpertOf(slot);
      s[pick] = scores[expert[pick]];
    }
    const float z = s[0] + s[1] + 1e-20f;
    const float along = (dw[0] * (s[0] / z) + dw[1] * (s[1] / z)) / z;
    for (int pick = 0; pick < kMoePicks; ++pick) {
      const float ds = params_.scale * (dw[pick] / z - along);
      d_logits[expert[pick]] = ds * s[pick] * (1.0f - s[pick]);
    }
  }

  int ExpertOf(int32_t slot) const {
    return static_cast<int>(
        std::upper_bound(dispatch_.begin, dispatch_.begin + experts_ + 1, slot) - dispatch_.begin -
        1);
  }

  Tape* tape_;
  ExecContext* exec_;
  LinearInput input_;
  Var* shared_;
  MoeParams params_;
  bool quantized_;
  int64_t rows_;
  int d_, hidden_, experts_;
  int64_t slots_;
  Var* y_;
  float* scores_;  // [rows][experts]
  MoeDispatch dispatch_{};
  std::vector<SlotBlock> blocks_;    // experts ascending
  std::vector<size_t> first_block_;  // [experts + 1]
  Side x_, hid_;                     // inputs of the two products
  float* h_ = nullptr;               // [slots][2 * d_expert]; then its gradient
  float* act_ = nullptr;             // [slots][d_expert], before SubLN
  float* inv_ = nullptr;             // [slots]
  float* out_ = nullptr;             // [slots][d_model]; then its gradient
  bool bf16_ = false;
  Operand x_seen_, hid_seen_;
  Grad d_out_{}, d_h_{};
  float* d_hidden_ = nullptr;    // [slots][d_expert]
  float* d_x_ = nullptr;         // [slots][d_model]
  float* d_weights_ = nullptr;   // [slots]
  float* gain_grads_ = nullptr;  // [blocks][d_expert]
};

}  // namespace

Var* MoeExperts(Tape* tape, const LinearInput& input, Var* shared, const MoeParams& params,
                int64_t* picks) {
  auto op = std::make_shared<MoeOp>(tape, input, shared, params);
  op->Forward(picks);
  tape->OnBackward([op] { op->Backward(); });
  return op->y();
}

}  // namespace chimera
