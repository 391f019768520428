#include "tensor/kernels.h"

namespace chimera {

namespace baseline {
extern const TensorKernels kTensorKernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const TensorKernels kTensorKernels;
}
namespace avx512 {
extern const TensorKernels kTensorKernels;
}
#endif

const TensorKernels& KernelsFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512::kTensorKernels;
  if (isa == Isa::kAvx2 || isa == Isa::kAvxVnni) return avx2::kTensorKernels;
#endif
  (void)isa;
  return baseline::kTensorKernels;
}

const TensorKernels& Kernels() {
  static const TensorKernels& best = KernelsFor(BestIsa());
  return best;
}

}  // namespace chimera
