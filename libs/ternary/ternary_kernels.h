// Tables of the kernels behind ternary.h, one per instruction set; ternary.h dispatches to the best
// and documents the arguments. All tables give the same bits. Free of Abseil.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "ternary/grouped_rows.h"
#include "ternary/ternary.h"

namespace chimera {

// Quantizers and their inverses (quantize_body.cc). Tile ranges are explicit here.
struct QuantizeKernels {
  void (*weights)(const float* w, int rows, int cols, uint8_t* codes, uint16_t* scales,
                  int tile_begin, int tile_end);
  void (*sherry)(const float* w, int rows, int cols, uint8_t* codes, uint16_t* scales,
                 int tile_begin, int tile_end);
  void (*weights_back)(const TernaryView& w, int tile_begin, int tile_end, float* out);
  void (*weights_back_bf16)(const TernaryView& w, int tile_begin, int tile_end, uint16_t* out);
  void (*activations)(const float* x, int n_tokens, int cols, int8_t* q, float* s, int32_t* sums);
  void (*activations_back)(const int8_t* q, const float* s, int n_tokens, int cols, float* out);
  void (*activations_back_bf16)(const int8_t* q, const float* s, int n_tokens, int cols,
                                uint16_t* out);
  void (*int8_rows)(const float* w, int rows, int cols, int8_t* q, float* scale, int tile_begin,
                    int tile_end);
  void (*int8_row_back)(const Int8RowsView& w, int row, float* out);
};

// Products; one token is a GEMM of one (ternary_body.cc, base3_body.cc,
// int8_body.cc).
using TernaryGemmFunction = void(const TernaryView& w, int tile_begin, int tile_end, int n_tokens,
                                 const int8_t* q, const float* s, const int32_t* sums, float* y,
                                 int64_t ldy);
struct TernaryKernels {
  TernaryGemmFunction* gemm;
  TernaryGemmFunction* gemm_beside;  // for processors with HasPortsBesideProducts()
};
struct Int8Kernels {
  void (*gemm)(const Int8RowsView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
               const float* s, float* y, int64_t ldy);
  void (*gemv_tiles)(const Int8RowsView& w, const int32_t* tiles, int n_tiles, const int8_t* q,
                     const float* s, float* y);
};

// Rows of 6 and 4 bits (grouped_body.cc, grouped_rows.h).
struct GroupedKernels {
  void (*quantize)(const float* w, int rows, int cols, int bits, uint8_t* codes, uint16_t* scales,
                   int tile_begin, int tile_end);
  void (*row_back)(const GroupedRowsView& w, int row, float* out);
  void (*gemm)(const GroupedRowsView& w, int tile_begin, int tile_end, int n_tokens,
               const int8_t* q, const float* s, const int32_t* sums, float* y, int64_t ldy);
  void (*gemv_tiles)(const GroupedRowsView& w, const int32_t* tiles, int n_tiles, const int8_t* q,
                     const float* s, const int32_t* sums, float* y);
};

// AMX tiles (amx_body.cc), for any number of tokens. Only when HasAmxInt8(); null pointers in
// builds without.
struct AmxKernels {
  void (*ternary_gemm)(const TernaryView& w, int tile_begin, int tile_end, int n_tokens,
                       const int8_t* q, const float* s, float* y, int64_t ldy);
  void (*int8_gemm)(const Int8RowsView& w, int tile_begin, int tile_end, int n_tokens,
                    const int8_t* q, const float* s, float* y, int64_t ldy);
  void (*grouped_gemm)(const GroupedRowsView& w, int tile_begin, int tile_end, int n_tokens,
                       const int8_t* q, const float* s, float* y, int64_t ldy);
};

const QuantizeKernels& QuantizeFor(Isa isa);
const TernaryKernels& TernaryFor(Isa isa, TritPacking packing = TritPacking::kTwoBit);
const Int8Kernels& Int8For(Isa isa);
const GroupedKernels& GroupedFor(Isa isa);
const AmxKernels& Amx();
// From how many tokens on they are the quickest with trits, and with rows of 8, 6 or 4 bits; out of
// memory and beside a neighbour on the core, too.
inline constexpr int kAmxTritTokens = 6, kAmxRowTokens = 8;
static inline bool AmxIsBest(int n_tokens, int from) { return n_tokens >= from && HasAmxInt8(); }
// Base-3 codes by byte lookups. Only when HasVbmi(); null pointers in builds without.
const TernaryKernels& Base3Lookup();

}  // namespace chimera
