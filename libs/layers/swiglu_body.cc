// SwiGLU's elementwise half, compiled once per instruction set; see swiglu.h.
#include "layers/native_vec.h"
#include "layers/swiglu.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

void Forward(const float* gate, const float* up, int64_t n, float* out) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(out + i, Silu(Load(gate + i)) * Load(up + i));
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    StoreN(out + i, Silu(LoadN(gate + i, rest)) * LoadN(up + i, rest), rest);
  }
}

void Backward(const float* gate, const float* up, const float* dout, int64_t n, float* dgate,
              float* dup) {
  for (int64_t i = 0; i < n; i += 16) {
    const int lanes = n - i < 16 ? static_cast<int>(n - i) : 16;
    const F16 x = LoadLanes(gate + i, lanes);
    const F16 u = LoadLanes(up + i, lanes);
    const F16 d = LoadLanes(dout + i, lanes);
    const F16 s = Sigmoid(x);
    StoreLanes(dup + i, d * (x * s), lanes);
    StoreLanes(dgate + i, d * u * (s + x * s * (1.0f - s)), lanes);
  }
}

}  // namespace

extern const SwigluKernels kSwiglu;
const SwigluKernels kSwiglu = {Forward, Backward};

}  // namespace CHIMERA_ISA
}  // namespace chimera
