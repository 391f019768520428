// RMSNorm, compiled once per instruction set; see rms_norm.h.
#include "layers/native_vec.h"
#include "layers/rms_norm.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

void Forward(const float* x, const float* gamma, int rows, int n, float* y, float* inv_rms) {
  for (int i = 0; i < n; i += 16) __builtin_prefetch(gamma + i);  // as far away as weights are
  for (int row = 0; row < rows; ++row) {
    const float inv = 1.0f / Sqrt1(Dot(x, x, n) / static_cast<float>(n) + kNormEps);
    int i = 0;
    for (; i + 16 <= n; i += 16) Store(y + i, Load(x + i) * inv * Load(gamma + i));
    if (i < n) StoreN(y + i, LoadN(x + i, n - i) * inv * LoadN(gamma + i, n - i), n - i);
    if (inv_rms != nullptr) inv_rms[row] = inv;
    x += n;
    y += n;
  }
}

// sum of x gamma dy, in Dot's lane order.
float WeightedDot(const float* x, const float* gamma, const float* dy, int n) {
  F16 sum = {};
  int i = 0;
  for (; i + 16 <= n; i += 16) sum = sum + Load(x + i) * (Load(gamma + i) * Load(dy + i));
  if (i < n) {
    const int rest = n - i;
    sum = sum + LoadN(x + i, rest) * (LoadN(gamma + i, rest) * LoadN(dy + i, rest));
  }
  return FoldAdd(sum);
}

void Backward(const float* x, const float* gamma, const float* inv_rms, const float* dy, int rows,
              int n, float* dx, float* dgamma) {
  for (int row = 0; row < rows; ++row) {
    const float inv = inv_rms[row];
    const float mean = WeightedDot(x, gamma, dy, n) * inv / static_cast<float>(n);
    for (int i = 0; i < n; i += 16) {
      const int lanes = n - i < 16 ? n - i : 16;
      const F16 xn = LoadLanes(x + i, lanes) * inv;
      const F16 d = LoadLanes(dy + i, lanes);
      if (dgamma != nullptr) StoreLanes(dgamma + i, LoadLanes(dgamma + i, lanes) + xn * d, lanes);
      StoreLanes(dx + i, (LoadLanes(gamma + i, lanes) * d - xn * mean) * inv, lanes);
    }
    x += n;
    dy += n;
    dx += n;
  }
}

}  // namespace

extern const RmsNormKernels kRmsNorm;
const RmsNormKernels kRmsNorm = {Forward, Backward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
