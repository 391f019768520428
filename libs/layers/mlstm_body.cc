// Serving forms of the mLSTM, compiled once per instruction set; see mlstm.h.
#include "layers/mlstm.h"
#include "layers/native_vec.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr float kEps = 1e-6f;
constexpr float kScale = 0.125f;  // 64^-1/2

void GateCap(const float* z, const float* bias, int64_t n_tokens, int n_heads, float* out) {
  for (int head = 0; head < n_heads; head += 16) {
    const int lanes = n_heads - head < 16 ? n_heads - head : 16;
    const F16 offset = LoadN(bias + head, lanes);
    for (int64_t t = 0; t < n_tokens; ++t) {
      const int64_t at = t * n_heads + head;
      StoreN(out + at, Tanh((LoadN(z + at, lanes) + offset) / kGateCap) * kGateCap, lanes);
    }
  }
}

void Step(float* c, float* n, float* m, const float* q, const float* k, const float* v, float i,
          float f, float* h) {
  alignas(64) float num[kHeadDim];
  alignas(64) float key[kHeadDim];  // e^(i-m') k
  const float kept = *m - Softplus1(-f);
  const float frame = kept > i ? kept : i;
  const float decay = Exp1(kept - frame);
  const float gain = Exp1(i - frame);
  for (int row = 0; row < kHeadDim; row += 16) {
    const F16 x = Load(k + row) * gain;
    Store(key + row, x);
    Store(n + row, Load(n + row) * decay + x);
  }
  for (int col = 0; col < kHeadDim; col += kColumnBlock) {
    FV sum[kColumnVectors] = {};
    FV value[kColumnVectors];
    for (int j = 0; j < kColumnVectors; ++j) value[j] = LoadV(v + col + j * kWidth);
    for (int row = 0; row < kHeadDim; ++row) {
      const FV kr = SplatV(key[row]);
      const FV qr = SplatV(q[row]);
      float* s = c + row * kHeadDim + col;
      for (int j = 0; j < kColumnVectors; ++j) {
        const FV x = LoadV(s + j * kWidth) * decay + kr * value[j];
        StoreV(s + j * kWidth, x);
        sum[j] = sum[j] + qr * x;
      }
    }
    for (int j = 0; j < kColumnVectors; ++j) StoreV(num + col + j * kWidth, sum[j]);
  }
  const float nu = Dot(n, q, kHeadDim) * kScale;
  const float size = nu < 0.0f ? -nu : nu;
  const float floor = Exp1(-frame);
  const float den = size > floor ? size : floor;
  for (int col = 0; col < kHeadDim; col += 16) Store(h + col, Load(num + col) * kScale / den);
  *m = frame;
}

void HeadNorm(const float* h, const float* gate, const float* gamma, int64_t n_tokens, int n_heads,
              float* y, float* inv) {
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int head = 0; head < n_heads; ++head) {
      const int64_t at = (t * n_heads + head) * kHeadDim;
      const float factor = 1.0f / Sqrt1(Dot(h + at, h + at, kHeadDim) / kHeadDim + kEps);
      for (int i = 0; i < kHeadDim; i += 16) {
        const F16 scale = Load(gamma + head * kHeadDim + i);
        Store(y + at + i, Load(h + at + i) * factor * scale * Sigmoid(Load(gate + at + i)));
      }
      if (inv != nullptr) inv[t * n_heads + head] = factor;
    }
  }
}

}  // namespace

extern const MlstmKernels kMlstm;
const MlstmKernels kMlstm = {GateCap, Step, HeadNorm};

}  // namespace CHIMERA_ISA
}  // namespace chimera
