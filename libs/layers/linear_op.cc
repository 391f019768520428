#include "layers/linear_op.h"

#include <algorithm>

#include "base/check.h"
#include "layers/linear_operand.h"
#include "layers/rms_norm.h"
#include "layers/token_blocks.h"
#include "tensor/kernels.h"
#include "tensor/matmul.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

constexpr int64_t kTilesPerTask = 8;

// Runs body(first_tile, last_tile) over the row tiles of a matrix, cut by shape only.
template <typename Body>
void ForTiles(ExecContext* exec, int rows, const Body& body) {
  const int64_t tiles = RowTiles(rows);
  exec->ParallelFor((tiles + kTilesPerTask - 1) / kTilesPerTask, [&](int64_t task) {
    const int64_t begin = task * kTilesPerTask;
    body(static_cast<int>(begin), static_cast<int>(std::min(tiles, begin + kTilesPerTask)));
  });
}

void Product(ExecContext* exec, const MatmulShape& shape, const Operand& a, const Operand& b,
             float* c) {
  if (a.bf16 != nullptr && b.bf16 != nullptr) {
    ParallelMatmulBf16(exec, shape, a.bf16, b.bf16, c);
  } else {
    ParallelMatmul(exec, shape, a.f32, b.f32, c);
  }
}

// dY of one output as an operand.
Operand GradOperand(Tape* tape, const Var* y, bool bf16) {
  Operand operand{y->grad, nullptr};
  if (!bf16) return operand;
  uint16_t* converted = tape->arena().New<uint16_t>(y->size());
  ForTokens(tape->exec(), y->rows, [&](int64_t begin, int64_t n) {
    Kernels().to_bf16(y->grad + begin * y->cols, n * y->cols, converted + begin * y->cols);
  });
  operand.bf16 = converted;
  return operand;
}

// factor times what the forward saw: s * q, or the normed floats when nothing is quantised (factor
// 1).
Operand InputOperand(Tape* tape, LinearInput input, float factor, bool bf16) {
  const Var& x = *input.normed;
  if (input.q == nullptr) return {x.value, nullptr};
  const int64_t blocks = x.cols / kActBlock;
  const int cols = static_cast<int>(x.cols);
  if (factor != 1.0f) {
    float* s = tape->arena().New<float>(x.rows * blocks);
    for (int64_t i = 0; i < x.rows * blocks; ++i) s[i] = factor * input.s[i];
    input.s = s;
  }
  if (bf16) {
    uint16_t* out = tape->arena().New<uint16_t>(x.size());
    ForTokens(tape->exec(), x.rows, [&](int64_t t, int64_t n) {
      DequantizeActivationsBf16(input.q + t * cols, input.s + t * blocks, static_cast<int>(n), cols,
                                out + t * cols);
    });
    return {nullptr, out};
  }
  float* out = tape->arena().New<float>(x.size());
  ForTokens(tape->exec(), x.rows, [&](int64_t t, int64_t n) {
    DequantizeActivations(input.q + t * cols, input.s + t * blocks, static_cast<int>(n), cols,
                          out + t * cols);
  });
  return {out, nullptr};
}

// dX (+)= dY W and dW += dY^T X for one output.
void LinearBackward(Tape* tape, const LinearInput& input, const Operand& x, const Operand& w,
                    const Var* y, int64_t row_begin, float* weight_grad) {
  const int64_t cols = input.normed->cols;
  const Operand dy = GradOperand(tape, y, x.bf16 != nullptr && w.bf16 != nullptr);
  bool accumulate = false;
  float* dx = tape->GradTarget(input.normed, &accumulate);
  Product(tape->exec(),
          {.m = y->rows,
           .n = cols,
           .k = y->cols,
           .lda = y->cols,
           .ldb = cols,
           .ldc = cols,
           .accumulate = accumulate},
          dy, Sub(w, row_begin * cols), dx);
  Product(tape->exec(),
          {.m = y->cols,
           .n = cols,
           .k = y->rows,
           .lda = y->cols,
           .ldb = cols,
           .ldc = cols,
           .trans_a = true,
           .accumulate = true},
          dy, x, weight_grad + row_begin * cols);
}

