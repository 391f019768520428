// Gated delta rule (arXiv 2412.06464; math-backbone section 1). Per head, state S [64][64]
// key-major, alpha = e^g in (0,1], beta in (0,1):
//   S_t = alpha (I - beta k k^T) S_{t-1} + beta k v^T,    o_t = 64^-1/2 S_t^T q
// Activations are [tokens][heads * 64]: head h of token t at t * stride + 64 h. Plain pointers,
// no allocation (training forms use up to 400 KiB of stack). The tables are *immutable*.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "layers/head.h"

namespace chimera {

// Serving forms, also the forward of training: the same bits on every instruction set.
struct GatedDeltaKernels {
  // Rows of 64: y = u / sqrt(sum u^2 + 1e-6). inv [rows] receives the factor; may be null.
  // y may be u.
  void (*l2norm)(const float* u, int64_t rows, float* y, float* inv);

  // a, b, g, beta [n_tokens][n_heads]; a_log, dt_bias [n_heads].
  // g = -exp(a_log) softplus(a + dt_bias), beta = sigmoid(b). g may be a, beta may be b.
  void (*gates)(const float* a, const float* b, const float* a_log, const float* dt_bias,
                int64_t n_tokens, int n_heads, float* g, float* beta);

  // One token of one head: updates state [64][64], writes o [64] (o may be q, k or v).
  void (*step)(float* state, const float* q, const float* k, const float* v, float g, float beta,
               float* o);
  // The same in two halves, for token trees: read leaves the state alone and writes o and
  // u = beta (v - alpha S^T k) [64]; write applies S = alpha S + k u^T. read + write == step,
  // exactly.
  void (*read)(const float* state, const float* q, const float* k, const float* v, float g,
               float beta, float* o, float* u);
  void (*write)(float* state, const float* k, const float* u, float g);

  // Output norm: rows of 64 (tokens x heads): y = gamma * o * inv * SiLU(h),
  // inv = 1/sqrt(mean(o^2) + 1e-6), gamma [64] shared by the heads. inv [rows] may be null.
  // y may be o or h.
  void (*head_norm)(const float* o, const float* h, const float* gamma, int64_t rows, float* y,
                    float* inv);
};

const GatedDeltaKernels& GatedDeltaFor(Isa isa);
const GatedDeltaKernels& GatedDelta();

// One head of one sequence.
struct GatedDeltaSequence {
  const float* q;  // token t at q + t * stride: 64 floats; q and k are normalised by the caller
  const float* k;
  const float* v;
  int64_t stride;
  const float* g;  // token t at g[t * gate_stride]
  const float* beta;
  int64_t gate_stride;
  const uint8_t* reset;  // null or one flag per token: the state before token t is dropped
  int n_tokens;
};

// Training forms: equal for any thread count, not across instruction sets (fma where it is fast).
struct GatedDeltaTrainKernels {
  // Chunk form (1.3). o at the strides of q. start [4096]: null = zeros. end [4096]: null = not
  // wanted, may be start. saved: null or CountChunks(reset, n_tokens) x 4096 floats, the state each
  // chunk starts from, for backward.
  void (*forward)(const GatedDeltaSequence* seq, const float* start, float* o, float* end,
                  float* saved);
  // Backward (1.4) of loss(o, end). d_o at the strides of q. d_end [4096]: null = zeros
  // (truncated). dq, dk, dv (strides of q), dg, dbeta (gate_stride) are written; d_start [4096] may
  // be null.
  void (*backward)(const GatedDeltaSequence* seq, const float* saved, const float* d_o,
                   const float* d_end, float* dq, float* dk, float* dv, float* dg, float* dbeta,
                   float* d_start);

  // y, inv from l2norm. Writes du, which may be dy.   du = (dy - y (y . dy)) inv
  void (*l2norm_backward)(const float* y, const float* inv, const float* dy, int64_t rows,
                          float* du);
  // Writes da, db (may be dg, dbeta); adds to da_log, ddt_bias [n_heads], tokens in order: one
  // zeroed partial buffer per fixed block of tokens keeps sums independent of the thread count.
  void (*gates_backward)(const float* a, const float* a_log, const float* dt_bias, const float* g,
                         const float* beta, const float* dg, const float* dbeta, int64_t n_tokens,
                         int n_heads, float* da, float* db, float* da_log, float* ddt_bias);
  // Writes d_o and dh (each may be dy, not both); adds to dgamma [64], rows in order.
  void (*head_norm_backward)(const float* o, const float* h, const float* gamma, const float* inv,
                             const float* dy, int64_t rows, float* d_o, float* dh, float* dgamma);
};

const GatedDeltaTrainKernels& GatedDeltaTrainFor(Isa isa);
const GatedDeltaTrainKernels& GatedDeltaTrain();

}  // namespace chimera
