// Training forms of the mLSTM, compiled once per instruction set; see mlstm.h.
// Names follow math-backbone 2.3 and 2.4. The frames m carry no gradient: h does not depend on
// them.
#include "layers/chunk_math.h"
#include "layers/mlstm.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr float kScale = 0.125f;  // 64^-1/2

// One chunk after the part that forward and backward share.
struct Chunk {
  int n;     // tokens
  int rows;  // padded to whole blocks
  alignas(64) float q[kMatrix], k[kMatrix], v[kMatrix];
  alignas(64) float kt[kMatrix];             // K^T
  alignas(64) float decay[kMatrix];          // D
  alignas(64) float p[kMatrix];              // D . (s Q K^T)
  alignas(64) float q_in[kMatrix];           // s diag(e) Q
  alignas(64) float k_out[kMatrix];          // diag(a) K
  alignas(64) float gain_in[kChunkTokens];   // s e
  alignas(64) float gain_out[kChunkTokens];  // a
  alignas(64) float nu[kChunkTokens], floor[kChunkTokens], den[kChunkTokens];
  float decay_all;  // G
  float m_end;
};

double LogSigmoid1(float f) { return -static_cast<double>(Softplus1(-f)); }

void PrepareGates(const MlstmSequence& s, int start, float m_start, Chunk& c) {
  SplitLogs row, col;
  double b[kChunkTokens], w[kChunkTokens];  // sum of lf, and i - b
  double sum = 0, best = m_start;           // best: running maximum of m0 and i - b
  for (int i = 0; i < c.n; ++i) {
    const int64_t at = (start + i) * s.gate_stride;
    sum += LogSigmoid1(s.f[at]);
    b[i] = sum;
    w[i] = s.i[at] - sum;
    best = best > w[i] ? best : w[i];
    const float m = static_cast<float>(sum + best);
    row.Set(i, b[i] - m);
    col.Set(i, w[i]);
    c.gain_in[i] = static_cast<float>(b[i] + m_start - m);
    c.floor[i] = -m;
  }
  c.m_end = static_cast<float>(sum + best);
  c.decay_all = Exp1(static_cast<float>(sum + m_start - c.m_end));
  for (int i = 0; i < c.n; ++i) c.gain_out[i] = static_cast<float>(sum + w[i] - c.m_end);
  for (int i = c.n; i < c.rows; ++i) {  // padding: no weight as a column, harmless as a row
    row.Set(i, 0);
    col.Set(i, -200.0);
    c.gain_in[i] = c.gain_out[i] = -200.0f;
    c.floor[i] = 0;
  }
  for (int i = 0; i < c.rows; i += kBlock) {
    Store(c.gain_in + i, Exp(Load(c.gain_in + i)) * kScale);
    Store(c.gain_out + i, Exp(Load(c.gain_out + i)));
    Store(c.floor + i, Exp(Load(c.floor + i)));
  }
  DecayMatrix(row, col, c.rows, c.decay);
}

// P and the denominators from the start state's n.
void Prepare(const MlstmSequence& s, int start, int n, const float* state, Chunk& c) {
  c.n = n;
  c.rows = PaddedRows(n);
  const int64_t at = start * s.stride;
  LoadRows(s.q + at, s.stride, n, c.rows, c.q);
  LoadRows(s.k + at, s.stride, n, c.rows, c.k);
  LoadRows(s.v + at, s.stride, n, c.rows, c.v);
  PrepareGates(s, start, state[kHeadState + kHeadDim], c);
  Transpose(c.k, c.kt, c.rows);
  LowerOfTimes(c.q, c.kt, c.p, c.rows);
  ScaleRows(c.q, c.gain_in, c.rows, c.q_in);
  ScaleRows(c.k, c.gain_out, c.rows, c.k_out);
  for (int i = 0; i < c.rows; ++i) {
    F16 sum = {};
    for (int j = 0; j <= i; j += kBlock) {
      const F16 p = Load(c.p + i * kDim + j) * kScale * Load(c.decay + i * kDim + j);
      Store(c.p + i * kDim + j, p);
      sum += p;
    }
    c.nu[i] = FoldAdd(sum) + RowDot(c.q_in + i * kDim, state + kHeadState);
    const float size = c.nu[i] < 0 ? -c.nu[i] : c.nu[i];
    c.den[i] = size > c.floor[i] ? size : c.floor[i];
  }
}

