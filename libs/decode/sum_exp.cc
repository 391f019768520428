#include "decode/sum_exp.h"

#include "base/cpu.h"

namespace chimera {

ExpSums SumExp(std::span<const float> values, double max) {
  const int n = static_cast<int>(values.size());
#if defined(__x86_64__)
  switch (BestIsa()) {
    case Isa::kAvx512:
      return avx512::SumExpBody(values.data(), n, max);
    case Isa::kAvx2:
    case Isa::kAvxVnni:
      return avx2::SumExpBody(values.data(), n, max);
    default:
      break;
  }
#endif
  return baseline::SumExpBody(values.data(), n, max);
}

}  // namespace chimera
