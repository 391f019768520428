// Training forms of the Titans memory, compiled once per instruction set; see titans_train.h. Names
// follow math-backbone 3.4: x_bar is the gradient of x; rows are tokens.
#include "layers/titans_chunk.h"
#include "layers/titans_train.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

// SiLU''(z) = s (1 - s) (2 + z (1 - 2 s))
CHIMERA_VEC F16 SiluCurve(F16 z, F16 s) { return s * (1.0f - s) * (z * (1.0f - (s + s)) + 2.0f); }

void Retrieve(const float* fast, const float* q, int64_t stride, int n, float* r) {
  alignas(64) float x[kRows], z[kRows], out[kRows];
  LoadRows(q, stride, n, kTitansChunk, x);
  Times(x, fast, z, kTitansChunk);
  for (int i = 0; i < kRows; i += 16) Store(z + i, Silu(Load(z + i)));
  Times(z, fast + kHeadState, out, kTitansChunk);
  StoreRows(out, n, stride, r);
}

void RetrieveBackward(const float* fast, const float* q, const float* dr, int64_t stride, int n,
                      float* dq, float* d_weights) {
  alignas(64) float x[kRows], z[kRows], act[kRows], dz[kRows], d_out[kRows];
  alignas(64) float turned[kHeadState];
  LoadRows(q, stride, n, kTitansChunk, x);
  LoadRows(dr, stride, n, kTitansChunk, d_out);
  Times(x, fast, z, kTitansChunk);
  Transpose(fast + kHeadState, turned, kDim);
  Times(d_out, turned, dz, kTitansChunk);
  for (int i = 0; i < kRows; i += 16) {
    const F16 zi = Load(z + i), s = Sigmoid(zi);
    Store(act + i, zi * s);
    Store(dz + i, Load(dz + i) * SiluSlope(zi, s));
  }
  if (d_weights != nullptr) {
    AddTransposedTimes(x, dz, d_weights, kTitansChunk);
    AddTransposedTimes(act, d_out, d_weights + kHeadState, kTitansChunk);
  }
  if (dq == nullptr) return;
  Transpose(fast, turned, kDim);
  Times(dz, turned, x, kTitansChunk);
  StoreRows(x, n, stride, dq);
}

void Write(const float* tokens, int n, bool momentum_guard, float* fast) {
  WriteTokens(tokens, n, momentum_guard, fast);
}

// Gradients of one write.
struct WriteGrad {
  alignas(64) float w1_t[kHeadState];       // W1 [hidden][in]
  alignas(64) float turned[kHeadState];     // of an adjoint
  alignas(64) float inner[kTitansWeights];  // of the weights inside the written gradients
  alignas(64) float into_w[kRows], into_s[kRows], scaled[kRows];
  alignas(64) float e[kRows], a[kRows], delta[kRows], k[kRows];  // x_bar
  alignas(64) float z[kRows], p[kRows];
  float c[kTitansChunk], d[kTitansChunk];  // without the guard
  float c_bar[kTitansChunk], d_bar[kTitansChunk];
};

// One of the two written matrices, sum of x y^T: bar = its adjoint and that of its momentum. Sets
// y_bar, adds scale (<y, W_bar x> , <y, S_bar x>) to c_bar, d_bar and sets x_bar.
void ThroughWrite(const WriteChunk& c, const float* x, const float* y, const float* w_bar,
                  const float* s_bar, float scale, WriteGrad& g, float* x_bar, float* y_bar) {
  Times(x, w_bar, g.into_w, kTitansChunk);
  Times(x, s_bar, g.into_s, kTitansChunk);
  float in_w[kTitansChunk] = {}, in_s[kTitansChunk] = {};
  for (int i = 0; i < c.n; ++i) {
    in_w[i] = g.c[i] * scale;
    in_s[i] = g.d[i] * scale;
    g.c_bar[i] += scale * RowDot(y + i * kDim, g.into_w + i * kDim);
    g.d_bar[i] += scale * RowDot(y + i * kDim, g.into_s + i * kDim);
  }
  ScaleRows(g.into_w, in_w, kTitansChunk, g.into_w);
  ScaleRows(g.into_s, in_s, kTitansChunk, g.into_s);
  for (int i = 0; i < kRows; i += kWidth)
    StoreV(y_bar + i, LoadV(g.into_w + i) + LoadV(g.into_s + i));
  ScaleRows(y, in_w, kTitansChunk, g.scaled);
  Transpose(w_bar, g.turned, kDim);
  Times(g.scaled, g.turned, x_bar, kTitansChunk);
  ScaleRows(y, in_s, kTitansChunk, g.scaled);
  Transpose(s_bar, g.turned, kDim);
  Product<false, Into::kAdd>(g.scaled, g.turned, x_bar, kTitansChunk, kDim, 0, kDim);
}

// From e_bar, a_bar, delta_bar to the tokens and, in exact mode, the weights inside the gradients.
void ThroughErrors(const WriteChunk& c, const float* fast, bool first_order, WriteGrad& g) {
  const float* w2 = fast + kHeadState;
  std::memset(g.z, 0, sizeof(g.z));
  if (!first_order) {
    for (int i = 0; i < kRows; i += 16) {
      const F16 z = Load(c.z + i), s = Sigmoid(z), d = Load(g.delta + i);
      Store(g.p + i, d * SiluSlope(z, s));
      Store(g.z + i, d * Load(c.p + i) * SiluCurve(z, s));
    }
    Product<false, Into::kAdd>(g.p, w2, g.e, kTitansChunk, kDim, 0, kDim);
    AddTransposedTimes(g.p, c.e, g.inner + kHeadState, kTitansChunk);
    AddTransposedTimes(c.act, g.e, g.inner + kHeadState, kTitansChunk);
  }
  Product<false, Into::kAdd>(g.e, c.w2_t, g.a, kTitansChunk, kDim, 0, kDim);
  for (int i = 0; i < kRows; i += 16) {
    const F16 z = Load(c.z + i);
    Store(g.z + i, Load(g.z + i) + Load(g.a + i) * SiluSlope(z, Sigmoid(z)));
  }
  Transpose(fast, g.w1_t, kDim);
  Product<false, Into::kAdd>(g.z, g.w1_t, g.k, kTitansChunk, kDim, 0, kDim);
  if (!first_order) AddTransposedTimes(c.k, g.z, g.inner, kTitansChunk);
}

