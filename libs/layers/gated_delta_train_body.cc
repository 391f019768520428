// Training forms of the gated delta rule, compiled once per instruction set; see gated_delta.h.
// Names follow math-backbone 1.3 and 1.4; G is the matrix Gamma, eg = e^gamma, tail =
// e^(gamma_C - gamma). d^-1/2 is folded into dO.
#include "layers/chunk_math.h"
#include "layers/gated_delta.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr float kScale = 0.125f;  // 64^-1/2

// One chunk after the part that forward and backward share.
struct Chunk {
  int n;     // tokens
  int rows;  // padded to whole blocks
  alignas(64) float q[kMatrix], k[kMatrix];
  alignas(64) float kt[kMatrix];              // K^T
  alignas(64) float decay[kMatrix];           // G
  alignas(64) float p[kMatrix];               // tril(Q K^T) . G
  alignas(64) float kk[kMatrix], a[kMatrix];  // stril(K K^T) . G and A = diag(beta) of it
  alignas(64) float y[kMatrix], r[kMatrix];   // Y, R
  alignas(64) float nu[kMatrix];              // N
  alignas(64) float k_tail[kMatrix];          // diag(tail) K
  alignas(64) float beta[kChunkTokens], eg[kChunkTokens], tail[kChunkTokens];
  float decay_all;  // e^{gamma_C}
};

void PrepareGates(const GatedDeltaSequence& s, int start, Chunk& c) {
  SplitLogs row, col;
  double gamma[kChunkTokens];
  double sum = 0;
  for (int i = 0; i < c.rows; ++i) {
    c.beta[i] = 0;
    if (i < c.n) {
      // e^-128 is 0 in float: the bound keeps the differences exact.
      const float g = s.g[(start + i) * s.gate_stride];
      sum += g > -128.0f ? g : -128.0f;
      c.beta[i] = s.beta[(start + i) * s.gate_stride];
    }
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
}

// P <- P . G; kk <- strict lower part of kk . G; A = diag(beta) kk.
void ApplyDecay(Chunk& c) {
  const I16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int i = 0; i < c.rows; ++i) {
    for (int j = 0; j <= i; j += kBlock) {
      const int at = i * kDim + j;
      const F16 g = Load(c.decay + at);
      const F16 kk = Select(lane + j < i, Load(c.kk + at) * g, F16{});
      Store(c.p + at, Load(c.p + at) * g);
      Store(c.kk + at, kk);
      Store(c.a + at, kk * c.beta[i]);
    }
  }
}

// Everything up to N from the start state.
void Prepare(const GatedDeltaSequence& s, int start, int n, const float* state, Chunk& c) {
  c.n = n;
  c.rows = PaddedRows(n);
  const int64_t at = start * s.stride;
  LoadRows(s.q + at, s.stride, n, c.rows, c.q);
  LoadRows(s.k + at, s.stride, n, c.rows, c.k);
  LoadRows(s.v + at, s.stride, n, c.rows, c.r);
  PrepareGates(s, start, c);
  Transpose(c.k, c.kt, c.rows);
  LowerOfTimes(c.k, c.kt, c.kk, c.rows);
  LowerOfTimes(c.q, c.kt, c.p, c.rows);
  ApplyDecay(c);
  Times(c.k, state, c.y, c.rows);
  for (int i = 0; i < c.rows; ++i) {
    for (int col = i * kDim; col < (i + 1) * kDim; col += kWidth) {
      const FV y = LoadV(c.y + col) * c.eg[i];
      const FV r = LoadV(c.r + col) - y;
      StoreV(c.y + col, y);
      StoreV(c.r + col, r);
      StoreV(c.nu + col, r * c.beta[i]);
    }
  }
  SolveLower(c.a, c.nu, c.rows);
  ScaleRows(c.k, c.tail, c.rows, c.k_tail);
}

