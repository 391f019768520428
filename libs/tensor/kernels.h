// Elementwise float loops of the training plane and of the head, compiled once per instruction set
// with equal bits. Plain pointers, no aliasing unless stated. Thread-safe. Free of Abseil.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace chimera {

// Decoupled weight decay Adam (Loshchilov & Hutter 2019); spec section E.8.
struct AdamWStep {
  float lr;
  float beta1;
  float beta2;
  float eps;
  float weight_decay;  // 0 for norms, gates, biases
  float correction1;   // 1 / (1 - beta1^t)
  float correction2;   // 1 / (1 - beta2^t)
  float grad_scale;    // clipping factor
};

struct TensorKernels {
  // out[i] = a[i] + b[i]; out may be a or b.
  void (*add)(const float* a, const float* b, int64_t n, float* out);
  // bfloat16 is the upper half of a float's bits. Rounds to nearest even; a NaN stays one.
  void (*to_bf16)(const float* x, int64_t n, uint16_t* out);
  // Exact.
  void (*from_bf16)(const uint16_t* x, int64_t n, float* out);
  // from_bf16 of to_bf16; out may be x.
  void (*round_bf16)(const float* x, int64_t n, float* out);
  void (*adamw)(const AdamWStep& step, int64_t n, float* w, const float* grad, float* m, float* v);
  // Sum of squares in 16 lanes, folded in the one order, in double at the end of each 4,096.
  double (*sum_squares)(const float* x, int64_t n);
  // ln sum exp(x) over n > 0 values.
  float (*log_sum_exp)(const float* x, int64_t n);
  // grad[i] = (exp(x[i] - lse) - [i == target]) * scale; grad may be x.
  void (*softmax_grad)(const float* x, int64_t n, float lse, int64_t target, float scale,
                       float* grad);
};

const TensorKernels& KernelsFor(Isa isa);
const TensorKernels& Kernels();  // the best of this machine

}  // namespace chimera
