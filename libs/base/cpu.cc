#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include <cstdlib>
#include <cstring>

namespace chimera {
namespace {

// What the machine has, whatever the environment says.
bool MachineHas(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return true;
#if defined(__x86_64__)
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kAvxVnni:
      return MachineHas(Isa::kAvx2) && (MachineHas(Isa::kAvx512) || HasVexVnni());
    case Isa::kAvx512:
      return MachineHas(Isa::kAvx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#endif
#if defined(__aarch64__) && defined(__linux__)
    case Isa::kNeonDot: {
      constexpr unsigned long kAsimdDp = 1ul << 20;  // HWCAP_ASIMDDP
      return (getauxval(AT_HWCAP) & kAsimdDp) != 0;
    }
#endif
    default:
      return false;
  }
}

Isa LoweredIsa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#endif
  const char* const wanted = std::getenv("CHIMERA_ISA");
  Isa best = Isa::kBaseline;
  for (Isa isa : kEveryIsa) {
    if (!MachineHas(isa)) continue;
    best = isa;
    if (wanted != nullptr && std::strcmp(wanted, IsaName(isa)) == 0) break;
  }
  return best;
}

// The family of an AMD processor; 0 of others.
unsigned AmdFamily() {
#if defined(__x86_64__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kAuth = 0x68747541, kEnti = 0x69746e65, kCamd = 0x444d4163;
  if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0) return 0;
  if (ebx != kAuth || edx != kEnti || ecx != kCamd) return 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return 0;
  return ((eax >> 8) & 15) + ((eax >> 20) & 255);
#else
  return 0;
#endif
}

}  // namespace

Isa BestIsa() {
  static const Isa best = LoweredIsa();
  return best;
}

bool Runs(Isa isa) { return isa <= BestIsa() && MachineHas(isa); }

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kBaseline:
      return "baseline";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvxVnni:
      return "avxvnni";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kNeonDot:
      return "neondot";
  }
  return "unknown";
}

bool HasVexVnni() {
#if defined(__x86_64__)
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  // Leaf 7, subleaf 1; AVX2 says that the operating system keeps the registers.
  return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 &&
         ((eax >> 4) & 1) != 0;
#else
  return false;
#endif
}

bool HasVbmi() {
#if defined(__x86_64__)
  static const bool has = BestIsa() == Isa::kAvx512 && __builtin_cpu_supports("avx512vbmi") &&
                          __builtin_cpu_supports("gfni");
  return has;
#else
  return false;
#endif
}

bool HasPortsBesideProducts() {
  static const bool has = AmdFamily() != 0;
  return has;
}

bool ReadsAheadInPages() {
  constexpr unsigned kZen5 = 0x1a;
  static const bool reads = AmdFamily() >= kZen5;
  return reads;
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