void Forward(const GatedDeltaSequence* seq, const float* start_state, float* o, float* end,
             float* saved) {
  alignas(64) float state[kHeadState] = {};
  alignas(64) float out[kMatrix];
  Chunk c;
  if (start_state != nullptr) std::memcpy(state, start_state, sizeof(state));
  int n = 0;
  for (int start = 0; start < seq->n_tokens; start += n) {
    n = ChunkLength(seq->reset, start, seq->n_tokens);
    if (IsReset(seq->reset, start)) std::memset(state, 0, sizeof(state));
    if (saved != nullptr) {
      std::memcpy(saved, state, sizeof(state));
      saved += kHeadState;
    }
    Prepare(*seq, start, n, state, c);
    // O = s ( diag(eg) Q S0 + P N )
    Times(c.q, state, out, c.rows);
    ScaleRows(out, c.eg, c.rows, out);
    LowerTimes<Into::kAdd>(c.p, c.nu, out, c.rows);
    ScaleAll(out, kScale, c.rows * kDim);
    StoreRows(out, n, seq->stride, o + start * seq->stride);
    // S_C = e^{gamma_C} S0 + (diag(tail) K)^T N
    ScaleAll(state, c.decay_all, kHeadState);
    AddTransposedTimes(c.k_tail, c.nu, state, c.rows);
  }
  if (end != nullptr) std::memcpy(end, state, sizeof(state));
}

// Gradients of one chunk.
struct ChunkGrad {
  alignas(64) float d_o[kMatrix];            // s dO
  alignas(64) float o_start[kMatrix];        // diag(eg) s dO
  alignas(64) float state_t[kHeadState];     // S0^T
  alignas(64) float d_state_t[kHeadState];   // dS^T
  alignas(64) float nu_t[kMatrix];           // N^T
  alignas(64) float z[kMatrix];              // dN, then Z
  alignas(64) float e[kMatrix], m[kMatrix];  // E, then diag(beta) M
  alignas(64) float dq[kMatrix], dk[kMatrix], dv[kMatrix];
  alignas(64) float row_sum[kChunkTokens], col_sum[kChunkTokens], beta_sum[kChunkTokens];
  double d_gamma[kChunkTokens];
};

// From dP and -dA (raw products) to E = dP . G and diag(beta) M = diag(beta) dA . G, with the row
// and column sums of dP . P + dA . A and the row sums of dA . kk on the way.
void ElementwiseGrad(const Chunk& c, ChunkGrad& g) {
  F16 cols[kChunkTokens / kBlock] = {};
  for (int i = 0; i < c.rows; ++i) {
    F16 sum = {}, beta_sum = {};
    for (int j = 0; j <= i; j += kBlock) {
      const int at = i * kDim + j;
      const F16 decay = Load(c.decay + at);
      const F16 dp = Load(g.e + at);
      const F16 da = -Load(g.m + at);
      const F16 dkk = da * Load(c.kk + at);  // zero on and above the diagonal
      const F16 w = dp * Load(c.p + at) + dkk * c.beta[i];
      sum += w;
      beta_sum += dkk;
      cols[j / kBlock] += w;
      Store(g.e + at, dp * decay);
      Store(g.m + at, da * decay * c.beta[i]);
    }
    g.m[i * kDim + i] = 0;  // the diagonal of dA is not a variable; above it G is zero
    g.row_sum[i] = FoldAdd(sum);
    g.beta_sum[i] = FoldAdd(beta_sum);
  }
  for (int j = 0; j < c.rows; j += kBlock) Store(g.col_sum + j, cols[j / kBlock]);
}

