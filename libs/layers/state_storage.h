// A layer's recurrent state at rest (DESIGN D14: bf16 storage, fp32 arithmetic). A slab of floats
// is kept as its first n_rounded floats in bf16 and the rest as they are: an mLSTM's frames m stand
// at the end of its slab and stay exact, for rounding one rescales the whole head; a gated delta
// layer has no such tail. What rounding after every token costs is measured in
// docs/layers/state-storage.md. Plain pointers, no allocation; the same bytes on every instruction
// set.
#pragma once

#include <cstdint>

namespace chimera {

struct StateShape {
  int64_t n_rounded;  // floats kept in bf16
  int64_t n_exact;    // floats and other 4-byte values behind them
  int64_t floats() const { return n_rounded + n_exact; }
  int64_t stored_bytes() const { return 2 * n_rounded + 4 * n_exact; }
};

// The slabs of mixer_ops.h: conv inputs and matrices; matrices, vectors n and frames m.
StateShape GatedDeltaStateShape(int n_heads);
StateShape MlstmStateShape(int n_heads);

// slab [floats()] to bytes [stored_bytes()], little endian, and back. Unpacking what was packed
// gives RoundState of the slab.
void PackState(const StateShape& shape, const float* slab, uint8_t* bytes);
void UnpackState(const StateShape& shape, const uint8_t* bytes, float* slab);

// As if the slab had been stored and loaded again.
void RoundState(const StateShape& shape, float* slab);

}  // namespace chimera
