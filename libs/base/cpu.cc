#include "base/cpu.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace chimera {
namespace {

Isa MachineIsa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni")) {
    return Isa::kAvx512;
  }
  if (__builtin_cpu_supports("avx2")) return Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

Isa LoweredIsa() {
  const char* const wanted = std::getenv("CHIMERA_ISA");
  const Isa machine = MachineIsa();
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2}) {
    if (wanted != nullptr && std::strcmp(wanted, IsaName(isa)) == 0) return std::min(isa, machine);
  }
  return machine;
}

}  // namespace

Isa BestIsa() {
  static const Isa best = LoweredIsa();
  return best;
}

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return "baseline";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

bool HasAmxInt8() {
#if defined(__x86_64__) && defined(__linux__)
  static const bool granted = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
    const bool amx_tile = (edx >> 24) & 1, amx_int8 = (edx >> 25) & 1;
    // Linux hands out the tile registers (feature 18) on request: ARCH_REQ_XCOMP_PERM.
    return amx_tile && amx_int8 && BestIsa() == Isa::kAvx512 &&
           syscall(SYS_arch_prctl, 0x1023, 18) == 0;
  }();
  return granted;
#else
  return false;
#endif
}

}  // namespace chimera