// The map's residual and ramp, from where the run is.
void TakeProgress(LinearParam* linear) {
  const QuantProgress now = linear->progress == nullptr ? QuantProgress() : *linear->progress;
  linear->residual = linear->sherry ? now.residual : 0.0f;
  linear->low_rank.ramp = now.gate_ramp;
  linear->low_rank.gate_learns = now.gate_learns;
}

// Rows of the tiles as backward products take them: mu t + lambda W.
void ResidualBack(const TernaryView& view, int begin, int end, LinearParam* linear) {
  DequantizeWeights(view, begin, end, linear->back_float.data());
  const int64_t first = int64_t{begin} * kRowTile * view.cols;
  const int64_t last = std::min(end * kRowTile, view.rows) * int64_t{view.cols};
  float* back = linear->back_float.data();
  for (int64_t i = first; i < last; ++i) back[i] += linear->residual * linear->param.value[i];
  if (HasFastBf16()) {
    Kernels().to_bf16(back + first, last - first, linear->back_bf16.data() + first);
  }
}

// y += lambda * W x for every output, x as quantised.
void AddResidual(Tape* tape, const LinearInput& input, const LinearParam& weight,
                 const std::vector<Var*>& outputs) {
  const Operand x = InputOperand(tape, input, weight.residual, false);
  const int64_t cols = input.normed->cols;
  int64_t row = 0;
  for (Var* y : outputs) {
    ParallelMatmul(tape->exec(),
                   {.m = y->rows,
                    .n = y->cols,
                    .k = cols,
                    .lda = cols,
                    .ldb = cols,
                    .ldc = y->cols,
                    .trans_b = true,
                    .accumulate = true},
                   x.f32, weight.param.value + row * cols, y->value);
    row += y->cols;
  }
}

}  // namespace

void PrepareLinear(ExecContext* exec, LinearParam* linear) {
  if (!linear->quantized) return;
  TakeProgress(linear);
  const int rows = linear->param.rows, cols = linear->param.cols;
  linear->codes.resize(TernaryCodeBytes(rows, cols));
  linear->scales.resize(TernaryScaleCount(rows, cols));
  const size_t size = static_cast<size_t>(rows) * static_cast<size_t>(cols);
  linear->back_bf16.resize(HasFastBf16() ? size : 0);
  linear->back_float.resize(HasFastBf16() && linear->residual == 0.0f ? 0 : size);
  const auto quantize = linear->sherry ? QuantizeSherry : QuantizeWeights;
  ForTiles(exec, rows, [&](int begin, int end) {
    quantize(linear->param.value, rows, cols, linear->codes.data(), linear->scales.data(), begin,
             end);
    const TernaryView view{linear->codes.data(), linear->scales.data(), rows, cols};
    if (linear->residual != 0.0f) {
      ResidualBack(view, begin, end, linear);
    } else if (HasFastBf16()) {
      DequantizeWeightsBf16(view, begin, end, linear->back_bf16.data());
    } else {
      DequantizeWeights(view, begin, end, linear->back_float.data());
    }
  });
}

LinearInput NormQuantize(Tape* tape, Var* x, const FloatParam& gamma, bool quantized) {
  const int64_t rows = x->rows, blocks = x->cols / kActBlock;
  const int cols = static_cast<int>(x->cols);
  LinearInput input;
  input.normed = tape->New(rows, cols);
  float* inv = tape->arena().New<float>(rows);
  int8_t* q = quantized ? tape->arena().New<int8_t>(rows * cols) : nullptr;
  float* s = quantized ? tape->arena().New<float>(rows * blocks) : nullptr;
  int32_t* sums = quantized ? tape->arena().New<int32_t>(rows * blocks) : nullptr;
  input.q = q;
  input.s = s;
  input.sums = sums;
  Var* normed = input.normed;
  ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
    RmsNorm().forward(x->value + t * cols, gamma.value, static_cast<int>(n), cols,
                      normed->value + t * cols, inv + t);
    if (quantized) {
      QuantizeActivations(normed->value + t * cols, static_cast<int>(n), cols, q + t * cols,
                          s + t * blocks, sums + t * blocks);
    }
  });
  tape->OnBackward([tape, x, normed, gamma, inv, rows, cols] {
    if (!normed->has_grad) return;
    PartialSums partial(tape, rows, cols);
    // dx overwrites the gradient of normed block by block, then joins what x has already.
    ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
      float* d = normed->grad + t * cols;
      RmsNorm().backward(x->value + t * cols, gamma.value, inv + t, d, static_cast<int>(n), cols, d,
                         partial.Block(t));
    });
    partial.AddTo(gamma.grad);
    tape->PassGrad(normed, x);
  });
  return input;
}

