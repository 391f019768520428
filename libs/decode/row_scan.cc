#include "decode/row_scan.h"

#include "base/cpu.h"

namespace chimera {
namespace {

const RowScanBody& Best() {
#if defined(__x86_64__)
  if (BestIsa() == Isa::kAvx512) return avx512::kRowScan;
  if (BestIsa() == Isa::kAvx2 || BestIsa() == Isa::kAvxVnni) return avx2::kRowScan;
#endif
  return baseline::kRowScan;
}

}  // namespace

bool DivideAll(std::span<float> values, float divisor) {
  return Best().divide(values.data(), static_cast<int>(values.size()), divisor);
}

float StrandMaxima(std::span<const float> values, std::span<float> maxima, bool* finite) {
  return Best().maxima(values.data(), static_cast<int>(values.size()), maxima.data(), finite);
}

}  // namespace chimera
