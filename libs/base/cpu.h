// What this CPU can do. Kernels are compiled once per level and chosen at run time; every level
// gives the same bits (docs/numerics.md). Free of Abseil.
#pragma once

namespace chimera {

enum class Isa {
  kBaseline,  // what the compiler targets without flags; the only one off x86-64
  kAvx2,      // AVX2
  kAvx512,    // AVX-512 F, BW, DQ, VL and VNNI
};

// The best level this machine runs. The environment may lower it, for tests and for finding faults:
// CHIMERA_ISA=avx2 or =baseline; other values change nothing. Constant over the process's life.
Isa BestIsa();

// "baseline", "avx2", "avx512".
const char* IsaName(Isa isa);

// AMX int8 tiles, granted by the kernel to this process (asked once, on first call). Thread-safe.
bool HasAmxInt8();

}  // namespace chimera
