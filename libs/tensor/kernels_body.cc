#include "tensor/kernels.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

void Add(const float* a, const float* b, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(out + i, Load(a + i) + Load(b + i));
  for (; i < n; ++i) out[i] = a[i] + b[i];
}

// The sum below carries into the exponent when the mantissa rounds up, which is right up to
// infinity; only a NaN must not carry: it keeps its upper half, made quiet.
CHIMERA_VEC uint16_t Bf16Of(uint32_t bits) {
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

void ToBf16(const float* x, int64_t n, uint16_t* out) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    out[i] = Bf16Of(bits);
  }
}

void FromBf16(const uint16_t* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = static_cast<uint32_t>(x[i]) << 16;
    std::memcpy(out + i, &bits, sizeof(bits));
  }
}

void RoundBf16(const float* x, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    bits = static_cast<uint32_t>(Bf16Of(bits)) << 16;
    std::memcpy(out + i, &bits, sizeof(bits));
  }
}

void AdamW(const AdamWStep& s, int64_t n, float* __restrict w, const float* __restrict grad,
           float* __restrict m, float* __restrict v) {
  const float keep = 1.0f - s.lr * s.weight_decay;
  for (int64_t i = 0; i < n; ++i) {
    const float g = grad[i] * s.grad_scale;
    const float mi = s.beta1 * m[i] + (1.0f - s.beta1) * g;
    const float vi = s.beta2 * v[i] + (1.0f - s.beta2) * (g * g);
    m[i] = mi;
    v[i] = vi;
    const float update = mi * s.correction1 / (__builtin_sqrtf(vi * s.correction2) + s.eps);
    w[i] = w[i] * keep - s.lr * update;
  }
}

double SumSquares(const float* x, int64_t n) {
  double total = 0.0;
  for (int64_t begin = 0; begin < n; begin += 4096) {
    const int64_t count = n - begin < 4096 ? n - begin : 4096;
    total += static_cast<double>(Dot(x + begin, x + begin, static_cast<int>(count)));
  }
  return total;
}

float LogSumExp(const float* x, int64_t n) {
  F16 top = Splat(x[0]);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) top = Max(top, Load(x + i));
  for (int64_t j = i; j < n; ++j) top = Max(top, Splat(x[j]));
  const float peak = FoldMax(top);
  F16 sum = {};
  for (i = 0; i + 16 <= n; i += 16) sum = sum + Exp(Load(x + i) - peak);
  if (i < n) {
    const int left = static_cast<int>(n - i);
    const F16 e = Exp(LoadN(x + i, left) - peak);
    float lanes[16] = {};
    StoreN(lanes, e, left);
    sum = sum + Load(lanes);
  }
  return peak + Log1(FoldAdd(sum));
}

void SoftmaxGrad(const float* x, int64_t n, float lse, int64_t target, float scale, float* grad) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(grad + i, Exp(Load(x + i) - lse) * scale);
  for (; i < n; ++i) grad[i] = Exp1(x[i] - lse) * scale;
  grad[target] = grad[target] - scale;
}

}  // namespace

extern const TensorKernels kTensorKernels;
const TensorKernels kTensorKernels = {Add,   ToBf16,     FromBf16,  RoundBf16,
                                      AdamW, SumSquares, LogSumExp, SoftmaxGrad};

}  // namespace CHIMERA_ISA
}  // namespace chimera
