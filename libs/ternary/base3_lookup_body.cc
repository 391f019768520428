// Products of base-3 bytes with the byte lookups of AVX-512 VBMI; reached only when HasVbmi().
// A byte is looked up once and gives its first four digits in the two-bit layout and the fifth
// apart, instead of a product and two additions more for every four columns (base3_body.cc).
//
// A lookup takes seven bits. The eighth comes from a symmetry: the digits of 256 - x are 2 - d for
// those d of x, for every byte but 0, and bytes 0 and 1 have the same digits, all zero.
#include "ternary/tile_product.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr int kDigits = 5;
constexpr int kPeriod =
    5;  // blocks after which tiles of 20 columns and blocks of 64 begin together
constexpr int kUnroll = 10;  // blocks, an even number of periods: weight groups are of two blocks
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
  __m512i four[2];
  __m512i fifth[2];
};

CHIMERA_VEC Lookup LoadTables() {
  return {{_mm512_load_si512(kTables.four), _mm512_load_si512(kTables.four + 64)},
          {_mm512_load_si512(kTables.fifth), _mm512_load_si512(kTables.fifth + 64)}};
}

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

// Where the tile with a block's first quad stands.
CHIMERA_VEC const uint8_t* FirstTile(const uint8_t* tiles, int block) {
  return tiles + int64_t{block} * kQuads / kDigits * 64;
}

// s * sum of t * q over the block, which begins at quad P of a tile; *at holds the digits of that
// tile where P is not 0, and those of the last tile afterwards.
template <int P>
CHIMERA_VEC F16 Scaled(const Lookup& lookup, const uint8_t* tiles, const Tokens& in, int block,
                       TileDigits* at) {
  const uint8_t* bytes = FirstTile(tiles, block);
  const int8_t* q = in.q + block * kActBlock;
  // As with two-bit codes: digits stay in place and carry a factor 4^d. The fifth stands for d = 0.
  __m512i acc[4] = {};
#pragma GCC unroll 16
  for (int k = 0; k < kQuads; ++k) {
    const int d = (P + k) % kDigits;
    if (d == 0) *at = Find(lookup, bytes + (P + k) / kDigits * 64);
    const __m512i mask = _mm512_set1_epi8(static_cast<char>(3 << 2 * (d % 4)));
    const __m512i code = d == 4 ? at->fifth : _mm512_and_si512(at->four, mask);
    acc[d % 4] = _mm512_dpbusd_epi32(acc[d % 4], code, _mm512_set1_epi32(LoadWord(q + 4 * k)));
  }
  const I16 dot = (I16)acc[0] + ((I16)acc[1] >> 2) + ((I16)acc[2] >> 4) + ((I16)acc[3] >> 6);
  return in.s[block] * ToFloats(dot - in.sums[block]);
}

// Any block.
F16 Scaled(const Lookup& lookup, const uint8_t* tiles, const Tokens& in, int block) {
  TileDigits at = Find(lookup, FirstTile(tiles, block));
  switch (block % kPeriod) {
    case 0:
      return Scaled<0>(lookup, tiles, in, block, &at);
    case 1:
      return Scaled<1>(lookup, tiles, in, block, &at);
    case 2:
      return Scaled<2>(lookup, tiles, in, block, &at);
    case 3:
      return Scaled<3>(lookup, tiles, in, block, &at);
    default:
      return Scaled<4>(lookup, tiles, in, block, &at);
  }
}

// The group of blocks `block` and the next one, at quads P and P + 1 of their tiles.
template <int P>
CHIMERA_VEC F16 Group(const Lookup& lookup, const uint8_t* tiles, const uint16_t* scales,
                      const Tokens& in, int block, TileDigits* at) {
  const F16 first = Scaled<P>(lookup, tiles, in, block, at);
  const F16 second = Scaled<(P + 1) % kPeriod>(lookup, tiles, in, block + 1, at);
  return LoadHalf(scales + block / 2 * kRowTile) * (first + second);
}

