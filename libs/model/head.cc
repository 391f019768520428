#include "model/head.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "model/dense.h"

namespace chimera {

HeadView HeadOf(const TensorSpec& spec, const uint8_t* payload) {
  const int rows = spec.rows, cols = spec.cols;
  HeadView head = {.rows = rows, .cols = cols};
  if (spec.kind == TensorKind::kFloat) {
    head.dense = reinterpret_cast<const float*>(payload);
  } else if (IsGrouped(spec.kind)) {
    const int bits = GroupedBits(spec.kind);
    const uint8_t* scales = payload + GroupedCodeBytes(bits, rows, cols);
    head.grouped = {payload, reinterpret_cast<const uint16_t*>(scales), rows, cols, bits};
  } else {
    CHIMERA_CHECK(spec.kind == TensorKind::kInt8Rows);
    const uint8_t* scales = payload + Int8RowBytes(rows, cols);
    head.int8 = {reinterpret_cast<const int8_t*>(payload), reinterpret_cast<const float*>(scales),
                 rows, cols};
  }
  return head;
}

const char* HeadPacking(const HeadView& head) {
  if (head.dense != nullptr) return "float";
  if (head.grouped.codes == nullptr) return "int8";
  return head.grouped.bits == 4 ? "4 bits" : "6 bits";
}

int64_t HeadBytes(const HeadView& head) {
  const int rows = head.rows, cols = head.cols;
  if (head.dense != nullptr) return int64_t{rows} * cols * 4;
  if (head.grouped.codes == nullptr) {
    return static_cast<int64_t>(Int8RowBytes(rows, cols) + Int8RowScaleCount(rows) * 4);
  }
  return static_cast<int64_t>(GroupedCodeBytes(head.grouped.bits, rows, cols) +
                              GroupedScaleCount(rows, cols) * 2);
}

void HeadRow(const HeadView& head, int row, float* out) {
  if (head.dense != nullptr) {
    std::memcpy(out, head.dense + int64_t{row} * head.cols,
                static_cast<size_t>(head.cols) * sizeof(float));
  } else if (head.grouped.codes != nullptr) {
    DequantizeGroupedRow(head.grouped, row, out);
  } else {
    DequantizeInt8Row(head.int8, row, out);
  }
}

void HeadProduct(const HeadView& head, int tile_begin, int tile_end, const HeadInput& in, int n,
                 float* y) {
  if (head.dense != nullptr) {
    const int row = tile_begin * kRowTile, rows = std::min(tile_end * kRowTile, head.rows) - row;
    DenseRows(head.dense + int64_t{row} * head.cols, rows, head.cols, in.x, n, y + row, head.rows);
  } else if (head.grouped.codes != nullptr) {
    GroupedGemm(head.grouped, tile_begin, tile_end, n, in.q, in.s, in.sums, y, head.rows);
  } else {
    Int8Gemm(head.int8, tile_begin, tile_end, n, in.q, in.s, y, head.rows);
  }
}

void HeadTiles(const HeadView& head, const int32_t* tiles, int n_tiles, const HeadInput& in,
               float* y) {
  if (head.dense != nullptr) {
    for (int i = 0; i < n_tiles; ++i) {
      const int row = tiles[i] * kRowTile, rows = std::min(kRowTile, head.rows - row);
      float* out = y + int64_t{i} * kRowTile;
      std::fill_n(out, kRowTile, 0.0f);
      DenseRows(head.dense + int64_t{row} * head.cols, rows, head.cols, in.x, 1, out, kRowTile);
    }
  } else if (head.grouped.codes != nullptr) {
    GroupedGemvTiles(head.grouped, tiles, n_tiles, in.q, in.s, in.sums, y);
  } else {
    Int8GemvTiles(head.int8, tiles, n_tiles, in.q, in.s, y);
  }
}

}  // namespace chimera
