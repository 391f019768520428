// Linear layers on the tape: RMSNorm, int8 activations and ternary weights exactly as they serve
// (math-backbone 8.1), straight-through gradients (8.2). With quantization off the same ops run in
// float. bf16 appears only in backward products, where the CPU has it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/exec_context.h"
#include "layers/float_param.h"
#include "layers/low_rank_op.h"
#include "layers/quant_progress.h"
#include "tensor/tape.h"

namespace chimera {

// A matrix [rows][cols] and what a step derives from it: packed codes for the forward, mu * t (+
// lambda W) as bf16 or float for the backward. Thread-compatible.
struct LinearParam {
  FloatParam param;
  bool quantized = true;
  bool sherry = false;    // trits with one zero in four; else absmean
  LowRankParam low_rank;  // correction beside the map; quantised maps only
  // Where the run is; read by PrepareLinear. Null: at its end.
  const QuantProgress* progress = nullptr;
  float residual = 0.0f;  // lambda: training's map is mu t + lambda W (math-backbone 8.3, Sherry)
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales;
  std::vector<uint16_t> back_bf16;  // [rows][cols], when HasFastBf16()
  std::vector<float> back_float;    // otherwise, and beside it while there is a residual
};

// Re-derives the packed forms from the current value; once per optimizer step.
void PrepareLinear(ExecContext* exec, LinearParam* linear);

// A normalised activation with its int8 form, the input of linear maps.
struct LinearInput {
  Var* normed = nullptr;  // [rows][cols]; its gradient collects from every consumer
  const int8_t* q = nullptr;
  const float* s = nullptr;
  const int32_t* sums = nullptr;
};

// normed = gamma * RMSNorm(x), quantised when `quantized`.
LinearInput NormQuantize(Tape* tape, Var* x, const FloatParam& gamma, bool quantized);

// Columns of the output of Linear, in order: rows [row_begin, row_begin + rows) of the matrix.
// With a residual, lambda * W times the quantised input is added, and the weight's gradient passes
// both ways, straight through the quantizer: dW = (1 + lambda) dY^T x. The correction is added
// last. One output per split; the splits cover the matrix. Row counts are multiples of 16 when
// there is more than one.
std::vector<Var*> Linear(Tape* tape, const LinearInput& input, LinearParam* weight,
                         const std::vector<int>& splits);

// Plain float product of the normed input with a small matrix (gates): one output per split.
std::vector<Var*> FloatLinear(Tape* tape, const LinearInput& input, const FloatParam& weight,
                              const std::vector<int>& splits);

// x + y.
Var* Residual(Tape* tape, Var* x, Var* y);

}  // namespace chimera
