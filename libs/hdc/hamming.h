// Hamming distance of two 128-word vectors, once per instruction set. Bodies live in hamming_*.cc,
// are free of the standard library, and are compared with HammingNaive bit for bit. Functions here
// are thread-safe; a and b may be the same vector and need 64-byte alignment (HyperVector has it).
#pragma once

#include <cstdint>
#include <vector>

namespace chimera {

using HammingFn = uint32_t (*)(const uint64_t* a, const uint64_t* b);

enum class HammingIsa { kScalar, kAvx2, kAvx512 };

// Those this binary has and this CPU can run, slowest first; kScalar is always there.
std::vector<HammingIsa> SupportedHammingIsas();
HammingIsa BestHammingIsa();
// The body; kScalar's for an instruction set that is not supported here.
HammingFn HammingFor(HammingIsa isa);

// The obvious twin: XOR and popcount, word by word.
uint32_t HammingNaive(const uint64_t* a, const uint64_t* b);
uint32_t HammingAvx2(const uint64_t* a, const uint64_t* b);
uint32_t HammingAvx512(const uint64_t* a, const uint64_t* b);

}  // namespace chimera
