// The tied embedding and output head in whatever packing the file has: int8 rows, rows of 6 or 4
// bits, or floats when quantization is off (docs/formats/b158.md).
#pragma once

#include <cstdint>

#include "model/layout.h"
#include "ternary/grouped_rows.h"
#include "ternary/ternary.h"

namespace chimera {

// A borrowed view of [rows][cols]; immutable. One of the three is set.
struct HeadView {
  Int8RowsView int8{};
  GroupedRowsView grouped{};
  const float* dense = nullptr;  // row-major
  int rows = 0;
  int cols = 0;
};

// The view of a payload as PayloadBytes lays it out; not of a ternary kind.
HeadView HeadOf(const TensorSpec& spec, const uint8_t* payload);

// "int8", "6 bits", "4 bits" or "float".
const char* HeadPacking(const HeadView& head);
// Of codes and scales: what one evaluation of every row reads.
int64_t HeadBytes(const HeadView& head);

// The embedding of a token: out[cols]. 0 <= row < rows.
void HeadRow(const HeadView& head, int row, float* out);

// Vectors that the rows are multiplied with: floats [n][cols], and unless the head is float what
// QuantizeActivations makes of them. Borrowed.
struct HeadInput {
  const float* x = nullptr;
  const int8_t* q = nullptr;
  const float* s = nullptr;
  const int32_t* sums = nullptr;
};

// Logits y[token * rows + row] of n tokens, for the rows of tiles [tile_begin, tile_end).
void HeadProduct(const HeadView& head, int tile_begin, int tile_end, const HeadInput& in, int n,
                 float* y);
// Logits of one token for the listed tiles: tile tiles[i] fills y[16 * i .. 16 * i + 15]; what the
// last tile has beyond the last row is 0. The same bits as HeadProduct gives the row.
void HeadTiles(const HeadView& head, const int32_t* tiles, int n_tiles, const HeadInput& in,
               float* y);

}  // namespace chimera