// y of one row tile, in the one float order.
void OneTile(const TernaryView& w, int tile, const Tokens& in, float* y) {
  const Lookup lookup = LoadTables();
  const int groups = WeightGroups(w.cols), blocks = w.cols / kActBlock;
  const uint8_t* tiles = w.codes + static_cast<size_t>(tile) * TileCodeBytes(w.packing, w.cols);
  const uint16_t* scales = w.scales + int64_t{tile} * groups * kRowTile;
  F16 total = Splat(-0.0f);  // -0 + x is x, bit for bit
  TileDigits at = {};
  int block = 0;
  for (; block + kUnroll <= blocks; block += kUnroll) {
    total = total + Group<0>(lookup, tiles, scales, in, block, &at);
    total = total + Group<2>(lookup, tiles, scales, in, block + 2, &at);
    total = total + Group<4>(lookup, tiles, scales, in, block + 4, &at);
    total = total + Group<1>(lookup, tiles, scales, in, block + 6, &at);
    total = total + Group<3>(lookup, tiles, scales, in, block + 8, &at);
  }
  for (; block < blocks; block += 2) {
    F16 part = Scaled(lookup, tiles, in, block);
    if (block + 1 < blocks) part = part + Scaled(lookup, tiles, in, block + 1);
    total = total + LoadHalf(scales + block / 2 * kRowTile) * part;
  }
  const int row = tile * kRowTile;
  StoreN(y + row, total, Smaller(kRowTile, w.rows - row));
}

void Gemv(const TernaryView& w, int tile_begin, int tile_end, const int8_t* q, const float* s,
          const int32_t* sums, float* y) {
  const Tokens in = {q, s, sums, w.cols, w.cols / kActBlock};
  for (int tile = tile_begin; tile < tile_end; ++tile) OneTile(w, tile, in, y);
}

typedef uint16_t Codes __attribute__((vector_size(64)));

// The codes of a block that begins at quad P of a tile: 16 rows x 4 columns each.
template <int P>
CHIMERA_VEC void Unpack(const Lookup& lookup, const uint8_t* bytes, __m512i* codes) {
  TileDigits at = Find(lookup, bytes);
#pragma GCC unroll 16
  for (int k = 0; k < kQuads; ++k) {
    const int d = (P + k) % kDigits;
    if (k > 0 && d == 0) at = Find(lookup, bytes + (P + k) / kDigits * 64);
    const __m512i low = (__m512i)((Codes)at.four >> (2 * (d % 4)));
    codes[k] = d == 4 ? at.fifth : _mm512_and_si512(low, _mm512_set1_epi8(3));
  }
}

// One copy for all token counts.
__attribute__((noinline)) void BlockCodes(const uint8_t* tiles, int block, __m512i* codes) {
  const Lookup lookup = LoadTables();
  const uint8_t* bytes = FirstTile(tiles, block);
  switch (block % kPeriod) {
    case 0:
      return Unpack<0>(lookup, bytes, codes);
    case 1:
      return Unpack<1>(lookup, bytes, codes);
    case 2:
      return Unpack<2>(lookup, bytes, codes);
    case 3:
      return Unpack<3>(lookup, bytes, codes);
    default:
      return Unpack<4>(lookup, bytes, codes);
  }
}

struct LookedUp {
  static constexpr int kRowTiles = 1;
  static constexpr bool kAsks = false;

  template <int R, int T>
  CHIMERA_VEC void Dots(const uint8_t* tiles, int64_t, const Tokens& in, int block, I16* dots) {
    __m512i codes[kQuads];
    BlockCodes(tiles, block, codes);
    CodeDots<T>([&codes](int k, int) { return codes[k]; }, in, block, dots);
  }
};

}  // namespace

extern const Base3LookupKernels kBase3LookupKernels;
const Base3LookupKernels kBase3LookupKernels = {Gemv, Gemm<LookedUp>};

}  // namespace CHIMERA_ISA
}  // namespace chimera