// The recurrences of suf, lam and h, backwards. keep, push, hold: gradients of what stands before
// W, S in W' and S in S'.
void GateGrads(const WriteChunk& c, const WriteGrad& g, double keep, double push, double hold,
               float* d_gates) {
  double lam_bar[kTitansChunk], h_bar[kTitansChunk], suf_bar[kTitansChunk + 1] = {};
  float *d_theta = d_gates, *d_eta = d_gates + kTitansChunk, *d_alpha = d_eta + kTitansChunk;
  for (int i = 0; i < c.n; ++i) {
    d_theta[i] = -c.lam[i] * g.c_bar[i] - c.h[i] * g.d_bar[i];
    lam_bar[i] = -static_cast<double>(c.theta[i]) * g.c_bar[i];
    h_bar[i] = -static_cast<double>(c.theta[i]) * g.d_bar[i];
  }
  suf_bar[0] = keep;
  lam_bar[0] += push * c.eta[0];
  h_bar[0] += hold * c.eta[0];
  d_eta[0] = static_cast<float>(push * c.lam[0] + hold * c.h[0]);
  for (int i = 0; i + 1 < c.n; ++i) {
    suf_bar[i + 1] += lam_bar[i];
    d_eta[i + 1] = static_cast<float>(lam_bar[i] * c.lam[i + 1] + h_bar[i] * c.h[i + 1]);
    lam_bar[i + 1] += lam_bar[i] * c.eta[i + 1];
    h_bar[i + 1] += h_bar[i] * c.eta[i + 1];
  }
  for (int i = 0; i < c.n; ++i) {
    d_alpha[i] = static_cast<float>(-suf_bar[i] * c.suf[i + 1]);
    suf_bar[i + 1] += suf_bar[i] * (1.0 - c.alpha[i]);
  }
}

void WriteBackward(const float* tokens, int n, bool momentum_guard, const float* fast,
                   bool first_order, float* d_fast, float* d_tokens) {
  WriteChunk c;
  WriteGrad g;
  PrepareWrite(tokens, n, momentum_guard, fast, c);
  for (int i = 0; i < n; ++i) {
    g.c[i] = -c.theta[i] * c.lam[i];
    g.d[i] = -c.theta[i] * c.h[i];
    g.c_bar[i] = g.d_bar[i] = 0;
  }
  float* momentum = d_fast + kTitansWeights;
  if (!first_order) std::memset(g.inner, 0, sizeof(g.inner));
  ThroughWrite(c, c.act, c.e, d_fast + kHeadState, momentum + kHeadState, c.s2, g, g.a, g.e);
  ThroughWrite(c, c.k, c.delta, d_fast, momentum, c.s1, g, g.k, g.delta);
  ThroughErrors(c, fast, first_order, g);
  StoreRows(g.k, n, kDim, d_tokens);
  for (int i = 0; i < n * kDim; i += kWidth) StoreV(d_tokens + kRows + i, -LoadV(g.e + i));
  double keep = 0, push = 0, hold = 0;
  for (int m = 0; m < 2; ++m) {
    const int at = m * kHeadState;
    keep += MatrixDot(d_fast + at, fast + at);
    push += MatrixDot(d_fast + at, fast + kTitansWeights + at);
    hold += MatrixDot(momentum + at, fast + kTitansWeights + at);
  }
  GateGrads(c, g, keep, push, hold, d_tokens + kTitansTheta);
  const float a = c.suf[0], rho = c.eta[0] * c.lam[0], he = c.eta[0] * c.h[0];
  for (int i = 0; i < kTitansWeights; i += kWidth) {
    const FV w = LoadV(d_fast + i);
    StoreV(momentum + i, w * rho + LoadV(momentum + i) * he);
    StoreV(d_fast + i, first_order ? w * a : w * a + LoadV(g.inner + i));
  }
}

void GatesBackward(const float* gates, const float* d_gates, int64_t n_tokens, int n_heads,
                   float* d_pre, float* d_bias) {
  const int width = 3 * n_heads;
  const I16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int i = 0; i < width; i += 16) {
    const int lanes = width - i < 16 ? width - i : 16;
    // sigmoid: g (1 - g); a tenth of it: g (1 - 10 g)
    const F16 top = Select(lane + i >= 2 * n_heads, Splat(1.0f / kTitansAlphaMax), Splat(1.0f));
    F16 sum = {};
    for (int64_t t = 0; t < n_tokens; ++t) {
      const int64_t at = t * width + i;
      const F16 g = LoadLanes(gates + at, lanes);
      const F16 d = LoadLanes(d_gates + at, lanes) * g * (1.0f - g * top);
      sum += d;
      StoreLanes(d_pre + at, d, lanes);
    }
    StoreLanes(d_bias + i, LoadLanes(d_bias + i, lanes) + sum, lanes);
  }
}

}  // namespace

extern const TitansMemoryTrainKernels kTitansMemoryTrain;
const TitansMemoryTrainKernels kTitansMemoryTrain = {Retrieve, RetrieveBackward, Write,
                                                     WriteBackward, GatesBackward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
