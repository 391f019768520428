#include "ternary/grouped_rows.h"

#include "base/check.h"
#include "ternary/ternary_kernels.h"

namespace chimera {

#define CHIMERA_DECLARE_GROUPED(isa)           \
  namespace isa {                              \
  extern const GroupedKernels kGroupedKernels; \
  }
CHIMERA_DECLARE_GROUPED(baseline)
#if defined(__x86_64__)
CHIMERA_DECLARE_GROUPED(avx2)
CHIMERA_DECLARE_GROUPED(avx512)
#endif
#undef CHIMERA_DECLARE_GROUPED

const GroupedKernels& GroupedFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512::kGroupedKernels;
  if (isa == Isa::kAvx2 || isa == Isa::kAvxVnni) return avx2::kGroupedKernels;
#endif
  (void)isa;
  return baseline::kGroupedKernels;
}

namespace {

const GroupedKernels& Grouped() {
  static const GroupedKernels& best = GroupedFor(BestIsa());
  return best;
}

void CheckShape(int cols, int bits) {
  CHIMERA_CHECK(cols > 0 && cols % kActBlock == 0 && cols <= kTernaryMaxCols);
  CHIMERA_CHECK(bits == 4 || bits == 6);
}
void CheckTiles(int rows, int tile_begin, int tile_end) {
  CHIMERA_CHECK(tile_begin >= 0 && tile_end <= RowTiles(rows));
}

}  // namespace

void QuantizeGroupedRows(const float* w, int rows, int cols, int bits, uint8_t* codes,
                         uint16_t* scales, int tile_begin, int tile_end) {
  if (tile_end < 0) tile_end = RowTiles(rows);
  CheckShape(cols, bits);
  CheckTiles(rows, tile_begin, tile_end);
  Grouped().quantize(w, rows, cols, bits, codes, scales, tile_begin, tile_end);
}

void DequantizeGroupedRow(const GroupedRowsView& w, int row, float* out) {
  CHIMERA_CHECK(row >= 0 && row < w.rows);
  CheckShape(w.cols, w.bits);
  Grouped().row_back(w, row, out);
}

void GroupedGemm(const GroupedRowsView& w, int tile_begin, int tile_end, int n_tokens,
                 const int8_t* q, const float* s, const int32_t* sums, float* y, int64_t ldy) {
  CheckShape(w.cols, w.bits);
  CheckTiles(w.rows, tile_begin, tile_end);
  if (AmxIsBest(n_tokens, kAmxRowTokens)) {
    return Amx().grouped_gemm(w, tile_begin, tile_end, n_tokens, q, s, y, ldy);
  }
  Grouped().gemm(w, tile_begin, tile_end, n_tokens, q, s, sums, y, ldy);
}

void GroupedGemvTiles(const GroupedRowsView& w, const int32_t* tiles, int n_tiles, const int8_t* q,
                      const float* s, const int32_t* sums, float* y) {
  CheckShape(w.cols, w.bits);
  for (int i = 0; i < n_tiles; ++i) CheckTiles(w.rows, tiles[i], tiles[i] + 1);
  Grouped().gemv_tiles(w, tiles, n_tiles, q, s, sums, y);
}

}  // namespace chimera
