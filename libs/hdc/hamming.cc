#include "hdc/hamming.h"

#include "base/cpu.h"

namespace chimera {
namespace {

bool CpuHas(HammingIsa isa) {
#ifdef CHIMERA_HDC_X86
  switch (isa) {
    case HammingIsa::kScalar:
      return true;
    case HammingIsa::kAvx2:
      return Runs(Isa::kAvx2);
    case HammingIsa::kAvx512:
      return BestIsa() == Isa::kAvx512 && __builtin_cpu_supports("avx512vpopcntdq");
  }
#endif
  return isa == HammingIsa::kScalar;
}

}  // namespace

uint32_t HammingNaive(const uint64_t* a, const uint64_t* b) {
  uint32_t distance = 0;
  for (int w = 0; w < 128; ++w) distance += __builtin_popcountll(a[w] ^ b[w]);
  return distance;
}

std::vector<HammingIsa> SupportedHammingIsas() {
  std::vector<HammingIsa> isas;
  for (HammingIsa isa : {HammingIsa::kScalar, HammingIsa::kAvx2, HammingIsa::kAvx512}) {
    if (CpuHas(isa)) isas.push_back(isa);
  }
  return isas;
}

HammingIsa BestHammingIsa() { return SupportedHammingIsas().back(); }

HammingFn HammingFor([[maybe_unused]] HammingIsa isa) {
#ifdef CHIMERA_HDC_X86
  if (isa == HammingIsa::kAvx2 && CpuHas(isa)) return HammingAvx2;
  if (isa == HammingIsa::kAvx512 && CpuHas(isa)) return HammingAvx512;
#endif
  return HammingNaive;
}

}  // namespace chimera
