// The write of up to 16 tokens into one head of a Titans memory (math-backbone 3.3), shared by the
// serving body and, with contraction, by the training body. Weights are input-major: W1
// [in][hidden], W2 [hidden][out]. For kernel bodies only (internal linkage).
#pragma once

#include "layers/chunk_math.h"
#include "layers/titans.h"

namespace chimera {
namespace {

constexpr int kRows = kTitansChunk * kHeadDim;

// One chunk after the part that forward and backward share. Rows past n are zero.
struct WriteChunk {
  int n;
  alignas(64) float k[kRows], v[kRows];
  alignas(64) float z[kRows], act[kRows];    // W1 k, SiLU(z)
  alignas(64) float e[kRows];                // W2 act - v
  alignas(64) float p[kRows], delta[kRows];  // W2^T e, p . SiLU'(z)
  alignas(64) float w2_t[kHeadState];        // W2 [out][hidden]
  // The recurrence in closed form: suf, lam, h of 3.3; scale of c and d in front of G1 and G2.
  float theta[kTitansChunk], eta[kTitansChunk], alpha[kTitansChunk];
  float suf[kTitansChunk + 1], lam[kTitansChunk], h[kTitansChunk];
  float guarded[kTitansChunk];  // what the guard counts of a token (TitansShape::momentum_guard)
  float s1, s2;
};

// SiLU'(z) = s (1 + z (1 - s))
CHIMERA_VEC F16 SiluSlope(F16 z, F16 s) { return s * (z * (1.0f - s) + 1.0f); }

void LoadTokens(const float* tokens, int n, bool momentum_guard, WriteChunk& c) {
  c.n = n;
  LoadRows(tokens, kDim, n, kTitansChunk, c.k);
  LoadRows(tokens + kRows, kDim, n, kTitansChunk, c.v);
  const float* gates = tokens + kTitansTheta;
  for (int i = 0; i < n; ++i) {
    c.theta[i] = gates[i];
    c.eta[i] = gates[kTitansChunk + i];
    c.alpha[i] = gates[2 * kTitansChunk + i];
    const float rest = 2.0f * (1.0f - c.eta[i]);
    const bool by_momentum = momentum_guard && rest < 1.0f;
    c.guarded[i] = by_momentum ? c.theta[i] / (rest > 1e-4f ? rest : 1e-4f) : c.theta[i];
  }
}

// Activations and errors of every token at the weights the chunk begins with.
void ChunkErrors(const float* fast, WriteChunk& c) {
  const float* w1 = fast;
  const float* w2 = fast + kHeadState;
  Times(c.k, w1, c.z, kTitansChunk);
  for (int i = 0; i < kRows; i += 16) Store(c.act + i, Silu(Load(c.z + i)));
  Times(c.act, w2, c.e, kTitansChunk);
  for (int i = 0; i < kRows; i += 16) Store(c.e + i, Load(c.e + i) - Load(c.v + i));
  Transpose(w2, c.w2_t, kDim);
  Times(c.e, c.w2_t, c.p, kTitansChunk);
  for (int i = 0; i < kRows; i += 16) {
    const F16 z = Load(c.z + i);
    Store(c.delta + i, Load(c.p + i) * SiluSlope(z, Sigmoid(z)));
  }
}

void ChunkCoefficients(WriteChunk& c) {
  c.suf[c.n] = 1.0f;
  for (int i = c.n - 1; i >= 0; --i) c.suf[i] = (1.0f - c.alpha[i]) * c.suf[i + 1];
  c.lam[c.n - 1] = c.h[c.n - 1] = 1.0f;
  for (int i = c.n - 2; i >= 0; --i) {
    c.lam[i] = c.suf[i + 1] + c.eta[i + 1] * c.lam[i + 1];
    c.h[i] = c.eta[i + 1] * c.h[i + 1];
  }
}

// max_i sum_j guarded_j |x_i . x_j| over the rows of x.
float Crowding(const WriteChunk& c, const float* x) {
  alignas(64) float x_t[kHeadState];
  alignas(64) float gram[kRows];
  Transpose(x, x_t, kTitansChunk);
  Product<false, Into::kSet>(x, x_t, gram, kTitansChunk, kBlock, 0, kDim);
  float most = 0.0f;
  for (int i = 0; i < c.n; ++i) {
    float sum = 0.0f;
    for (int j = 0; j < c.n; ++j) sum += c.guarded[j] * __builtin_fabsf(gram[i * kDim + j]);
    most = most > sum ? most : sum;
  }
  return most;
}

// |W2|_1 |W2|_inf, a bound of its squared spectral norm.
float NormBound(const float* w2) {
  F16 columns[4] = {};
  float rows = 0.0f;
  for (int i = 0; i < kDim; ++i) {
    F16 a[4];
    for (int j = 0; j < 4; ++j) {
      a[j] = Abs(Load(w2 + i * kDim + 16 * j));
      columns[j] = columns[j] + a[j];
    }
    const float sum = FoldAdd((a[0] + a[1]) + (a[2] + a[3]));
    rows = rows > sum ? rows : sum;
  }
  return rows * FoldMax(Max(Max(columns[0], columns[1]), Max(columns[2], columns[3])));
}

// The guard: bounds of the curvature of both layers (3.3).
void ChunkGuard(const float* fast, WriteChunk& c) {
  const float curve2 = Crowding(c, c.act);
  const float curve1 = 1.21f * NormBound(fast + kHeadState) * Crowding(c, c.k);
  c.s2 = 1.0f / (curve2 > 1.0f ? curve2 : 1.0f);
  c.s1 = 1.0f / (curve1 > 1.0f ? curve1 : 1.0f);
}

void PrepareWrite(const float* tokens, int n, bool momentum_guard, const float* fast,
                  WriteChunk& c) {
  LoadTokens(tokens, n, momentum_guard, c);
  ChunkErrors(fast, c);
  ChunkCoefficients(c);
  ChunkGuard(fast, c);
}

// w = keep w + push s + sum c_i x_i y_i^T ;  s = hold s + sum d_i x_i y_i^T, with
// c = -theta lam scale and d = -theta h scale.
void ApplyWrite(const WriteChunk& c, const float* x, const float* y, float scale, float* w,
                float* s) {
  alignas(64) float cy[kRows], dy[kRows];
  float into_w[kTitansChunk] = {}, into_s[kTitansChunk] = {};
  for (int i = 0; i < c.n; ++i) {
    into_w[i] = -(c.theta[i] * c.lam[i]) * scale;
    into_s[i] = -(c.theta[i] * c.h[i]) * scale;
  }
  ScaleRows(y, into_w, kTitansChunk, cy);
  ScaleRows(y, into_s, kTitansChunk, dy);
  const float keep = c.suf[0], push = c.eta[0] * c.lam[0], hold = c.eta[0] * c.h[0];
  for (int i = 0; i < kHeadState; i += kWidth) {
    const FV old = LoadV(s + i);
    StoreV(w + i, Fma(old, SplatV(push), LoadV(w + i) * keep));
    StoreV(s + i, old * hold);
  }
  AddTransposedTimes(x, cy, w, kTitansChunk);
  AddTransposedTimes(x, dy, s, kTitansChunk);
}

// The whole write of n tokens into the fast weights of one head.
void WriteTokens(const float* tokens, int n, bool momentum_guard, float* fast) {
  WriteChunk c;
  PrepareWrite(tokens, n, momentum_guard, fast, c);
  float* momentum = fast + kTitansWeights;
  ApplyWrite(c, c.k, c.delta, c.s1, fast, momentum);
  ApplyWrite(c, c.act, c.e, c.s2, fast + kHeadState, momentum + kHeadState);
}

}  // namespace
}  // namespace chimera
