// mLSTM with stabilised exponential gates (xLSTM-large block; math-backbone section 2). Per head a
// state C [64][64] key-major, n [64] and the frame m, all starting at 0; i, f are capped gate
// values:
//   lf = logsigmoid(f), m' = max(lf + m, i)
//   C' = e^(lf+m-m') C + e^(i-m') k v^T,   n' = e^(lf+m-m') n + e^(i-m') k
//   h  = 64^-1/2 C'^T q / max(64^-1/2 |n'.q|, e^-m')            (no eps: h does not depend on m)
// Activations are [tokens][heads * 64]: head h of token t at t * stride + 64 h. Plain pointers,
// no allocation (training forms use up to 400 KiB of stack). The tables are *immutable*.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "layers/head.h"

namespace chimera {

// Floats per saved chunk start: C [4096], n [64], m, padding.
inline constexpr int kMlstmSaved = kHeadState + kHeadDim + 16;
inline constexpr float kGateCap = 15.0f;

// Serving forms, also the forward of training: the same bits on every instruction set.
struct MlstmKernels {
  // z, out [n_tokens][n_heads], bias [n_heads]: out = 15 tanh((z + bias) / 15). out may be z.
  void (*gate_cap)(const float* z, const float* bias, int64_t n_tokens, int n_heads, float* out);

  // One token of one head: updates c [64][64], n [64], *m; writes h [64] (may be q, k or v).
  void (*step)(float* c, float* n, float* m, const float* q, const float* k, const float* v,
               float i, float f, float* h);
  // The same in two halves, for token trees: read leaves c, n and m alone and writes h (may be q, k
  // or v); write updates them. read + write == step, exactly.
  void (*read)(const float* c, const float* n, float m, const float* q, const float* k,
               const float* v, float i, float f, float* h);
  void (*write)(float* c, float* n, float* m, const float* k, const float* v, float i, float f);

  // y = sigmoid(gate) * gamma * h * inv, inv = 1/sqrt(mean over the head's h^2 + 1e-6).
  // h, gate, y [n_tokens][n_heads * 64]; gamma [n_heads * 64]; inv [n_tokens * n_heads] may be
  // null. y may be h or gate.
  void (*head_norm)(const float* h, const float* gate, const float* gamma, int64_t n_tokens,
                    int n_heads, float* y, float* inv);
};

const MlstmKernels& MlstmFor(Isa isa);
const MlstmKernels& Mlstm();

// One head of one sequence.
struct MlstmSequence {
  const float* q;  // token t at q + t * stride: 64 floats
  const float* k;
  const float* v;
  int64_t stride;
  const float* i;  // capped gates, token t at i[t * gate_stride]
  const float* f;
  int64_t gate_stride;
  const uint8_t*
      reset;  // null or one flag per token: token t starts a fresh sequence (C, n, m = 0)
  int n_tokens;
};

// A head's state where the caller keeps it. As an input c may be null: a fresh state.
struct MlstmState {
  float* c;  // [64][64]
  float* n;  // [64]
  float* m;
};

// Training forms: equal for any thread count, not across instruction sets (fma where it is fast).
struct MlstmTrainKernels {
  // Chunk form (2.3). h at the strides of q. start is read only; end->c null = not wanted, may be
  // start. saved: null or CountChunks(reset, n_tokens) x kMlstmSaved floats for backward.
  void (*forward)(const MlstmSequence* seq, const MlstmState* start, float* h,
                  const MlstmState* end, float* saved);
  // Backward (2.4); h and saved as forward left them. d_end, d_start: c [4096] and n [64] in the
  // frame of the stored m (m itself has no gradient; the field is ignored); c null = zeros / not
  // wanted. dq, dk, dv (strides of q), di, df (gate_stride) are written.
  void (*backward)(const MlstmSequence* seq, const float* saved, const float* h, const float* dh,
                   const MlstmState* d_end, float* dq, float* dk, float* dv, float* di, float* df,
                   const MlstmState* d_start);

  // capped = output of gate_cap. Writes dz (may be dout), adds to dbias [n_heads], tokens in order.
  void (*gate_cap_backward)(const float* capped, const float* dout, int64_t n_tokens, int n_heads,
                            float* dz, float* dbias);
  // Writes dh and dgate (each may be dy, not both); adds to dgamma [n_heads * 64], tokens in order.
  void (*head_norm_backward)(const float* h, const float* gate, const float* gamma,
                             const float* inv, const float* dy, int64_t n_tokens, int n_heads,
                             float* dh, float* dgate, float* dgamma);
};

const MlstmTrainKernels& MlstmTrainFor(Isa isa);
const MlstmTrainKernels& MlstmTrain();

}  // namespace chimera