// [C|n] <- G [C|n] + (diag(a) K)^T [V|1], and the new frame.
void AdvanceState(const Chunk& c, float* state) {
  ScaleAll(state, c.decay_all, kHeadState + kHeadDim);
  AddTransposedTimes(c.k_out, c.v, state, c.rows);
  float* n = state + kHeadState;
  for (int col = 0; col < kDim; col += kWidth) {
    FV sum = LoadV(n + col);
    for (int i = 0; i < c.n; ++i) sum += LoadV(c.k_out + i * kDim + col);
    StoreV(n + col, sum);
  }
  n[kHeadDim] = c.m_end;
}

void Forward(const MlstmSequence* seq, const MlstmState* start_state, float* h,
             const MlstmState* end, float* saved) {
  alignas(64) float state[kMlstmSaved] = {};
  alignas(64) float out[kMatrix];
  alignas(64) float inverse[kChunkTokens];
  Chunk c;
  if (start_state->c != nullptr) {
    std::memcpy(state, start_state->c, sizeof(float) * kHeadState);
    std::memcpy(state + kHeadState, start_state->n, sizeof(float) * kHeadDim);
    state[kHeadState + kHeadDim] = *start_state->m;
  }
  int n = 0;
  for (int start = 0; start < seq->n_tokens; start += n) {
    n = ChunkLength(seq->reset, start, seq->n_tokens);
    if (IsReset(seq->reset, start)) std::memset(state, 0, sizeof(state));
    if (saved != nullptr) {
      std::memcpy(saved, state, sizeof(state));
      saved += kMlstmSaved;
    }
    Prepare(*seq, start, n, state, c);
    // num = s diag(e) Q C0 + P V
    Times(c.q_in, state, out, c.rows);
    LowerTimes<Into::kAdd>(c.p, c.v, out, c.rows);
    for (int i = 0; i < c.rows; ++i) inverse[i] = 1.0f / c.den[i];
    ScaleRows(out, inverse, c.rows, out);
    StoreRows(out, n, seq->stride, h + start * seq->stride);
    AdvanceState(c, state);
  }
  if (end->c == nullptr) return;
  std::memcpy(end->c, state, sizeof(float) * kHeadState);
  std::memcpy(end->n, state + kHeadState, sizeof(float) * kHeadDim);
  *end->m = state[kHeadState + kHeadDim];
}

// Gradients of one chunk.
struct ChunkGrad {
  alignas(64) float dnum[kMatrix];
  alignas(64) float dnu[kChunkTokens];
  alignas(64) float vt[kMatrix];        // V^T
  alignas(64) float c_t[kHeadState];    // C0^T
  alignas(64) float d_c_t[kHeadState];  // dC^T
  alignas(64) float scores[kMatrix];    // dP, then s dSc
  alignas(64) float dq[kMatrix], dk[kMatrix], dv[kMatrix];
  alignas(64) float row_sum[kChunkTokens], col_sum[kChunkTokens];
  double di[kChunkTokens], db[kChunkTokens];
};

// dnum = dh / den; dnu = -sign(nu) dh.h / den where |nu| is the denominator.
void OutputGrad(const MlstmSequence& s, int start, const float* h, const float* dh, const Chunk& c,
                ChunkGrad& g) {
  LoadRows(dh + start * s.stride, s.stride, c.n, c.rows, g.dnum);
  for (int i = 0; i < c.rows; ++i) {
    const float inverse = 1.0f / c.den[i];
    g.dnu[i] = 0;
    if (i < c.n && c.den[i] > c.floor[i]) {
      const float along = RowDot(g.dnum + i * kDim, h + (start + i) * s.stride) * inverse;
      g.dnu[i] = c.nu[i] > 0 ? -along : along;
    }
    ScaleAll(g.dnum + i * kDim, inverse, kDim);
  }
}

