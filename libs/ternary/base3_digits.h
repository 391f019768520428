// Where base-3 digits stand and, on processors with VBMI, what finds them
// (docs/formats/ternary.md). Internal linkage on purpose, as in tensor/vec.h. Free of Abseil.
#pragma once

#include "ternary/code_dots.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kDigits = 5;  // quads in a tile of 64 bytes, and blocks after which tiles begin again

// Where the tile with a block's first quad stands.
CHIMERA_VEC const uint8_t* FirstTile(const uint8_t* tiles, int block) {
  return tiles + int64_t{block} * kQuads / kDigits * kQuadBytes;
}

#if defined(__AVX512VBMI__)

// A byte is looked up once and gives its first four digits in the two-bit layout and the fifth
// apart, instead of a product and two additions more for every four columns (base3_body.cc).
//
// A lookup takes seven bits. The eighth comes from a symmetry: the digits of 256 - x are 2 - d for
// those d of x, for every byte but 0, and bytes 0 and 1 have the same digits, all zero.
constexpr char kTwos = '\xaa';  // four digits of 2

struct alignas(64) DigitTables {
  uint8_t four[128];  // digits 0 to 3 at bits 0, 2, 4, 6
  uint8_t fifth[128];
};

constexpr DigitTables MakeDigitTables() {
  DigitTables tables = {};
  for (int x = 1; x <= 128; ++x) {  // 128 is found at 0
    int rest = x, digits[kDigits] = {};
    for (int& digit : digits) {
      digit = rest * 3 >> 8;
      rest = rest * 3 & 255;
    }
    tables.four[x % 128] =
        static_cast<uint8_t>(digits[0] | digits[1] << 2 | digits[2] << 4 | digits[3] << 6);
    tables.fifth[x % 128] = static_cast<uint8_t>(digits[4]);
  }
  return tables;
}
constexpr DigitTables kTables = MakeDigitTables();

struct Lookup {
  Lookup()
      : four{_mm512_load_si512(kTables.four), _mm512_load_si512(kTables.four + 64)},
        fifth{_mm512_load_si512(kTables.fifth), _mm512_load_si512(kTables.fifth + 64)} {}
  __m512i four[2];
  __m512i fifth[2];
};

// The digits of one tile: five times four columns of sixteen rows.
struct TileDigits {
  __m512i four;
  __m512i fifth;
};

CHIMERA_VEC TileDigits Find(const Lookup& lookup, const uint8_t* tile) {
  Prefetch(tile);
  const __m512i x = _mm512_loadu_si512(tile);
  const __mmask64 upper = _mm512_movepi8_mask(x);
  const __m512i at = _mm512_abs_epi8(_mm512_max_epu8(x, _mm512_set1_epi8(1)));
  const __m512i four = _mm512_permutex2var_epi8(lookup.four[0], at, lookup.four[1]);
  const __m512i fifth = _mm512_permutex2var_epi8(lookup.fifth[0], at, lookup.fifth[1]);
  return {_mm512_mask_sub_epi8(four, upper, _mm512_set1_epi8(kTwos), four),
          _mm512_mask_sub_epi8(fifth, upper, _mm512_set1_epi8(2), fifth)};
}

// Calls take(k, digits, d) for the quads of a block that begins at quad P of a tile: its four
// columns of 16 rows are digit d of these.
template <int P, typename Take>
CHIMERA_VEC void TakeQuads(const Lookup& lookup, const uint8_t* bytes, const Take& take) {
  TileDigits at = Find(lookup, bytes);
#pragma GCC unroll 16
  for (int k = 0; k < kQuads; ++k) {
    const int d = (P + k) % kDigits;
    if (k > 0 && d == 0) at = Find(lookup, bytes + (P + k) / kDigits * kQuadBytes);
    take(k, at, d);
  }
}

// The same for any block of a row tile. One copy for all callers of a kind.
template <typename Take>
__attribute__((noinline)) void TakeBlock(const uint8_t* tiles, int block, const Take& take) {
  const Lookup lookup;
  const uint8_t* bytes = FirstTile(tiles, block);
  switch (block % kDigits) {
    case 0:
      return TakeQuads<0>(lookup, bytes, take);
    case 1:
      return TakeQuads<1>(lookup, bytes, take);
    case 2:
      return TakeQuads<2>(lookup, bytes, take);
    case 3:
      return TakeQuads<3>(lookup, bytes, take);
    default:
      return TakeQuads<4>(lookup, bytes, take);
  }
}

#endif

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
