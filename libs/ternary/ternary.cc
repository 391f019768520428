#include "ternary/ternary.h"

#include "base/check.h"
#include "ternary/ternary_kernels.h"

namespace chimera {

#define CHIMERA_DECLARE_PRODUCTS(isa)          \
  namespace isa {                              \
  extern const TernaryKernels kTernaryKernels; \
  extern const TernaryKernels kBase3Kernels;   \
  extern const Int8Kernels kInt8Kernels;       \
  }
#define CHIMERA_DECLARE_QUANTIZERS(isa)          \
  namespace isa {                                \
  extern const QuantizeKernels kQuantizeKernels; \
  }

CHIMERA_DECLARE_PRODUCTS(baseline)
CHIMERA_DECLARE_QUANTIZERS(baseline)
#if defined(__x86_64__)
CHIMERA_DECLARE_PRODUCTS(avx2)
CHIMERA_DECLARE_QUANTIZERS(avx2)
CHIMERA_DECLARE_PRODUCTS(avxvnni)
CHIMERA_DECLARE_PRODUCTS(avxvnni_evex)
CHIMERA_DECLARE_PRODUCTS(avx512)
CHIMERA_DECLARE_QUANTIZERS(avx512)
namespace vbmi {
extern const TernaryKernels kBase3Kernels;
}  // namespace vbmi
namespace amx {
extern const AmxKernels kAmxKernels;
}  // namespace amx
#elif defined(__aarch64__)
CHIMERA_DECLARE_PRODUCTS(neondot)
#endif

namespace {

struct Products {
  const TernaryKernels* two_bit;
  const TernaryKernels* base3;
  const Int8Kernels* int8;
};

#define CHIMERA_PRODUCTS(isa) \
  Products { &isa::kTernaryKernels, &isa::kBase3Kernels, &isa::kInt8Kernels }

Products ProductsFor(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2:
      return CHIMERA_PRODUCTS(avx2);
    case Isa::kAvxVnni:
      return HasVexVnni() ? CHIMERA_PRODUCTS(avxvnni) : CHIMERA_PRODUCTS(avxvnni_evex);
    case Isa::kAvx512:
      return CHIMERA_PRODUCTS(avx512);
#elif defined(__aarch64__)
    case Isa::kNeonDot:
      return CHIMERA_PRODUCTS(neondot);
#endif
    default:
      return CHIMERA_PRODUCTS(baseline);
  }
}

}  // namespace

const QuantizeKernels& QuantizeFor(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512::kQuantizeKernels;
  if (isa == Isa::kAvx2 || isa == Isa::kAvxVnni) return avx2::kQuantizeKernels;
#endif
  (void)isa;
  return baseline::kQuantizeKernels;
}

const TernaryKernels& TernaryFor(Isa isa, TritPacking packing) {
  const Products products = ProductsFor(isa);
  return packing == TritPacking::kBase3 ? *products.base3 : *products.two_bit;
}

const Int8Kernels& Int8For(Isa isa) { return *ProductsFor(isa).int8; }

const AmxKernels& Amx() {
#if defined(__x86_64__)
  return amx::kAmxKernels;
#else
  static constexpr AmxKernels kNone = {nullptr, nullptr, nullptr};
  return kNone;
#endif
}

const TernaryKernels& Base3Lookup() {
#if defined(__x86_64__)
  return vbmi::kBase3Kernels;
#else
  static constexpr TernaryKernels kNone = {nullptr, nullptr};
  return kNone;
#endif
}

namespace {

const QuantizeKernels& Quantize() {
  static const QuantizeKernels& best = QuantizeFor(BestIsa());
  return best;
}
const TernaryKernels& BestBase3() {
  return HasVbmi() ? Base3Lookup() : TernaryFor(BestIsa(), TritPacking::kBase3);
}
TernaryGemmFunction* GemmHere(const TernaryKernels& kernels) {
  return HasPortsBesideProducts() ? kernels.gemm_beside : kernels.gemm;
}
TernaryGemmFunction* BestGemm(TritPacking packing) {
  static TernaryGemmFunction* const best[] = {GemmHere(TernaryFor(BestIsa(), TritPacking::kTwoBit)),
                                              GemmHere(BestBase3())};
  return best[static_cast<size_t>(packing)];
}
const Int8Kernels& Int8() {
  static const Int8Kernels& best = Int8For(BestIsa());
  return best;
}

void CheckCols(int cols) {
  CHIMERA_CHECK(cols > 0 && cols % kActBlock == 0 && cols <= kTernaryMaxCols);
}
void CheckTiles(int rows, int tile_begin, int tile_end) {
  CHIMERA_CHECK(tile_begin >= 0 && tile_end <= RowTiles(rows));
}

}  // namespace

void QuantizeWeights(const float* w, int rows, int cols, uint8_t* codes, uint16_t* scales,
                     int tile_begin, int tile_end) {
  if (tile_end < 0) tile_end = RowTiles(rows);
  CheckCols(cols);
  CheckTiles(rows, tile_begin, tile_end);
  Quantize().weights(w, rows, cols, codes, scales, tile_begin, tile_end);
}

