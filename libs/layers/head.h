// Sizes shared by the recurrent layers: every head has 64 key and 64 value dimensions, its state is
// key-major (row = key dimension), and training walks a sequence in chunks of at most 64 tokens.
// Free of Abseil: kernel bodies include it.
#pragma once

#include <cstdint>

namespace chimera {

inline constexpr int kHeadDim = 64;
inline constexpr int kHeadState = kHeadDim * kHeadDim;  // floats
inline constexpr int kChunkTokens = 64;

// Chunks the kernels cut a sequence into: a new one at token 0, at every reset and after 64 tokens.
// reset may be null. Buffers of saved start states hold this many entries.
int64_t CountChunks(const uint8_t* reset, int64_t n_tokens);

// An upper bound when only the number of resets is known: ceil(n_tokens / 64) + n_resets.
int64_t MaxChunks(int64_t n_tokens, int64_t n_resets);

}  // namespace chimera