// d_state holds dS of the chunk's end on entry, of its start on return.
void ChunkBackward(const Chunk& c, const float* state, ChunkGrad& g, float* d_state) {
  const int rows = c.rows;
  ScaleRows(g.d_o, c.eg, rows, g.o_start);
  Transpose(state, g.state_t, kDim);
  Transpose(d_state, g.d_state_t, kDim);
  Transpose(c.nu, g.nu_t, rows);
  // dN = s P^T dO + diag(tail) K dS ;  Z = (I + A)^-T dN
  Times(c.k_tail, d_state, g.z, rows);
  LowerTransposedTimes<Into::kAdd>(c.p, g.d_o, g.z, rows);
  SolveLowerTransposed(c.a, g.z, rows);
  // dP = tril( s dO N^T ) ;  -dA = stril( Z N^T )
  LowerOfTimes(g.d_o, g.nu_t, g.e, rows);
  LowerOfTimes(g.z, g.nu_t, g.m, rows);
  ElementwiseGrad(c, g);
  // The parts through the states, with their share of dgamma: q . qi and k . kt.
  Times(g.o_start, g.state_t, g.dq, rows);
  Times(c.nu, g.d_state_t, g.dk, rows);
  ScaleRows(g.dk, c.tail, rows, g.dk);
  double kept = c.decay_all * MatrixDot(state, d_state);
  for (int i = 0; i < rows; ++i) {
    const int at = i * kDim;
    const double into_end = RowDot(c.k + at, g.dk + at);
    g.d_gamma[i] = static_cast<double>(g.row_sum[i]) - g.col_sum[i] + RowDot(c.q + at, g.dq + at) -
                   into_end - static_cast<double>(c.beta[i]) * RowDot(c.y + at, g.z + at);
    g.beta_sum[i] += RowDot(g.z + at, c.r + at);
    kept += into_end;
  }
  g.d_gamma[c.n - 1] += kept;
  // dQ = qi + E K ;  dK = kt + E^T Q + beta M K + (beta M)^T K - diag(eg) dV S0^T
  LowerTimes<Into::kAdd>(g.e, c.k, g.dq, rows);
  LowerTransposedTimes<Into::kAdd>(g.e, c.q, g.dk, rows);
  LowerTimes<Into::kAdd>(g.m, c.k, g.dk, rows);
  LowerTransposedTimes<Into::kAdd>(g.m, c.k, g.dk, rows);
  ScaleRows(g.z, c.beta, rows, g.dv);
  ScaleRows(g.dv, c.eg, rows, g.z);
  Product<false, Into::kSub>(g.z, g.state_t, g.dk, rows, kDim, 0, kDim);
  // dS0 = e^{gamma_C} dS + (diag(eg) Q)^T s dO - (diag(eg) K)^T dV
  ScaleAll(d_state, c.decay_all, kHeadState);
  AddTransposedTimes(c.q, g.o_start, d_state, rows);
  SubTransposedTimes(c.k, g.z, d_state, rows);
}

void Backward(const GatedDeltaSequence* seq, const float* saved, const float* d_o,
              const float* d_end, float* dq, float* dk, float* dv, float* dg, float* dbeta,
              float* d_start) {
  alignas(64) float d_state[kHeadState] = {};
  Chunk c;
  ChunkGrad g;
  if (d_end != nullptr) std::memcpy(d_state, d_end, sizeof(d_state));
  int64_t chunks = CountChunks(seq->reset, seq->n_tokens);
  ChunksBackward walk(seq->reset, seq->n_tokens);
  for (int start = 0, n = 0; walk.Next(&start, &n);) {
    const float* state = saved + --chunks * kHeadState;
    const int64_t at = start * seq->stride;
    Prepare(*seq, start, n, state, c);
    LoadRows(d_o + at, seq->stride, n, c.rows, g.d_o);
    ScaleAll(g.d_o, kScale, c.rows * kDim);
    ChunkBackward(c, state, g, d_state);
    StoreRows(g.dq, n, seq->stride, dq + at);
    StoreRows(g.dk, n, seq->stride, dk + at);
    StoreRows(g.dv, n, seq->stride, dv + at);
    double suffix = 0;  // g_j moves every gamma_i with i >= j
    for (int i = n - 1; i >= 0; --i) {
      suffix += g.d_gamma[i];
      dg[(start + i) * seq->gate_stride] = static_cast<float>(suffix);
      dbeta[(start + i) * seq->gate_stride] = g.beta_sum[i];
    }
    if (IsReset(seq->reset, start)) std::memset(d_state, 0, sizeof(d_state));
  }
  if (d_start != nullptr) std::memcpy(d_start, d_state, sizeof(d_state));
}