// dP = tril(dnum V^T + dnu 1^T); X = dP . P summed by rows and columns; scores = s dP . D.
void ScoreGrad(const Chunk& c, ChunkGrad& g) {
  F16 cols[kChunkTokens / kBlock] = {};
  for (int i = 0; i < c.rows; ++i) {
    F16 sum = {};
    for (int j = 0; j <= i; j += kBlock) {
      const int at = i * kDim + j;
      const F16 dp = Load(g.scores + at) + g.dnu[i];
      const F16 x = dp * Load(c.p + at);
      sum += x;
      cols[j / kBlock] += x;
      Store(g.scores + at, dp * Load(c.decay + at) * kScale);
    }
    g.row_sum[i] = FoldAdd(sum);
  }
  for (int j = 0; j < c.rows; j += kBlock) Store(g.col_sum + j, cols[j / kBlock]);
}

// row[i] = (row[i] + weight[i] x) * scale[i]: the normaliser's column of an augmented product.
void AddOuter(const float* weight, const float* x, const float* scale, int rows, float* row) {
  for (int i = 0; i < rows; ++i) {
    for (int col = 0; col < kDim; col += kWidth) {
      const FV sum = LoadV(row + i * kDim + col) + LoadV(x + col) * weight[i];
      StoreV(row + i * kDim + col, sum * scale[i]);
    }
  }
}

// d_state: [dC|dn] of the chunk's end on entry, of its start on return.
void ChunkBackward(const Chunk& c, const float* state, ChunkGrad& g, float* d_state) {
  const int rows = c.rows;
  const float* d_n = d_state + kHeadState;
  alignas(64) float ones[kChunkTokens];
  for (float& x : ones) x = 1.0f;
  Transpose(c.v, g.vt, rows);
  Transpose(state, g.c_t, kDim);
  Transpose(d_state, g.d_c_t, kDim);
  LowerOfTimes(g.dnum, g.vt, g.scores, rows);
  ScoreGrad(c, g);
  // kC = diag(a) K dC', its last column apart; w_j = (kC)_j . v'_j
  Times(c.k_out, d_state, g.dv, rows);
  double kept = c.decay_all *
                (MatrixDot(state, d_state) + static_cast<double>(RowDot(state + kHeadState, d_n)));
  // qi = s diag(e) dH' C'0^T
  Times(g.dnum, g.c_t, g.dq, rows);
  AddOuter(g.dnu, state + kHeadState, c.gain_in, rows, g.dq);
  for (int i = 0; i < rows; ++i) {
    const int at = i * kDim;
    const double w = static_cast<double>(RowDot(g.dv + at, c.v + at)) + RowDot(c.k_out + at, d_n);
    g.di[i] = g.col_sum[i] + w;
    g.db[i] = static_cast<double>(g.row_sum[i]) - g.col_sum[i] + RowDot(c.q + at, g.dq + at) - w;
    kept += w;
  }
  g.db[c.n - 1] += kept;
  // dV = P^T dnum + kC ;  dQ = s dSc K + qi ;  dK = s dSc^T Q + diag(a) V' dC'^T
  LowerTransposedTimes<Into::kAdd>(c.p, g.dnum, g.dv, rows);
  LowerTimes<Into::kAdd>(g.scores, c.k, g.dq, rows);
  Times(c.v, g.d_c_t, g.dk, rows);
  AddOuter(ones, d_n, c.gain_out, rows, g.dk);
  LowerTransposedTimes<Into::kAdd>(g.scores, c.q, g.dk, rows);
  // dC'0 = s (diag(e) Q)^T dH' + G dC'
  ScaleAll(d_state, c.decay_all, kHeadState + kHeadDim);
  AddTransposedTimes(c.q_in, g.dnum, d_state, rows);
  for (int i = 0; i < c.n; ++i) {
    for (int col = 0; col < kDim; col += kWidth) {
      float* at = d_state + kHeadState + col;
      StoreV(at, LoadV(at) + LoadV(c.q_in + i * kDim + col) * g.dnu[i]);
    }
  }
}

