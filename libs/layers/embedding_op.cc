#include "layers/embedding_op.h"

#include <algorithm>

#include "layers/token_blocks.h"
#include "tensor/kernels.h"
#include "tensor/matmul.h"
#include "ternary/grouped_rows.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

constexpr int64_t kRowsPerTask = 128;    // of the vocabulary
constexpr int64_t kColumnsPerTask = 64;  // of d_model

Int8RowsView View(const EmbeddingParam& e) {
  return {e.rows.data(), e.scales.data(), e.param.rows, e.param.cols};
}

GroupedRowsView GroupedView(const EmbeddingParam& e) {
  return {e.codes.data(), e.half_scales.data(), e.param.rows, e.param.cols, e.bits};
}

// logits[n][vocab] of n tokens starting at t.
void Logits(const LinearInput& input, const EmbeddingParam& e, int64_t t, int64_t n,
            float* logits) {
  const int64_t cols = e.param.cols, vocab = e.param.rows, blocks = cols / kActBlock;
  if (e.quantized && e.bits != 8) {
    GroupedGemm(GroupedView(e), 0, RowTiles(static_cast<int>(vocab)), static_cast<int>(n),
                input.q + t * cols, input.s + t * blocks, input.sums + t * blocks, logits, vocab);
    return;
  }
  if (e.quantized) {
    Int8Gemm(View(e), 0, RowTiles(static_cast<int>(vocab)), static_cast<int>(n), input.q + t * cols,
             input.s + t * blocks, logits, vocab);
    return;
  }
  Matmul({.m = n, .n = vocab, .k = cols, .lda = cols, .ldb = cols, .ldc = vocab, .trans_b = true},
         input.normed->value + t * cols, e.param.value, logits);
}

// Quantises rows [first, last), first a multiple of 16, and keeps what they stand for.
void RoundRows(int first, int last, EmbeddingParam* e) {
  const int vocab = e->param.rows, cols = e->param.cols;
  const int tile_begin = first / kRowTile, tile_end = RowTiles(last);
  float* back = e->back_float.data() + int64_t{first} * cols;
  if (e->bits == 8) {
    QuantizeInt8Rows(e->param.value, vocab, cols, e->rows.data(), e->scales.data(), tile_begin,
                     tile_end);
    for (int r = first; r < last; ++r, back += cols) DequantizeInt8Row(View(*e), r, back);
    return;
  }
  QuantizeGroupedRows(e->param.value, vocab, cols, e->bits, e->codes.data(), e->half_scales.data(),
                      tile_begin, tile_end);
  for (int r = first; r < last; ++r, back += cols) DequantizeGroupedRow(GroupedView(*e), r, back);
}

// dX = dL E and dE += dL^T X, in bf16 where fast and quantised, else in float.
void HeadBackward(Tape* tape, const LinearInput& input, EmbeddingParam* e, const float* d_logits) {
  Var* x = input.normed;
  const int64_t rows = x->rows, cols = x->cols, vocab = e->param.rows;
  bool accumulate = false;
  float* dx = tape->GradTarget(x, &accumulate);
  const MatmulShape to_x{.m = rows,
                         .n = cols,
                         .k = vocab,
                         .lda = vocab,
                         .ldb = cols,
                         .ldc = cols,
                         .accumulate = accumulate};
  const MatmulShape to_e{.m = vocab,
                         .n = cols,
                         .k = rows,
                         .lda = vocab,
                         .ldb = cols,
                         .ldc = cols,
                         .trans_a = true,
                         .accumulate = true};
  if (e->back_bf16.empty()) {
    const float* weight = e->quantized ? e->back_float.data() : e->param.value;
    float* seen = x->value;
    if (e->quantized) {
      seen = tape->arena().New<float>(rows * cols);
      DequantizeActivations(input.q, input.s, static_cast<int>(rows), static_cast<int>(cols), seen);
    }
    ParallelMatmul(tape->exec(), to_x, d_logits, weight, dx);
    ParallelMatmul(tape->exec(), to_e, d_logits, seen, e->param.grad);
    return;
  }
  uint16_t* d16 = tape->arena().New<uint16_t>(rows * vocab);
  uint16_t* x16 = tape->arena().New<uint16_t>(rows * cols);
  ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
    Kernels().to_bf16(d_logits + t * vocab, n * vocab, d16 + t * vocab);
    DequantizeActivationsBf16(input.q + t * cols, input.s + t * (cols / kActBlock),
                              static_cast<int>(n), static_cast<int>(cols), x16 + t * cols);
  });
  ParallelMatmulBf16(tape->exec(), to_x, d16, e->back_bf16.data(), dx);
  ParallelMatmulBf16(tape->exec(), to_e, d16, x16, e->param.grad);
}

}  // namespace

