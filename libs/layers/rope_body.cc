// Rotary positions, compiled once per instruction set; see rope.h.
#include "layers/rope.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

// 10000^(-i / 32)
constexpr double kFrequencies[kRopePairs] = {1.0,
                                             0.7498942093324559,
                                             0.5623413251903491,
                                             0.4216965034285822,
                                             0.31622776601683794,
                                             0.23713737056616552,
                                             0.1778279410038923,
                                             0.1333521432163324,
                                             0.1,
                                             0.07498942093324558,
                                             0.05623413251903491,
                                             0.042169650342858224,
                                             0.03162277660168379,
                                             0.023713737056616554,
                                             0.01778279410038923,
                                             0.01333521432163324,
                                             0.01,
                                             0.007498942093324558,
                                             0.005623413251903491,
                                             0.004216965034285823,
                                             0.0031622776601683794,
                                             0.0023713737056616554,
                                             0.0017782794100389228,
                                             0.001333521432163324,
                                             0.001,
                                             0.0007498942093324559,
                                             0.0005623413251903491,
                                             0.00042169650342858224,
                                             0.00031622776601683794,
                                             0.00023713737056616554,
                                             0.00017782794100389227,
                                             0.0001333521432163324};
constexpr double kTwoOverPi = 0.6366197723675814;
constexpr double kHalfPiHigh = 0x1.921fb50000000p+0;  // 26 bits: products with n < 2^27 are exact
constexpr double kHalfPiLow = 0x1.110b4611a6263p-26;
constexpr double kRoundMagic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer

// Taylor series on |r| <= pi/4; the last terms are below 1e-10.
CHIMERA_VEC double SinPoly(double r) {
  const double r2 = r * r;
  double p = -1.0 / 39916800;
  p = p * r2 + 1.0 / 362880;
  p = p * r2 - 1.0 / 5040;
  p = p * r2 + 1.0 / 120;
  p = p * r2 - 1.0 / 6;
  return r + r * (r2 * p);
}
CHIMERA_VEC double CosPoly(double r) {
  const double r2 = r * r;
  double p = 1.0 / 479001600;
  p = p * r2 - 1.0 / 3628800;
  p = p * r2 + 1.0 / 40320;
  p = p * r2 - 1.0 / 720;
  p = p * r2 + 1.0 / 24;
  p = p * r2 - 0.5;
  return 1.0 + r2 * p;
}

void Angles(int64_t position, float* cos, float* sin) {
  for (int i = 0; i < kRopePairs; ++i) {
    const double angle = static_cast<double>(position) * kFrequencies[i];
    const double n = (angle * kTwoOverPi + kRoundMagic) - kRoundMagic;
    const double r = (angle - n * kHalfPiHigh) - n * kHalfPiLow;
    const double s = SinPoly(r), c = CosPoly(r);
    const int quarter = static_cast<int>(static_cast<int64_t>(n) & 3);  // turns by pi/2
    const double wide = quarter % 2 == 0 ? c : s, tall = quarter % 2 == 0 ? s : c;
    cos[i] = static_cast<float>(quarter == 1 || quarter == 2 ? -wide : wide);
    sin[i] = static_cast<float>(quarter >= 2 ? -tall : tall);
  }
}

CHIMERA_VEC void Turn(const float* x, int64_t rows, const float* cos, const float* sin, float sign,
                      float* y) {
  for (int64_t row = 0; row < rows; ++row, x += kHeadDim, y += kHeadDim) {
    for (int i = 0; i < kRopePairs; i += 16) {
      const F16 c = Load(cos + i), s = Load(sin + i) * sign;
      const F16 low = Load(x + i), high = Load(x + kRopePairs + i);
      Store(y + i, Fma(low, c, high * s));
      Store(y + kRopePairs + i, Fma(high, c, -(low * s)));
    }
  }
}

void Rotate(const float* x, int64_t rows, const float* cos, const float* sin, float* y) {
  Turn(x, rows, cos, sin, 1.0f, y);
}

void Unrotate(const float* x, int64_t rows, const float* cos, const float* sin, float* y) {
  Turn(x, rows, cos, sin, -1.0f, y);
}

}  // namespace

extern const RopeKernels kRope;
const RopeKernels kRope = {Angles, Rotate, Unrotate};

}  // namespace CHIMERA_ISA
}  // namespace chimera