void Backward(const MlstmSequence* seq, const float* saved, const float* h, const float* dh,
              const MlstmState* d_end, float* dq, float* dk, float* dv, float* di, float* df,
              const MlstmState* d_start) {
  alignas(64) float d_state[kMlstmSaved] = {};
  Chunk c;
  ChunkGrad g;
  if (d_end->c != nullptr) {
    std::memcpy(d_state, d_end->c, sizeof(float) * kHeadState);
    std::memcpy(d_state + kHeadState, d_end->n, sizeof(float) * kHeadDim);
  }
  int64_t chunks = CountChunks(seq->reset, seq->n_tokens);
  ChunksBackward walk(seq->reset, seq->n_tokens);
  for (int start = 0, n = 0; walk.Next(&start, &n);) {
    const float* state = saved + --chunks * kMlstmSaved;
    const int64_t at = start * seq->stride;
    Prepare(*seq, start, n, state, c);
    OutputGrad(*seq, start, h, dh, c, g);
    ChunkBackward(c, state, g, d_state);
    StoreRows(g.dq, n, seq->stride, dq + at);
    StoreRows(g.dk, n, seq->stride, dk + at);
    StoreRows(g.dv, n, seq->stride, dv + at);
    double suffix = 0;  // lf_j moves every b_i with i >= j
    for (int i = n - 1; i >= 0; --i) {
      const int64_t gate = (start + i) * seq->gate_stride;
      suffix += g.db[i];
      di[gate] = static_cast<float>(g.di[i]);
      df[gate] = static_cast<float>(suffix * Sigmoid1(-seq->f[gate]));
    }
    if (IsReset(seq->reset, start)) std::memset(d_state, 0, sizeof(d_state));
  }
  if (d_start->c == nullptr) return;
  std::memcpy(d_start->c, d_state, sizeof(float) * kHeadState);
  std::memcpy(d_start->n, d_state + kHeadState, sizeof(float) * kHeadDim);
}

void GateCapBackward(const float* capped, const float* dout, int64_t n_tokens, int n_heads,
                     float* dz, float* dbias) {
  for (int head = 0; head < n_heads; head += 16) {
    const int lanes = n_heads - head < 16 ? n_heads - head : 16;
    F16 sum = {};
    for (int64_t t = 0; t < n_tokens; ++t) {
      const int64_t at = t * n_heads + head;
      const F16 ratio = LoadLanes(capped + at, lanes) / kGateCap;
      const F16 d = LoadLanes(dout + at, lanes) * (1.0f - ratio * ratio);
      sum += d;
      StoreLanes(dz + at, d, lanes);
    }
    StoreLanes(dbias + head, LoadLanes(dbias + head, lanes) + sum, lanes);
  }
}

void HeadNormBackward(const float* h, const float* gate, const float* gamma, const float* inv,
                      const float* dy, int64_t n_tokens, int n_heads, float* dh, float* dgate,
                      float* dgamma) {
  for (int64_t row = 0; row < n_tokens * n_heads; ++row) {
    const int head = static_cast<int>(row % n_heads) * kDim;
    const float factor = inv[row];
    F16 dn[4], hn[4];
    F16 sum = {};
    for (int j = 0; j < 4; ++j) {
      const int64_t at = row * kDim + 16 * j;
      const F16 scale = Load(gamma + head + 16 * j);
      const F16 s = Sigmoid(Load(gate + at));
      const F16 d = Load(dy + at);
      hn[j] = Load(h + at) * factor;
      float* gamma_at = dgamma + head + 16 * j;
      Store(dgate + at, d * hn[j] * scale * s * (1.0f - s));
      Store(gamma_at, Load(gamma_at) + d * s * hn[j]);
      dn[j] = d * s * scale;
      sum += dn[j] * hn[j];
    }
    const float mean = FoldAdd(sum) / kDim;
    for (int j = 0; j < 4; ++j) Store(dh + row * kDim + 16 * j, (dn[j] - hn[j] * mean) * factor);
  }
}

}  // namespace

extern const MlstmTrainKernels kMlstmTrain;
const MlstmTrainKernels kMlstmTrain = {Forward, Backward, GateCapBackward, HeadNormBackward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
