// The operations of hypervectors on bare words, compiled once per instruction set (hyper_body.cc)
// and chosen at run time; hyper_naive.h has the obvious twins, which every level equals bit for
// bit. A vector is 128 words aligned to 64 bytes (HyperVector has both); rows are vectors one after
// the other. Nothing here allocates; everything is thread-safe. Free of Abseil.
#pragma once

#include <cstdint>
#include <vector>

#include "base/cpu.h"
#include "hdc/pick_plan.h"

namespace chimera {

struct HyperKernels {
  const char* name;

  // out = a XOR b; out may be a or b.
  void (*bind)(const uint64_t* a, const uint64_t* b, uint64_t* out);

  // Bit i of a becomes bit i + left modulo 8,192 of out, 0 <= left < 8192; out is not a.
  void (*rotate)(const uint64_t* a, int left, uint64_t* out);

  // Full adder, bit by bit: sum becomes the parity of sum, b and carry, carry their majority.
  void (*full_add)(uint64_t* sum, const uint64_t* b, uint64_t* carry);

  // planes holds n rows, bit i of plane p having weight 2^p in counter i. out = counter > half, and
  // where a counter equals half the bit of tie, or 0 when tie is null.
  void (*exceeds)(const uint64_t* planes, int n, uint32_t half, const uint64_t* tie, uint64_t* out);

  // The first n words of the plan's result, 0 <= n <= 64.
  void (*pick)(const uint64_t* a, const PickPlan& plan, int n, uint16_t* out);

  // Number of differing bits, 0..8192.
  uint32_t (*hamming)(const uint64_t* a, const uint64_t* b);

  // The same while it is at most limit; otherwise anything above limit, often without reading more
  // than the first 32 words.
  uint32_t (*hamming_within)(const uint64_t* a, const uint64_t* b, uint32_t limit);

  // out[r * n_queries + q] = distance of row r and query q. Each row is read once.
  void (*hamming_rows)(const uint64_t* queries, int n_queries, const uint64_t* rows, int n_rows,
                       uint32_t* out);
};

// The level of this instruction set: baseline (NEON on aarch64), AVX2 or AVX-512.
const HyperKernels& HyperFor(Isa isa);
// Those this machine runs, slowest first: the levels above, and AVX-512 with VPOPCNTDQ.
std::vector<const HyperKernels*> EveryHyper();
// The last of them; constant over the process's life.
const HyperKernels& BestHyper();

}  // namespace chimera
