#include "ternary/packing.h"

#include <array>
#include <cstring>

#include "base/check.h"

namespace chimera {
namespace {

constexpr int kTileCols = 16;
constexpr uint32_t kZeroTrits = 0x55555555u;  // sixteen columns of t = 0

// The four bytes of one row in a tile of sixteen columns: column j + 4 k is bits 2 k of byte j.
uint32_t PackRow(const uint8_t digits[kTileCols]) {
  uint64_t low, high;
  std::memcpy(&low, digits, 8);
  std::memcpy(&high, digits + 8, 8);
  const uint64_t both = low | high << 4;
  return static_cast<uint32_t>(both | both >> 32 << 2);
}

void UnpackRow(uint32_t packed, uint8_t digits[kTileCols]) {
  for (int k = 0; k < 4; ++k) {
    const uint32_t four = packed >> (2 * k) & 0x03030303u;
    std::memcpy(digits + 4 * k, &four, 4);
  }
}

// Where row `row` of a tile of columns stands in the codes.
size_t CodeAt(int row, int col, int cols) {
  const auto tile = static_cast<size_t>(row / kRowTile) * static_cast<size_t>(cols / kTileCols) +
                    static_cast<size_t>(col / kTileCols);
  return tile * 64 + static_cast<size_t>(row % kRowTile) * 4;
}

// The digits of columns [col, col + 16) of a row.
void LoadDigits(const uint8_t* codes, int row, int col, int cols, uint8_t* digits) {
  uint32_t packed;
  std::memcpy(&packed, codes + CodeAt(row, col, cols), 4);
  UnpackRow(packed, digits);
}

void StoreDigits(uint8_t* codes, int row, int col, int cols, const uint8_t* digits) {
  const uint32_t packed = PackRow(digits);
  std::memcpy(codes + CodeAt(row, col, cols), &packed, 4);
}

void ClearPaddedRows(uint8_t* codes, int rows, int cols) {
  for (int row = rows; row < RowTiles(rows) * kRowTile; ++row) {
    for (int col = 0; col < cols; col += kTileCols) {
      std::memcpy(codes + CodeAt(row, col, cols), &kZeroTrits, 4);
    }
  }
}

void CheckShape(int rows, int cols) {
  CHIMERA_CHECK(rows > 0 && cols > 0 && cols % kActBlock == 0 && cols <= kTernaryMaxCols);
}

// Base-3 tiles: byte 4 r + j of tile k holds columns 20 k + j, + 4, + 8, + 12, + 16 of row r.
constexpr int kBase3Cols = 20;
constexpr int kQuad = 4;

// index and flip of four digits with exactly one 1.
void SherryState(const uint8_t digits[4], int* index, int* flip) {
  int zero = 0;
  while (zero < 4 && digits[zero] != 1) ++zero;
  CHIMERA_CHECK(zero < 4);
  uint8_t sign[3];
  for (int i = 0, at = 0; i < 4; ++i) {
    if (i == zero) continue;
    CHIMERA_CHECK(digits[i] != 1);
    sign[at++] = digits[i];
  }
  *index = 4 * zero + 2 * (sign[1] != sign[0]) + (sign[2] != sign[0]);
  *flip = sign[0] == 0;
}

// The four digits of every state, at index * 2 + flip.
using SherryEntry = std::array<uint8_t, 4>;
std::array<SherryEntry, 32> SherryTable() {
  std::array<SherryEntry, 32> table;
  for (size_t state = 0; state < 32; ++state) {
    const auto index = static_cast<int>(state / 2);
    const uint8_t first = state % 2 != 0 ? 0 : 2, other = 2 - first;
    const uint8_t sign[3] = {first, (index & 2) != 0 ? other : first,
                             (index & 1) != 0 ? other : first};
    for (int i = 0, at = 0; i < 4; ++i) {
      table[state][static_cast<size_t>(i)] = i == index / 4 ? 1 : sign[at++];
    }
  }
  return table;
}

}  // namespace

uint8_t Base3Byte(const uint8_t digits[5]) {
  const int n = 81 * digits[0] + 27 * digits[1] + 9 * digits[2] + 3 * digits[3] + digits[4];
  return static_cast<uint8_t>((256 * n + 242) / 243);
}

void Base3Digits(uint8_t byte, uint8_t digits[5]) {
  int rest = byte;
  for (int k = 0; k < 5; ++k) {
    digits[k] = static_cast<uint8_t>((rest * 3) >> 8);
    rest = rest * 3 % 256;
  }
}

// 3^5 byte mod 256 is what is left after five digits: below 243 for the bytes of five trits.
bool Base3Valid(uint8_t byte) { return static_cast<uint8_t>(byte * 243) < 243; }

void PackBase3(const uint8_t* codes, int rows, int cols, uint8_t* packed) {
  CheckShape(rows, cols);
  const size_t tile_bytes = TileCodeBytes(TritPacking::kBase3, cols);
  uint8_t digits[kTernaryMaxCols + kBase3Cols];
  for (int row = 0; row < RowTiles(rows) * kRowTile; ++row) {
    std::memset(digits, 1, static_cast<size_t>(cols) + kBase3Cols);
    for (int col = 0; row < rows && col < cols; col += kTileCols) {
      LoadDigits(codes, row, col, cols, digits + col);
    }
    uint8_t* out = packed + static_cast<size_t>(row / kRowTile) * tile_bytes +
                   static_cast<size_t>(row % kRowTile) * kQuad;
    for (int col = 0; col < cols; col += kBase3Cols, out += 64) {
      for (int j = 0; j < kQuad; ++j) {
        const uint8_t* d = digits + col + j;
        const uint8_t five[5] = {d[0], d[4], d[8], d[12], d[16]};
        out[j] = Base3Byte(five);
      }
    }
  }
}

namespace {

// The four bytes of a row in the tile of columns col .. col + 19.
const uint8_t* Base3At(const uint8_t* packed, int row, int col, int cols) {
  return packed + static_cast<size_t>(row / kRowTile) * TileCodeBytes(TritPacking::kBase3, cols) +
         static_cast<size_t>(col / kBase3Cols) * 64 + static_cast<size_t>(row % kRowTile) * kQuad;
}

// The digits of those twenty columns.
void LoadBase3(const uint8_t* bytes, uint8_t digits[kBase3Cols]) {
  for (int j = 0; j < kQuad; ++j) {
    uint8_t five[5];
    Base3Digits(bytes[j], five);
    for (int k = 0; k < 5; ++k) digits[kQuad * k + j] = five[k];
  }
}

}  // namespace

bool Base3MatrixValid(const uint8_t* packed, int rows, int cols) {
  CheckShape(rows, cols);
  const size_t bytes = Base3Bytes(rows, cols);
  uint8_t fault = 0;
  for (size_t i = 0; i < bytes; ++i) fault |= static_cast<uint8_t>(packed[i] * 243) >= 243;
  const int last = (cols - 1) / kBase3Cols * kBase3Cols;
  uint8_t digits[kBase3Cols];
  for (int row = 0; row < RowTiles(rows) * kRowTile; ++row) {
    for (int col = row < rows ? last : 0; col < cols; col += kBase3Cols) {
      LoadBase3(Base3At(packed, row, col, cols), digits);
      for (int i = row < rows ? cols - col : 0; i < kBase3Cols; ++i) fault |= digits[i] != 1;
    }
  }
  return fault == 0;
}

void UnpackBase3(const uint8_t* packed, int rows, int cols, uint8_t* codes) {
  CheckShape(rows, cols);
  uint8_t digits[kTernaryMaxCols + kBase3Cols];
  for (int row = 0; row < rows; ++row) {
    for (int col = 0; col < cols; col += kBase3Cols) {
      LoadBase3(Base3At(packed, row, col, cols), digits + col);
    }
    for (int col = 0; col < cols; col += kTileCols) {
      StoreDigits(codes, row, col, cols, digits + col);
    }
  }
  ClearPaddedRows(codes, rows, cols);
}

void PackSherry(const uint8_t* codes, int rows, int cols, uint8_t* packed) {
  CheckShape(rows, cols);
  for (int row = 0; row < rows; ++row) {
    for (int col = 0; col < cols; col += 32, packed += 5) {
      uint8_t digits[32];
      LoadDigits(codes, row, col, cols, digits);
      LoadDigits(codes, row, col + kTileCols, cols, digits + kTileCols);
      std::memset(packed, 0, 5);
      for (int b = 0; b < 8; ++b) {
        int index, flip;
        SherryState(digits + 4 * b, &index, &flip);
        packed[b / 2] = static_cast<uint8_t>(packed[b / 2] | index << (b % 2 * 4));
        packed[4] = static_cast<uint8_t>(packed[4] | flip << b);
      }
    }
  }
}

void UnpackSherry(const uint8_t* packed, int rows, int cols, uint8_t* codes) {
  CheckShape(rows, cols);
  static const std::array<SherryEntry, 32> table = SherryTable();
  for (int row = 0; row < rows; ++row) {
    for (int col = 0; col < cols; col += 32, packed += 5) {
      uint8_t digits[32];
      for (int b = 0; b < 8; ++b) {
        const int index = packed[b / 2] >> (b % 2 * 4) & 15, flip = packed[4] >> b & 1;
        std::memcpy(digits + 4 * b, table[static_cast<size_t>(2 * index + flip)].data(), 4);
      }
      StoreDigits(codes, row, col, cols, digits);
      StoreDigits(codes, row, col + kTileCols, cols, digits + kTileCols);
    }
  }
  ClearPaddedRows(codes, rows, cols);
}

}  // namespace chimera
