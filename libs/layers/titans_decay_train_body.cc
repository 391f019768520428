// Training form of the decayed linear core, compiled once per instruction set; see titans_train.h.
// The gated delta rule without its beta term: math-backbone 1.3 and 1.4 with N = V.
#include "layers/chunk_math.h"
#include "layers/titans_train.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr float kScale = 0.125f;  // 64^-1/2

struct Chunk {
  int n, rows;
  alignas(64) float q[kMatrix], k[kMatrix], v[kMatrix];
  alignas(64) float turned[kMatrix];
  alignas(64) float decay[kMatrix];  // Gamma
  alignas(64) float p[kMatrix];      // tril(Q K^T) . Gamma
  alignas(64) float k_tail[kMatrix];
  alignas(64) float eg[kChunkTokens], tail[kChunkTokens];
  float decay_all;
};

void Prepare(const TitansDecaySequence& s, int start, int n, Chunk& c) {
  c.n = n;
  c.rows = PaddedRows(n);
  LoadRows(s.q + start * s.q_stride, s.q_stride, n, c.rows, c.q);
  LoadRows(s.k + start * s.kv_stride, s.kv_stride, n, c.rows, c.k);
  LoadRows(s.v + start * s.kv_stride, s.kv_stride, n, c.rows, c.v);
  SplitLogs row, col;
  double gamma[kChunkTokens];
  double sum = 0;
  for (int i = 0; i < c.rows; ++i) {
    if (i < n) sum += s.log_keep[(start + i) * s.gate_stride];
    gamma[i] = sum;
    row.Set(i, sum);
    col.Set(i, -sum);
    c.eg[i] = static_cast<float>(sum);
  }
  for (int i = 0; i < c.rows; ++i) c.tail[i] = static_cast<float>(sum - gamma[i]);
  for (int i = 0; i < c.rows; i += kBlock) {
    Store(c.eg + i, Exp(Load(c.eg + i)));
    Store(c.tail + i, Exp(Load(c.tail + i)));
  }
  c.decay_all = Exp1(static_cast<float>(sum));
  DecayMatrix(row, col, c.rows, c.decay);
  Transpose(c.k, c.turned, c.rows);
  LowerOfTimes(c.q, c.turned, c.p, c.rows);
  for (int i = 0; i < c.rows; ++i) {
    for (int j = 0; j <= i; j += kBlock) {
      const int at = i * kDim + j;
      Store(c.p + at, Load(c.p + at) * Load(c.decay + at));
    }
  }
  ScaleRows(c.k, c.tail, c.rows, c.k_tail);
}

void Start(const float* slot_k, const float* slot_v, int64_t stride, int slots, float* state) {
  alignas(64) float k[kMatrix], v[kMatrix];
  LoadRows(slot_k, stride, slots, kDim, k);
  LoadRows(slot_v, stride, slots, kDim, v);
  std::memset(state, 0, kHeadState * sizeof(float));
  AddTransposedTimes(k, v, state, kDim);
}

void StartBackward(const float* slot_k, const float* slot_v, int64_t stride, int slots,
                   const float* d_state, float* d_slot_k, float* d_slot_v) {
  alignas(64) float rows[kMatrix], turned[kMatrix], grad[kMatrix];
  LoadRows(slot_v, stride, slots, kDim, rows);
  Transpose(d_state, turned, kDim);
  Times(rows, turned, grad, kDim);  // dK = V dS^T
  for (int i = 0; i < slots * kDim; ++i) d_slot_k[i] += grad[i];
  LoadRows(slot_k, stride, slots, kDim, rows);
  Times(rows, d_state, grad, kDim);  // dV = K dS
  for (int i = 0; i < slots * kDim; ++i) d_slot_v[i] += grad[i];
}

int Length(const TitansDecaySequence& s, int start) {
  return s.n_tokens - start < kChunkTokens ? s.n_tokens - start : kChunkTokens;
}

void Forward(const TitansDecaySequence* seq, float* state, float* o, float* saved) {
  Chunk c;
  alignas(64) float out[kMatrix];
  for (int start = 0, n = 0; start < seq->n_tokens; start += n) {
    n = Length(*seq, start);
    std::memcpy(saved, state, kHeadState * sizeof(float));
    saved += kHeadState;
    Prepare(*seq, start, n, c);
    Times(c.q, state, out, c.rows);
    ScaleRows(out, c.eg, c.rows, out);
    LowerTimes<Into::kAdd>(c.p, c.v, out, c.rows);
    ScaleAll(out, kScale, c.rows * kDim);
    StoreRows(out, n, seq->q_stride, o + start * seq->q_stride);
    ScaleAll(state, c.decay_all, kHeadState);
    AddTransposedTimes(c.k_tail, c.v, state, c.rows);
  }
}