void L2NormBackward(const float* y, const float* inv, const float* dy, int64_t rows, float* du) {
  for (int64_t row = 0; row < rows; ++row, y += kDim, dy += kDim, du += kDim) {
    const float along = RowDot(y, dy);
    for (int i = 0; i < kDim; i += 16) {
      Store(du + i, (Load(dy + i) - Load(y + i) * along) * inv[row]);
    }
  }
}

void GatesBackward(const float* a, const float* a_log, const float* dt_bias, const float* g,
                   const float* beta, const float* dg, const float* dbeta, int64_t n_tokens,
                   int n_heads, float* da, float* db, float* da_log, float* ddt_bias) {
  for (int head = 0; head < n_heads; head += 16) {
    const int lanes = n_heads - head < 16 ? n_heads - head : 16;
    const F16 rate = -Exp(LoadLanes(a_log + head, lanes));
    const F16 bias = LoadLanes(dt_bias + head, lanes);
    F16 log_sum = {}, bias_sum = {};
    for (int64_t t = 0; t < n_tokens; ++t) {
      const int64_t at = t * n_heads + head;
      const F16 dgate = LoadLanes(dg + at, lanes);
      const F16 rank = LoadLanes(beta + at, lanes);
      const F16 drank = LoadLanes(dbeta + at, lanes);
      const F16 d = rate * Sigmoid(LoadLanes(a + at, lanes) + bias) * dgate;
      log_sum += LoadLanes(g + at, lanes) * dgate;
      bias_sum += d;
      StoreLanes(da + at, d, lanes);
      StoreLanes(db + at, rank * (1.0f - rank) * drank, lanes);
    }
    StoreLanes(da_log + head, LoadLanes(da_log + head, lanes) + log_sum, lanes);
    StoreLanes(ddt_bias + head, LoadLanes(ddt_bias + head, lanes) + bias_sum, lanes);
  }
}

void HeadNormBackward(const float* o, const float* h, const float* gamma, const float* inv,
                      const float* dy, int64_t rows, float* d_o, float* dh, float* dgamma) {
  for (int64_t row = 0; row < rows; ++row) {
    const float factor = inv[row];
    F16 dn[4], on[4];
    F16 sum = {};
    for (int j = 0; j < 4; ++j) {
      const int64_t at = row * kDim + 16 * j;
      const F16 scale = Load(gamma + 16 * j);
      const F16 gate = Load(h + at);
      const F16 s = Sigmoid(gate);
      const F16 d = Load(dy + at);
      on[j] = Load(o + at) * factor;
      const F16 d_scaled = d * gate * s;  // gradient of gamma * on
      Store(dh + at, d * on[j] * scale * (s + gate * s * (1.0f - s)));
      Store(dgamma + 16 * j, Load(dgamma + 16 * j) + d_scaled * on[j]);
      dn[j] = d_scaled * scale;
      sum += dn[j] * on[j];
    }
    const float mean = FoldAdd(sum) / kDim;
    for (int j = 0; j < 4; ++j) {
      Store(d_o + row * kDim + 16 * j, (dn[j] - on[j] * mean) * factor);
    }
  }
}

}  // namespace

extern const GatedDeltaTrainKernels kGatedDeltaTrain;
const GatedDeltaTrainKernels kGatedDeltaTrain = {Forward, Backward, L2NormBackward, GatesBackward,
                                                 HeadNormBackward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
