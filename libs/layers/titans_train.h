// Training kernels of the Titans layer (math-backbone 3.3, 3.4): the memory in chunks of 16 tokens,
// attention of 16 queries over tiles of 64 keys, the decayed linear core in chunks of 64. Plain
// pointers, no allocation, at most 400 KiB of stack. Equal for any thread count, not across
// instruction sets (fma where it is fast). The tables are *immutable*.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "layers/titans.h"

namespace chimera {

// Weights of one head are [kTitansFast], tokens of a write [kTitansTokens], both as in titans.h.
struct TitansMemoryTrainKernels {
  // n <= 16 rows of 64 at `stride`: r = M(q).
  void (*retrieve)(const float* fast, const float* q, int64_t stride, int n, float* r);
  // Adds to d_weights [kTitansWeights], writes dq; either may be null. All rows at `stride`.
  void (*retrieve_backward)(const float* fast, const float* q, const float* dr, int64_t stride,
                            int n, float* dq, float* d_weights);
  // The guarded write of n <= 16 tokens, in place.
  void (*write)(const float* tokens, int n, bool momentum_guard, float* fast);
  // Its backward with the guard held constant (3.4). fast: the state before the write. d_fast
  // [kTitansFast]: the gradient of the state after it on entry, before it on return. d_tokens
  // [kTitansTokens] receives the gradients of the tokens. first_order: the weights inside the
  // written gradients count as constants; not the true gradient.
  void (*write_backward)(const float* tokens, int n, bool momentum_guard, const float* fast,
                         bool first_order, float* d_fast, float* d_tokens);
  // gates, d_gates, d_pre [n_tokens][3 * n_heads], gates as TitansKernels::gates left them. Adds to
  // d_bias [3 * n_heads], tokens in order. d_pre may be d_gates.
  void (*gates_backward)(const float* gates, const float* d_gates, int64_t n_tokens, int n_heads,
                         float* d_pre, float* d_bias);
};

const TitansMemoryTrainKernels& TitansMemoryTrainFor(Isa isa);
const TitansMemoryTrainKernels& TitansMemoryTrain();

// Keys and values of one kv head, in tiles [64][64] of 64 keys: rows, and the same transposed.
// Gradients are added to, rows of keys. number: what visibility is decided by, ascending; keys of
// the padding have INT32_MAX.
struct TitansKeys {
  const float* k = nullptr;
  const float* k_t = nullptr;
  const float* v = nullptr;
  const float* v_t = nullptr;
  float* dk = nullptr;
  float* dv = nullptr;
  const int32_t* number = nullptr;
};

// Keys of one kind. Query i sees those with low + slide * i < number <= high + slide * i; all of
// them lie within [begin, end).
struct TitansSight {
  const TitansKeys* keys;
  int begin, end;
  int32_t low, high, slide;
  bool rotated;  // met by q_rotated, else by q
};

// n <= 16 queries of one head, rows of 64: q at q_stride, q_rotated at stride.
struct TitansQueries {
  const float* q;
  int64_t q_stride;
  const float* q_rotated;
  int64_t stride;
  int n;
  const TitansSight* sights;
  int n_sights;
};

struct TitansAttendTrainKernels {
  // o at `stride`; lse [n] receives the logarithm of each softmax's denominator, for backward.
  void (*attend)(const TitansQueries* queries, float* o, float* lse);
  // dq (q_stride) and dq_rotated (stride) are written, dk and dv of the keys added to.
  void (*attend_backward)(const TitansQueries* queries, const float* o, const float* lse,
                          const float* d_o, float* dq, float* dq_rotated);
  // turned = the transpose of a tile [64][64].
  void (*transpose)(const float* tile, float* turned);
  // Rows of 64, inv from TitansKernels::head_gate. Writes d_o, adds to dr and to dgain [64], rows
  // in order.
  void (*head_gate_backward)(const float* o, const float* r, const float* gain, const float* inv,
                             const float* dy, int64_t rows, float* d_o, float* dr, float* dgain);
};

const TitansAttendTrainKernels& TitansAttendTrainFor(Isa isa);
const TitansAttendTrainKernels& TitansAttendTrain();

// One document of one head for the decayed linear core: S = e^log_keep S + k v^T, o = S^T q / 8.
struct TitansDecaySequence {
  const float* q;  // rows of 64 at q_stride
  int64_t q_stride;
  const float* k;  // rows of 64 at kv_stride
  const float* v;
  int64_t kv_stride;
  const float* log_keep;  // at gate_stride
  int64_t gate_stride;
  int n_tokens;
};

struct TitansDecayTrainKernels {
  // The first state of a document: sum of k_j v_j^T over the learned slots (rows of 64 at stride).
  void (*start)(const float* slot_k, const float* slot_v, int64_t stride, int slots, float* state);
  // Adds to d_slot_k, d_slot_v [slots][64].
  void (*start_backward)(const float* slot_k, const float* slot_v, int64_t stride, int slots,
                         const float* d_state, float* d_slot_k, float* d_slot_v);
  // o at q_stride; state [4096] is updated; saved [CountChunks(null, n_tokens)][4096] receives the
  // state each chunk of 64 begins with.
  void (*forward)(const TitansDecaySequence* seq, float* state, float* o, float* saved);
  // d_state: gradient of the end on entry, of the start on return. dq (q_stride), d_log_keep
  // (gate_stride) are written, dk and dv (kv_stride) added to.
  void (*backward)(const TitansDecaySequence* seq, const float* saved, const float* d_o,
                   float* d_state, float* dq, float* dk, float* dv, float* d_log_keep);
};

const TitansDecayTrainKernels& TitansDecayTrainFor(Isa isa);
const TitansDecayTrainKernels& TitansDecayTrain();

}  // namespace chimera
