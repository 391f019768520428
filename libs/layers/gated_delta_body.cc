// Serving forms of the gated delta rule, compiled once per instruction set; see gated_delta.h.
#include "layers/gated_delta.h"
#include "layers/native_vec.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr float kEps = 1e-6f;
constexpr float kScale = 0.125f;  // 64^-1/2

void L2Norm(const float* u, int64_t rows, float* y, float* inv) {
  for (int64_t row = 0; row < rows; ++row, u += kHeadDim, y += kHeadDim) {
    const float factor = 1.0f / Sqrt1(Dot(u, u, kHeadDim) + kEps);
    for (int i = 0; i < kHeadDim; i += 16) Store(y + i, Load(u + i) * factor);
    if (inv != nullptr) inv[row] = factor;
  }
}

void Gates(const float* a, const float* b, const float* a_log, const float* dt_bias,
           int64_t n_tokens, int n_heads, float* g, float* beta) {
  for (int head = 0; head < n_heads; head += 16) {
    const int lanes = n_heads - head < 16 ? n_heads - head : 16;
    const F16 rate = -Exp(LoadN(a_log + head, lanes));
    const F16 bias = LoadN(dt_bias + head, lanes);
    for (int64_t t = 0; t < n_tokens; ++t) {
      const int64_t at = t * n_heads + head;
      const F16 gate = rate * Softplus(LoadN(a + at, lanes) + bias);
      const F16 rank = Sigmoid(LoadN(b + at, lanes));
      StoreN(g + at, gate, lanes);
      StoreN(beta + at, rank, lanes);
    }
  }
}

// Both outputs are local buffers of the caller: they never alias the inputs.
CHIMERA_VEC void ReadState(const float* state, const float* q, const float* k, const float* v,
                           float alpha, float beta, float* o, float* u) {
  const float kq = Dot(k, q, kHeadDim);
  for (int c = 0; c < kHeadDim; c += kColumnBlock) {
    FV r[kColumnVectors] = {};  // S^T k
    FV p[kColumnVectors] = {};  // S^T q
    for (int row = 0; row < kHeadDim; ++row) {
      const FV kr = SplatV(k[row]);
      const FV qr = SplatV(q[row]);
      const float* s = state + row * kHeadDim + c;
      for (int j = 0; j < kColumnVectors; ++j) {
        const FV x = LoadV(s + j * kWidth);
        r[j] = Fma(kr, x, r[j]);
        p[j] = Fma(qr, x, p[j]);
      }
    }
    for (int j = 0; j < kColumnVectors; ++j) {
      const int column = c + j * kWidth;
      const FV uj = (LoadV(v + column) - r[j] * alpha) * beta;
      StoreV(u + column, uj);
      StoreV(o + column, (p[j] * alpha + uj * kq) * kScale);
    }
  }
}

CHIMERA_VEC void WriteState(float* state, const float* k, const float* u, float alpha) {
  for (int c = 0; c < kHeadDim; c += kColumnBlock) {
    FV uc[kColumnVectors];
    for (int j = 0; j < kColumnVectors; ++j) uc[j] = LoadV(u + c + j * kWidth);
    for (int row = 0; row < kHeadDim; ++row) {
      const FV kr = SplatV(k[row]);
      float* s = state + row * kHeadDim + c;
      for (int j = 0; j < kColumnVectors; ++j) {
        StoreV(s + j * kWidth, Fma(kr, uc[j], LoadV(s + j * kWidth) * alpha));
      }
    }
  }
}

void Step(float* state, const float* q, const float* k, const float* v, float g, float beta,
          float* o) {
  alignas(64) float out[kHeadDim];
  alignas(64) float u[kHeadDim];
  const float alpha = Exp1(g);
  ReadState(state, q, k, v, alpha, beta, out, u);
  WriteState(state, k, u, alpha);
  std::memcpy(o, out, sizeof(out));
}

void Read(const float* state, const float* q, const float* k, const float* v, float g, float beta,
          float* o, float* u) {
  alignas(64) float out[kHeadDim];
  alignas(64) float write[kHeadDim];
  ReadState(state, q, k, v, Exp1(g), beta, out, write);
  std::memcpy(o, out, sizeof(out));
  std::memcpy(u, write, sizeof(write));
}

void Write(float* state, const float* k, const float* u, float g) {
  WriteState(state, k, u, Exp1(g));
}

void HeadNorm(const float* o, const float* h, const float* gamma, int64_t rows, float* y,
              float* inv) {
  for (int64_t row = 0; row < rows; ++row, o += kHeadDim, h += kHeadDim, y += kHeadDim) {
    const float factor = 1.0f / Sqrt1(Dot(o, o, kHeadDim) / kHeadDim + kEps);
    for (int i = 0; i < kHeadDim; i += 16) {
      Store(y + i, Load(o + i) * factor * Load(gamma + i) * Silu(Load(h + i)));
    }
    if (inv != nullptr) inv[row] = factor;
  }
}

}  // namespace

extern const GatedDeltaKernels kGatedDelta;
const GatedDeltaKernels kGatedDelta = {L2Norm, Gates, Step, Read, Write, HeadNorm};

}  // namespace CHIMERA_ISA
}  // namespace chimera
