// The low-rank correction, compiled once per instruction set; see low_rank.h.
#include "layers/low_rank.h"
#include "layers/native_vec.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

void Down(const float* a, float gate, int cols, const float* x, int n_tokens, float* h) {
  for (int t = 0; t < n_tokens; ++t) {
    for (int k = 0; k < kLowRank; ++k) {
      h[t * kLowRank + k] = gate * Dot(a + int64_t{k} * cols, x + int64_t{t} * cols, cols);
    }
  }
}

void Up(const float* lanes, int rows, int tile_begin, int tile_end, const float* h, int n_tokens,
        float* y, int64_t ldy) {
  for (int tile = tile_begin; tile < tile_end; ++tile) {
    const float* b = lanes + int64_t{tile} * kRowTile * kLowRank;
    const int row = tile * kRowTile, left = rows - row;
    for (int t = 0; t < n_tokens; ++t) {
      F16 sum = Load(b) * h[t * kLowRank];
      for (int k = 1; k < kLowRank; ++k) {
        sum = Fma(Load(b + k * kRowTile), h[t * kLowRank + k], sum);
      }
      float* out = y + t * ldy + row;
      const int n = left < kRowTile ? left : kRowTile;
      StoreLanes(out, LoadLanes(out, n) + sum, n);
    }
  }
}

}  // namespace

extern const LowRankKernels kLowRankTable;
const LowRankKernels kLowRankTable = {Down, Up};

}  // namespace CHIMERA_ISA
}  // namespace chimera
