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

// Lookups of bytes take six bits; bytes have eight.
//
// With n = 243 x / 256 the first two digits of a byte x are n / 27. The sum x + 3 - x / 64 begins
// each of those nine ranges at a multiple of 4, so its upper six bits, the bucket, say which it is.
// The four or five bytes of a bucket have n % 27 growing by one from byte to byte, now and then
// standing still. All such runs are in one list of less than 64 places, and the lower six bits of
// x - start[bucket] are the place of x.
struct alignas(64) DigitTables {
  uint8_t start[64];
  uint8_t digit[kDigits][64];
};

// n % 27 at a place: a run without a stop, and those with one.
constexpr int kPlaces = 27 + 7 * 5;
constexpr int RestAt(int place) {
  constexpr int kStops[5] = {0, 0, 1, 2, 2};
  return place < 27 ? place : (place - 27) / 5 * 4 + kStops[(place - 27) % 5];
}

// Where the list has the run of bytes [first, end); what it lacked would not compile.
constexpr int FindRun(int first, int end) {
  for (int start = 0;; ++start) {
    int x = first;
    while (x < end && RestAt(start + x - first) == 243 * x / 256 % 27) ++x;
    if (x == end) return start;
  }
}

// `less` is taken off every digit.
constexpr DigitTables MakeDigitTables(int less) {
  DigitTables tables = {};
  for (int bucket = 0, first = 0, end = 0; bucket < 64; ++bucket, first = end) {
    while (end < 256 && (end + 3 - end / 64) / 4 == bucket) ++end;
    const int two = first * 9 / 256;
    tables.start[bucket] = static_cast<uint8_t>(first - FindRun(first, end));
    tables.digit[0][bucket] = static_cast<uint8_t>(two / 3 - less);
    tables.digit[1][bucket] = static_cast<uint8_t>(two % 3 - less);
  }
  for (int place = 0; place < kPlaces; ++place) {
    const int rest = RestAt(place);
    tables.digit[2][place] = static_cast<uint8_t>(rest / 9 - less);
    tables.digit[3][place] = static_cast<uint8_t>(rest / 3 % 3 - less);
    tables.digit[4][place] = static_cast<uint8_t>(rest % 3 - less);
  }
  return tables;
}

// Where the digits of one tile are found: five times four columns of sixteen rows.
struct TileDigits {
  __m512i bucket = {};
  __m512i place = {};
};

// Finds digits, less kLess.
template <int kLess>
struct DigitFinder {
  static constexpr DigitTables kTables = MakeDigitTables(kLess);
  DigitFinder() : start(_mm512_load_si512(kTables.start)) {
    for (int d = 0; d < kDigits; ++d) digit[d] = _mm512_load_si512(kTables.digit[d]);
  }

  TileDigits Find(const uint8_t* tile) const {
    Prefetch(tile);
    const __m512i x = _mm512_loadu_si512(tile);
    // 3 - x / 64 is the upper two bits inverted: rows of the matrix, the lowest bit's in the
    // highest byte, and what is added to all bits.
    constexpr int64_t kUpperTwo = int64_t{0x40} << 56 | int64_t{0x80} << 48;
    const __m512i more = _mm512_gf2p8affine_epi64_epi8(x, _mm512_set1_epi64(kUpperTwo), 3);
    const __m512i bucket = _mm512_srli_epi16(_mm512_add_epi8(x, more), 2);
    return {bucket, _mm512_sub_epi8(x, PickBytes(bucket, start))};
  }
  __m512i Digit(const TileDigits& at, int d) const {
    return PickBytes(d < 2 ? at.bucket : at.place, digit[d]);
  }

  __m512i start;
  __m512i digit[kDigits];
};

// The digits of a block that begins at quad P of a tile, kBlockCodes bytes: four columns of 16 rows
// for every quad.
template <int P, typename Finder>
CHIMERA_VEC void StoreBlock(const Finder& finder, const uint8_t* bytes, uint8_t* to) {
  TileDigits at = finder.Find(bytes);
#pragma GCC unroll 16
  for (int k = 0; k < kQuads; ++k, to += kQuadBytes) {
    const int d = (P + k) % kDigits;
    if (k > 0 && d == 0) at = finder.Find(bytes + (P + k) / kDigits * kQuadBytes);
    _mm512_store_si512(to, finder.Digit(at, d));
  }
}

// The same of n blocks from `block` on, less kLess.
template <int kLess>
__attribute__((noinline)) void StoreDigits(const uint8_t* tiles, int block, int n, void* out) {
  const DigitFinder<kLess> finder;
  auto* to = static_cast<uint8_t*>(out);
  for (int b = block; b < block + n; ++b, to += kBlockCodes) {
    const uint8_t* bytes = FirstTile(tiles, b);
    switch (b % kDigits) {
      case 0:
        StoreBlock<0>(finder, bytes, to);
        break;
      case 1:
        StoreBlock<1>(finder, bytes, to);
        break;
      case 2:
        StoreBlock<2>(finder, bytes, to);
        break;
      case 3:
        StoreBlock<3>(finder, bytes, to);
        break;
      default:
        StoreBlock<4>(finder, bytes, to);
    }
  }
}

#endif

}  // namespace
}  // namespace CHIMERA_ISA
}  // namespace chimera