void PrepareEmbedding(ExecContext* exec, EmbeddingParam* e) {
  if (!e->quantized) return;
  const int64_t vocab = e->param.rows, cols = e->param.cols;
  if (e->bits == 8) {
    e->rows.resize(Int8RowBytes(e->param.rows, e->param.cols));
    e->scales.resize(Int8RowScaleCount(e->param.rows));
  } else {
    e->codes.resize(GroupedCodeBytes(e->bits, e->param.rows, e->param.cols));
    e->half_scales.resize(GroupedScaleCount(e->param.rows, e->param.cols));
  }
  e->back_float.resize(static_cast<size_t>(vocab * cols));
  if (HasFastBf16()) e->back_bf16.resize(static_cast<size_t>(vocab * cols));
  exec->ParallelFor((vocab + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task) {
    const int64_t first = task * kRowsPerTask, last = std::min(vocab, first + kRowsPerTask);
    RoundRows(static_cast<int>(first), static_cast<int>(last), e);
    if (HasFastBf16()) {
      Kernels().to_bf16(e->back_float.data() + first * cols, (last - first) * cols,
                        e->back_bf16.data() + first * cols);
    }
  });
}

Var* Embed(Tape* tape, EmbeddingParam* e, const int32_t* tokens, int64_t n_rows) {
  const int64_t cols = e->param.cols;
  const float* table = e->quantized ? e->back_float.data() : e->param.value;
  Var* x = tape->New(n_rows, cols);
  ForTokens(tape->exec(), n_rows, [&](int64_t t, int64_t n) {
    for (int64_t r = t; r < t + n; ++r) {
      std::memcpy(x->value + r * cols, table + tokens[r] * cols,
                  static_cast<size_t>(cols) * sizeof(float));
    }
  });
  tape->OnBackward([tape, e, tokens, n_rows, x, cols] {
    // Rows collide, so the cut is over columns; every column adds its tokens in order.
    tape->exec()->ParallelFor((cols + kColumnsPerTask - 1) / kColumnsPerTask, [&](int64_t task) {
      const int64_t begin = task * kColumnsPerTask;
      const int64_t n = std::min(kColumnsPerTask, cols - begin);
      for (int64_t r = 0; r < n_rows; ++r) {
        float* into = e->param.grad + tokens[r] * cols + begin;
        Kernels().add(into, x->grad + r * cols + begin, n, into);
      }
    });
  });
  return x;
}

double CrossEntropy(Tape* tape, const LinearInput& input, EmbeddingParam* e, const int32_t* targets,
                    float* nll) {
  const int64_t rows = input.normed->rows, vocab = e->param.rows;
  const bool train = tape->recording();
  const float scale = 1.0f / static_cast<float>(rows);
  float* logits = tape->arena().New<float>(rows * vocab);
  ForTokens(tape->exec(), rows, [&](int64_t t, int64_t n) {
    Logits(input, *e, t, n, logits + t * vocab);
    for (int64_t r = t; r < t + n; ++r) {
      float* row = logits + r * vocab;
      const float lse = Kernels().log_sum_exp(row, vocab);
      nll[r] = lse - row[targets[r]];
      if (train) Kernels().softmax_grad(row, vocab, lse, targets[r], scale, row);
    }
  });
  if (train) tape->OnBackward([tape, input, e, logits] { HeadBackward(tape, input, e, logits); });
  double sum = 0.0;
  for (int64_t r = 0; r < rows; ++r) sum += static_cast<double>(nll[r]);
  return sum / static_cast<double>(rows);
}

}  // namespace chimera
