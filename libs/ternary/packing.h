// Denser packings of trits (docs/formats/ternary.md; math-backbone 8.3): base-3 bytes, which
// kernels read as they are, and Sherry, which is for files. These functions go between them and the
// two-bit codes of ternary.h, exactly, in both directions. Sizes and pointers as ternary.h: rows >=
// 1, cols a multiple of 64 up to kTernaryMaxCols, borrowed, no overlap. Codes hold
// TernaryCodeBytes(rows, cols); padded rows are written as t = 0 and not read. Nothing allocates.
// Thread-safe. Free of Abseil.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ternary/ternary.h"

namespace chimera {

// Five trits a byte: 1.6 bits a weight. Tiles of 16 rows x 20 columns in 64 bytes; trits beyond the
// last column and of padded rows are 0.
static constexpr size_t Base3Bytes(int rows, int cols) {
  return static_cast<size_t>(RowTiles(rows)) * TileCodeBytes(TritPacking::kBase3, cols);
}

// The byte of five trits as digits t + 1, the first most significant, and back: base-3 digits are 0
// to 2, and only 243 bytes stand for any (Base3Valid).
uint8_t Base3Byte(const uint8_t digits[5]);
void Base3Digits(uint8_t byte, uint8_t digits[5]);
bool Base3Valid(uint8_t byte);

void PackBase3(const uint8_t* codes, int rows, int cols, uint8_t* packed);
// False when a byte stands for no five trits, or a trit beyond the last column or row is not 0.
// What it refuses no kernel needs to fear: every byte has digits 0 to 2.
bool Base3MatrixValid(const uint8_t* packed, int rows, int cols);
// packed must be valid.
void UnpackBase3(const uint8_t* packed, int rows, int cols, uint8_t* codes);

// Five bits a block of four columns with exactly one zero: 1.25 bits a weight. The codes must come
// from QuantizeSherry or UnpackSherry.
static constexpr size_t SherryRowBytes(int cols) { return static_cast<size_t>(cols) / 32 * 5; }
static constexpr size_t SherryBytes(int rows, int cols) {
  return static_cast<size_t>(rows) * SherryRowBytes(cols);
}

void PackSherry(const uint8_t* codes, int rows, int cols, uint8_t* packed);
void UnpackSherry(const uint8_t* packed, int rows, int cols, uint8_t* codes);

}  // namespace chimera
