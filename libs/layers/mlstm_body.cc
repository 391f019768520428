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

// What the gates of one token do to the state: m', and the factors of the old state and of the
// write.
struct Gains {
  float frame, decay, gain;
};

Gains GainsOf(float m, float i, float f) {
  const float kept = m - Softplus1(-f);
  const float frame = kept > i ? kept : i;
  return {frame, Exp1(kept - frame), Exp1(i - frame)};
}

// key = e^(i-m') k, n' = e^(lf+m-m') n + key. n_next may be n.
CHIMERA_VEC void NextVector(const Gains& g, const float* n, const float* k, float* key,
                            float* n_next) {
  for (int row = 0; row < kHeadDim; row += 16) {
    const F16 x = Load(k + row) * g.gain;
    Store(key + row, x);
    Store(n_next + row, Fma(Load(n + row), g.decay, x));
  }
}

// One sweep over the old matrix: num = C'^T q when kRead, and stores C' when kWrite (c_next is c).
template <bool kRead, bool kWrite>
CHIMERA_VEC void SweepMatrix(float decay, const float* c, float* c_next, const float* q,
                             const float* key, const float* v, float* num) {
  for (int col = 0; col < kHeadDim; col += kColumnBlock) {
    FV sum[kColumnVectors] = {};
    FV value[kColumnVectors];
    for (int j = 0; j < kColumnVectors; ++j) value[j] = LoadV(v + col + j * kWidth);
    for (int row = 0; row < kHeadDim; ++row) {
      const FV kr = SplatV(key[row]);
      const FV qr = kRead ? SplatV(q[row]) : FV{};
      const int at = row * kHeadDim + col;
      for (int j = 0; j < kColumnVectors; ++j) {
        const FV x = Fma(kr, value[j], LoadV(c + at + j * kWidth) * decay);
        if (kWrite) StoreV(c_next + at + j * kWidth, x);
        if (kRead) sum[j] = Fma(qr, x, sum[j]);
      }
    }
    if (!kRead) continue;
    for (int j = 0; j < kColumnVectors; ++j) StoreV(num + col + j * kWidth, sum[j]);
  }
}

// h = s num / max(s |n'.q|, e^-m').
CHIMERA_VEC void Normalise(float frame, const float* n, const float* q, const float* num,
                           float* h) {
  const float nu = Dot(n, q, kHeadDim) * kScale;
  const float size = nu < 0.0f ? -nu : nu;
  const float floor = Exp1(-frame);
  const float den = size > floor ? size : floor;
  for (int col = 0; col < kHeadDim; col += 16) Store(h + col, Load(num + col) * kScale / den);
}

void Step(float* c, float* n, float* m, const float* q, const float* k, const float* v, float i,
          float f, float* h) {
  alignas(64) float num[kHeadDim];
  alignas(64) float key[kHeadDim];
  const Gains g = GainsOf(*m, i, f);
  NextVector(g, n, k, key, n);
  SweepMatrix<true, true>(g.decay, c, c, q, key, v, num);
  Normalise(g.frame, n, q, num, h);
  *m = g.frame;
}

void Read(const float* c, const float* n, float m, const float* q, const float* k, const float* v,
          float i, float f, float* h) {
  alignas(64) float num[kHeadDim];
  alignas(64) float key[kHeadDim];
  alignas(64) float n_next[kHeadDim];
  const Gains g = GainsOf(m, i, f);
  NextVector(g, n, k, key, n_next);
  SweepMatrix<true, false>(g.decay, c, nullptr, q, key, v, num);
  Normalise(g.frame, n_next, q, num, h);
}

void Write(float* c, float* n, float* m, const float* k, const float* v, float i, float f) {
  alignas(64) float key[kHeadDim];
  const Gains g = GainsOf(*m, i, f);
  NextVector(g, n, k, key, n);
  SweepMatrix<false, true>(g.decay, c, c, nullptr, key, v, nullptr);
  *m = g.frame;
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
const MlstmKernels kMlstm = {GateCap, Step, Read, Write, HeadNorm};

}  // namespace CHIMERA_ISA
}  // namespace chimera