void QuantizeSherry(const float* w, int rows, int cols, uint8_t* codes, uint16_t* scales,
                    int tile_begin, int tile_end) {
  if (tile_end < 0) tile_end = RowTiles(rows);
  CheckCols(cols);
  CheckTiles(rows, tile_begin, tile_end);
  Quantize().sherry(w, rows, cols, codes, scales, tile_begin, tile_end);
}

void DequantizeWeights(const TernaryView& w, int tile_begin, int tile_end, float* out) {
  CHIMERA_CHECK(w.packing == TritPacking::kTwoBit);
  CheckCols(w.cols);
  CheckTiles(w.rows, tile_begin, tile_end);
  Quantize().weights_back(w, tile_begin, tile_end, out);
}

void DequantizeWeightsBf16(const TernaryView& w, int tile_begin, int tile_end, uint16_t* out) {
  CHIMERA_CHECK(w.packing == TritPacking::kTwoBit);
  CheckCols(w.cols);
  CheckTiles(w.rows, tile_begin, tile_end);
  Quantize().weights_back_bf16(w, tile_begin, tile_end, out);
}

void QuantizeActivations(const float* x, int n_tokens, int cols, int8_t* q, float* s,
                         int32_t* sums) {
  CheckCols(cols);
  Quantize().activations(x, n_tokens, cols, q, s, sums);
}

void DequantizeActivations(const int8_t* q, const float* s, int n_tokens, int cols, float* out) {
  CheckCols(cols);
  Quantize().activations_back(q, s, n_tokens, cols, out);
}

void DequantizeActivationsBf16(const int8_t* q, const float* s, int n_tokens, int cols,
                               uint16_t* out) {
  CheckCols(cols);
  Quantize().activations_back_bf16(q, s, n_tokens, cols, out);
}

void TernaryGemv(const TernaryView& w, int tile_begin, int tile_end, const int8_t* q,
                 const float* s, const int32_t* sums, float* y) {
  CheckCols(w.cols);
  CheckTiles(w.rows, tile_begin, tile_end);
  BestGemm(w.packing)(w, tile_begin, tile_end, 1, q, s, sums, y, 0);
}

int TilesTogether(int n_tokens) {
  constexpr int kFew = 4;       // what AMX takes; with one token some pages for each thread
  constexpr int kVectors = 12;  // products by vectors take one, two or three at a time
  constexpr int kGathers = 24;  // with more tokens they gather scales, once a piece
  if (n_tokens == 1 || AmxIsBest(n_tokens, kAmxTritTokens)) return kFew;
  return n_tokens <= 8 ? kVectors : kGathers;
}

void TernaryGemm(const TernaryView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
                 const float* s, const int32_t* sums, float* y, int64_t ldy) {
  if (n_tokens == 1) return TernaryGemv(w, tile_begin, tile_end, q, s, sums, y);
  CheckCols(w.cols);
  CheckTiles(w.rows, tile_begin, tile_end);
  if (AmxIsBest(n_tokens, kAmxTritTokens)) {
    return Amx().ternary_gemm(w, tile_begin, tile_end, n_tokens, q, s, y, ldy);
  }
  BestGemm(w.packing)(w, tile_begin, tile_end, n_tokens, q, s, sums, y, ldy);
}

void QuantizeInt8Rows(const float* w, int rows, int cols, int8_t* q, float* scale, int tile_begin,
                      int tile_end) {
  if (tile_end < 0) tile_end = RowTiles(rows);
  CheckCols(cols);
  CheckTiles(rows, tile_begin, tile_end);
  Quantize().int8_rows(w, rows, cols, q, scale, tile_begin, tile_end);
}

void DequantizeInt8Row(const Int8RowsView& w, int row, float* out) {
  CHIMERA_CHECK(row >= 0 && row < w.rows);
  CheckCols(w.cols);
  Quantize().int8_row_back(w, row, out);
}

void Int8Gemv(const Int8RowsView& w, int tile_begin, int tile_end, const int8_t* q, const float* s,
              float* y) {
  CheckCols(w.cols);
  CheckTiles(w.rows, tile_begin, tile_end);
  Int8().gemm(w, tile_begin, tile_end, 1, q, s, y, 0);
}

void Int8Gemm(const Int8RowsView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
              const float* s, float* y, int64_t ldy) {
  CheckCols(w.cols);
  CheckTiles(w.rows, tile_begin, tile_end);
  if (AmxIsBest(n_tokens, kAmxRowTokens)) {
    return Amx().int8_gemm(w, tile_begin, tile_end, n_tokens, q, s, y, ldy);
  }
  Int8().gemm(w, tile_begin, tile_end, n_tokens, q, s, y, ldy);
}

void Int8GemvTiles(const Int8RowsView& w, const int32_t* tiles, int n_tiles, const int8_t* q,
                   const float* s, float* y) {
  CheckCols(w.cols);
  for (int i = 0; i < n_tiles; ++i) CHIMERA_CHECK(tiles[i] >= 0 && tiles[i] < RowTiles(w.rows));
  Int8().gemv_tiles(w, tiles, n_tiles, q, s, y);
}

}  // namespace chimera
