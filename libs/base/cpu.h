// What this CPU can do. Kernels are compiled once per level and chosen at run time; every level
// gives the same bits (docs/numerics.md). Free of Abseil.
#pragma once

namespace chimera {

// Those of one machine in the order of what they can do.
enum class Isa {
  kBaseline,  // what the compiler targets without flags
  kAvx2,      // AVX2 and FMA
  kAvxVnni,   // AVX2 and the int8 dot product of 256 bits; the float kernels are those of AVX2
  kAvx512,    // AVX-512 F, BW, DQ, VL and VNNI
  kNeonDot,  // aarch64 with the int8 dot product; the float kernels are the baseline, which is NEON
};
inline constexpr Isa kEveryIsa[] = {Isa::kBaseline, Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512,
                                    Isa::kNeonDot};

// The best level this machine runs. The environment may lower it, for tests and for finding faults:
// CHIMERA_ISA=avxvnni, =avx2 or =baseline; a level this machine lacks and other values change
// nothing. Constant over the process's life.
Isa BestIsa();

// Whether kernels of this level may run here: the machine has it, and it is not above BestIsa().
bool Runs(Isa isa);

// "baseline", "avx2", "avxvnni", "avx512", "neondot".
const char* IsaName(Isa isa);

// Whether the dot product of kAvxVnni has its VEX form here. Without it the level runs on machines
// with AVX-512, whose VNNI has the same instruction in EVEX form.
bool HasVexVnni();

// Byte lookups of AVX-512 VBMI and affine maps of GFNI, which kAvx512 does not promise. False below
// that level.
bool HasVbmi();

// Whether products of 512 bits leave ports to other vector operations, as on AMD's processors.
// Elsewhere both share two ports, and what is unpacked beside products costs their time.
bool HasPortsBesideProducts();

// Whether the processor itself keeps ahead of a read within a small page, so that asking for every
// line is slower than asking for the first of each page: Zen 5 and what follows it.
bool ReadsAheadInPages();

// AMX int8 tiles, granted by the kernel to this process (asked once, on first call). Thread-safe.
bool HasAmxInt8();

}  // namespace chimera