std::vector<Var*> Linear(Tape* tape, const LinearInput& input, LinearParam* weight,
                         const std::vector<int>& splits) {
  const int64_t rows = input.normed->rows;
  const int cols = weight->param.cols;
  CHIMERA_CHECK(input.normed->cols == cols && weight->quantized == (input.q != nullptr));
  std::vector<Var*> outputs;
  int64_t row_begin = 0;
  for (int width : splits) {
    Var* y = tape->New(rows, width);
    outputs.push_back(y);
    if (weight->quantized) {
      const TernaryView view{weight->codes.data(), weight->scales.data(), weight->param.rows, cols};
      const int tile = static_cast<int>(row_begin) / kRowTile;
      const int tiles = RowTiles(width);
      const int64_t blocks = cols / kActBlock;
      ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
        TernaryGemm(view, tile, tile + tiles, static_cast<int>(n), input.q + t * cols,
                    input.s + t * blocks, input.sums + t * blocks, y->value + t * width - row_begin,
                    width);
      });
    } else {
      ParallelMatmul(tape->exec(),
                     {.m = rows,
                      .n = width,
                      .k = cols,
                      .lda = cols,
                      .ldb = cols,
                      .ldc = width,
                      .trans_b = true},
                     input.normed->value, weight->param.value + row_begin * cols, y->value);
    }
    row_begin += width;
  }
  CHIMERA_CHECK(row_begin == weight->param.rows);
  if (weight->residual != 0.0f) AddResidual(tape, input, *weight, outputs);
  tape->OnBackward([tape, input, weight, outputs] {
    const Operand w = WeightOperand(*weight);
    const Operand x = InputOperand(tape, input, 1.0f + weight->residual, w.bf16 != nullptr);
    int64_t begin = 0;
    for (const Var* y : outputs) {
      if (y->has_grad) LinearBackward(tape, input, x, w, y, begin, weight->param.grad);
      begin += y->cols;
    }
  });
  if (weight->low_rank.a.value != nullptr) {
    AddLowRank(tape, input.normed, weight->low_rank, outputs);
  }
  return outputs;
}

std::vector<Var*> FloatLinear(Tape* tape, const LinearInput& input, const FloatParam& weight,
                              const std::vector<int>& splits) {
  const int64_t rows = input.normed->rows, cols = weight.cols;
  std::vector<Var*> outputs;
  int64_t begin = 0;
  for (int width : splits) {
    Var* y = tape->New(rows, width);
    outputs.push_back(y);
    ParallelMatmul(
        tape->exec(),
        {.m = rows, .n = width, .k = cols, .lda = cols, .ldb = cols, .ldc = width, .trans_b = true},
        input.normed->value, weight.value + begin * cols, y->value);
    begin += width;
  }
  CHIMERA_CHECK(begin == weight.rows);
  tape->OnBackward([tape, input, weight, outputs] {
    int64_t row = 0;
    for (const Var* y : outputs) {
      if (y->has_grad) {
        LinearBackward(tape, input, {input.normed->value, nullptr}, {weight.value, nullptr}, y, row,
                       weight.grad);
      }
      row += y->cols;
    }
  });
  return outputs;
}

Var* Residual(Tape* tape, Var* x, Var* y) {
  Var* sum = tape->New(x->rows, x->cols);
  ForTokens(tape->exec(), x->rows, [&](int64_t t, int64_t n) {
    const int64_t at = t * x->cols;
    Kernels().add(x->value + at, y->value + at, n * x->cols, sum->value + at);
  });
  tape->OnBackward([tape, x, y, sum] {
    // Both share the one gradient buffer: y's producer has read it before anything is added for x.
    tape->PassGrad(sum, y);
    tape->PassGrad(sum, x);
  });
  return sum;
}

}  // namespace chimera
