// The tied embedding on the tape: token lookup at the bottom, cross entropy over the vocabulary at
// the top. Rows are int8 with one scale, or of 6 or 4 bits, exactly as they serve (DESIGN D16),
// gradients straight through; float rows when quantization is off.
#pragma once

#include <cstdint>
#include <vector>

#include "layers/linear_op.h"
#include "tensor/tape.h"

namespace chimera {

// [vocab][d_model] and what a step derives from it. Thread-compatible.
struct EmbeddingParam {
  FloatParam param;
  bool quantized = true;
  int bits = 8;  // 8, 6 or 4
  std::vector<int8_t> rows;
  std::vector<float> scales;
  std::vector<uint8_t> codes;  // of 6 or 4 bits
  std::vector<uint16_t> half_scales;
  std::vector<uint16_t> back_bf16;
  std::vector<float> back_float;
};

// Re-derives the quantised form from the current value; once per optimizer step.
void PrepareEmbedding(ExecContext* exec, EmbeddingParam* embedding);

// x[row] = embedding[tokens[row]].
Var* Embed(Tape* tape, EmbeddingParam* embedding, const int32_t* tokens, int64_t n_rows);

// Negative log-likelihood of targets[row] in nats, one per row (nll), and their mean. Seeds the
// gradient of the mean when the tape records.
double CrossEntropy(Tape* tape, const LinearInput& input, EmbeddingParam* embedding,
                    const int32_t* targets, float* nll);

}  // namespace chimera
