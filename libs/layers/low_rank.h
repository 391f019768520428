// The low-rank correction beside a ternary map as it serves (math-backbone 8.3, HGF;
// arXiv 2602.05269): y = W x + B (gate * A x), A [16][cols], B [rows][16], floats in one order on
// every instruction set. The tables are *immutable*. Free of Abseil.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "ternary/ternary.h"

namespace chimera {

inline constexpr int kLowRank = 16;

// Floats of B as the kernel reads it: tiles of 16 rows, [tile][rank][row], padded rows zero.
static constexpr size_t LowRankLaneFloats(int rows) {
  return static_cast<size_t>(RowTiles(rows)) * kRowTile * kLowRank;
}

struct LowRankKernels {
  // h[token][16] = gate * (A x), the sum in the lane order of tensor/vec.h; x [tokens][cols].
  void (*down)(const float* a, float gate, int cols, const float* x, int n_tokens, float* h);
  // y[token * ldy + row] += sum_k B[row][k] h[token][k], k ascending, for the rows of tiles
  // [tile_begin, tile_end); only real rows are touched.
  void (*up)(const float* lanes, int rows, int tile_begin, int tile_end, const float* h,
             int n_tokens, float* y, int64_t ldy);
};

const LowRankKernels& LowRankFor(Isa isa);
const LowRankKernels& LowRank();  // the best for this CPU

// B [rows][16], row-major, into LowRankLaneFloats(rows) floats.
void LowRankLanes(const float* b, int rows, float* lanes);

}  // namespace chimera
