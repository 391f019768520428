#include "hdc/hyper_kernels.h"

namespace chimera {

namespace baseline {
extern const HyperKernels kHyper;
}
#if defined(__x86_64__)
namespace avx2 {
extern const HyperKernels kHyper;
}
namespace avx512 {
extern const HyperKernels kHyper;
}
namespace vpopcnt {
extern const HyperKernels kHyper;
}
#endif

const HyperKernels& HyperFor([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512 && Runs(Isa::kAvx512)) return avx512::kHyper;
  if (isa >= Isa::kAvx2 && Runs(Isa::kAvx2)) return avx2::kHyper;
#endif
  return baseline::kHyper;
}

std::vector<const HyperKernels*> EveryHyper() {
  std::vector<const HyperKernels*> every = {&baseline::kHyper};
#if defined(__x86_64__)
  if (Runs(Isa::kAvx2)) every.push_back(&avx2::kHyper);
  if (Runs(Isa::kAvx512)) {
    every.push_back(&avx512::kHyper);
    if (__builtin_cpu_supports("avx512vpopcntdq")) every.push_back(&vpopcnt::kHyper);
  }
#endif
  return every;
}

const HyperKernels& BestHyper() {
  static const HyperKernels& best = *EveryHyper().back();
  return best;
}

}  // namespace chimera