struct ChunkGrad {
  alignas(64) float d_o[kMatrix], o_start[kMatrix];
  alignas(64) float state_t[kHeadState], d_state_t[kHeadState], v_t[kMatrix];
  alignas(64) float e[kMatrix];
  alignas(64) float dq[kMatrix], dk[kMatrix], dv[kMatrix];
  alignas(64) float row_sum[kChunkTokens], col_sum[kChunkTokens];
  double d_gamma[kChunkTokens];
};

// E = dP . Gamma from dP, with row and column sums of dP . P.
void ElementwiseGrad(const Chunk& c, ChunkGrad& g) {
  F16 cols[kChunkTokens / kBlock] = {};
  for (int i = 0; i < c.rows; ++i) {
    F16 sum = {};
    for (int j = 0; j <= i; j += kBlock) {
      const int at = i * kDim + j;
      const F16 w = Load(g.e + at) * Load(c.p + at);
      sum += w;
      cols[j / kBlock] += w;
      Store(g.e + at, Load(g.e + at) * Load(c.decay + at));
    }
    g.row_sum[i] = FoldAdd(sum);
  }
  for (int j = 0; j < c.rows; j += kBlock) Store(g.col_sum + j, cols[j / kBlock]);
}

void ChunkBackward(const Chunk& c, const float* state, ChunkGrad& g, float* d_state) {
  const int rows = c.rows;
  ScaleRows(g.d_o, c.eg, rows, g.o_start);
  Transpose(state, g.state_t, kDim);
  Transpose(d_state, g.d_state_t, kDim);
  Transpose(c.v, g.v_t, rows);
  // dV = s P^T dO + diag(tail) K dS
  Times(c.k_tail, d_state, g.dv, rows);
  LowerTransposedTimes<Into::kAdd>(c.p, g.d_o, g.dv, rows);
  LowerOfTimes(g.d_o, g.v_t, g.e, rows);
  ElementwiseGrad(c, g);
  Times(g.o_start, g.state_t, g.dq, rows);
  Times(c.v, g.d_state_t, g.dk, rows);
  ScaleRows(g.dk, c.tail, rows, g.dk);
  double kept = c.decay_all * MatrixDot(state, d_state);
  for (int i = 0; i < rows; ++i) {
    const int at = i * kDim;
    const double into_end = RowDot(c.k + at, g.dk + at);
    g.d_gamma[i] =
        static_cast<double>(g.row_sum[i]) - g.col_sum[i] + RowDot(c.q + at, g.dq + at) - into_end;
    kept += into_end;
  }
  g.d_gamma[c.n - 1] += kept;
  LowerTimes<Into::kAdd>(g.e, c.k, g.dq, rows);
  LowerTransposedTimes<Into::kAdd>(g.e, c.q, g.dk, rows);
  ScaleAll(d_state, c.decay_all, kHeadState);
  AddTransposedTimes(c.q, g.o_start, d_state, rows);
}

void AddRows(const float* from, int n, int64_t stride, float* to) {
  for (int i = 0; i < n; ++i) {
    for (int c = 0; c < kDim; c += kWidth) {
      float* into = to + i * stride + c;
      StoreV(into, LoadV(into) + LoadV(from + i * kDim + c));
    }
  }
}

void Backward(const TitansDecaySequence* seq, const float* saved, const float* d_o, float* d_state,
              float* dq, float* dk, float* dv, float* d_log_keep) {
  Chunk c;
  ChunkGrad g;
  const int chunks = (seq->n_tokens + kChunkTokens - 1) / kChunkTokens;
  for (int chunk = chunks - 1; chunk >= 0; --chunk) {
    const int start = chunk * kChunkTokens, n = Length(*seq, start);
    Prepare(*seq, start, n, c);
    LoadRows(d_o + start * seq->q_stride, seq->q_stride, n, c.rows, g.d_o);
    ScaleAll(g.d_o, kScale, c.rows * kDim);
    ChunkBackward(c, saved + int64_t{chunk} * kHeadState, g, d_state);
    StoreRows(g.dq, n, seq->q_stride, dq + start * seq->q_stride);
    AddRows(g.dk, n, seq->kv_stride, dk + start * seq->kv_stride);
    AddRows(g.dv, n, seq->kv_stride, dv + start * seq->kv_stride);
    double suffix = 0;
    for (int i = n - 1; i >= 0; --i) {
      suffix += g.d_gamma[i];
      d_log_keep[(start + i) * seq->gate_stride] = static_cast<float>(suffix);
    }
  }
}

}  // namespace

extern const TitansDecayTrainKernels kTitansDecayTrain;
const TitansDecayTrainKernels kTitansDecayTrain = {Start, StartBackward, Forward, Backward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
