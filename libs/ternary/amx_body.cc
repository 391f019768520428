// AMX int8 tiles for the products of some tokens (amx_tiles.h). Compiled for AVX-512 with AMX, GFNI
// and VBMI, which every processor with AMX has; reached only when HasAmxInt8().
#include "ternary/amx_tiles.h"
#include "ternary/base3_digits.h"
#include "ternary/grouped_rows.h"
#include "ternary/ternary_kernels.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

// What fp16 scales share.
template <typename Matrix>
struct WithMu {
  using View = Matrix;
  CHIMERA_VEC F16 AddOne(const F16* mu, F16 total, const float* s, F16 first) {
    return Fma(mu[0], s[0] * first, total);
  }
  CHIMERA_VEC F16 Result(const View&, int, F16 total) { return total; }
};

// mu of a group times what its blocks gave.
struct Trits : WithMu<TernaryView> {
  static constexpr int kGroupScales = kRowTile;
  static const uint16_t* Scales(const View& w, int tile, int block) {
    return w.scales + (int64_t{tile} * WeightGroups(w.cols) + block / 2) * kRowTile;
  }
  CHIMERA_VEC F16 AddTwo(const F16* mu, F16 total, const float* s, F16 first, F16 second) {
    return Fma(mu[0], Fma(second, s[1], s[0] * first), total);
  }
  CHIMERA_VEC const uint8_t* Codes(const View& w, int tile) {
    return w.codes + int64_t{tile} * static_cast<int64_t>(TileCodeBytes(w.packing, w.cols));
  }
};

// t of the codes in six bits, by which of them it is.
struct TritTables {
  constexpr TritTables() {
    for (int j = 0; j < 3; ++j) {
      for (int i = 0; i < 64; ++i) t[j][i] = static_cast<int8_t>((i >> 2 * j & 3) - 1);
    }
  }
  alignas(64) int8_t t[3][64] = {};
};
constexpr TritTables kTritTables;

// t of the code at bits 2j and 2j + 1 of every byte. Scaling is short of the port that affine maps
// take, so three of four are lookups, by six bits. The last is affine: the bits of t are those of
// -1, each plus one or both bits of the code, modulo 2; a row of the matrix says which, the lowest
// bit's in the highest byte.
struct TritFinder {
  TritFinder() {
    for (int j = 0; j < 3; ++j) tables[j] = _mm512_load_si512(kTritTables.t[j]);
  }
  CHIMERA_VEC __m512i Affine(__m512i codes) {
    constexpr uint64_t kRows = (0x0003030303030303 | uint64_t{1} << 56) << 6;
    return _mm512_gf2p8affine_epi64_epi8(codes, _mm512_set1_epi64(static_cast<int64_t>(kRows)),
                                         0xff);
  }
  __m512i At(__m512i codes, int j) const {
    return j == 3 ? Affine(codes) : PickBytes(codes, tables[j]);
  }
  __m512i tables[3];
};

struct TwoBits : Trits {
  static const int8_t* Weights(const View& w, int tile, int block, int n, int8_t* space) {
    const uint8_t* codes = Codes(w, tile) + block * 256;
    const int64_t ahead = int64_t{kRowTiles} * w.cols * 4;
    const TritFinder trit;
    int8_t* out = space;
    for (int line = 0; line < 4 * n; ++line, codes += 64) {
      __builtin_prefetch(codes + ahead, 0, 2);
      const __m512i v = _mm512_loadu_si512(codes);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j, out += 64) _mm512_store_si512(out, trit.At(v, j));
    }
    return space;
  }
};

struct Base3 : Trits {
  static const int8_t* Weights(const View& w, int tile, int block, int n, int8_t* space) {
    StoreDigits<1>(Codes(w, tile), block, n, space);
    return space;
  }
};

struct Int8Rows {
  using View = Int8RowsView;
  static constexpr int kGroupScales = 0;
  static const uint16_t* Scales(const View&, int, int) { return nullptr; }
  static const int8_t* Weights(const View& w, int tile, int block, int n, int8_t*) {
    const int8_t* q = w.q + (int64_t{tile} * w.cols + block * kActBlock) * kRowTile;
    const int8_t* next = q + int64_t{kRowTiles} * w.cols * kRowTile;
    for (int line = 0; line < n * kBlockCodes; line += 64) __builtin_prefetch(next + line, 0, 2);
    return q;
  }
  CHIMERA_VEC F16 AddOne(const F16*, F16 total, const float* s, F16 first) {
    return Fma(first, s[0], total);
  }
  CHIMERA_VEC F16 AddTwo(const F16*, F16 total, const float* s, F16 first, F16 second) {
    return Fma(second, s[1], Fma(first, s[0], total));
  }
  CHIMERA_VEC F16 Result(const View& w, int row, F16 total) { return Load(w.scale + row) * total; }
};

// mu of every block times what it gave.
struct Grouped : WithMu<GroupedRowsView> {
  static constexpr int kGroupScales = 2 * kRowTile;
  static const uint16_t* Scales(const View& w, int tile, int block) {
    return w.scales + (int64_t{tile} * (w.cols / kActBlock) + block) * kRowTile;
  }
  CHIMERA_VEC F16 AddTwo(const F16* mu, F16 total, const float* s, F16 first, F16 second) {
    return Fma(mu[1], s[1] * second, Fma(mu[0], s[0] * first, total));
  }
};

// Which level a code stands for, for bytes whose upper bits do not count.
struct LevelTable {
  constexpr LevelTable() {
    for (int i = 0; i < 64; ++i) levels[i] = kLevels4[i % 16];
  }
  alignas(64) int8_t levels[64] = {};
};
constexpr LevelTable kLevelTable;

struct FourBits : Grouped {
  static const int8_t* Weights(const View& w, int tile, int block, int n, int8_t* space) {
    const __m512i levels = _mm512_load_si512(kLevelTable.levels);
    const uint8_t* codes = w.codes + (int64_t{tile} * w.cols / kActBlock + block) * 8 * 64;
    const int64_t ahead = int64_t{kRowTiles} * w.cols * 8;
    int8_t* out = space;
    for (int line = 0; line < 8 * n; ++line, codes += 64, out += 128) {
      __builtin_prefetch(codes + ahead, 0, 2);
      const __m512i v = _mm512_loadu_si512(codes);
      _mm512_store_si512(out, PickBytes(v, levels));
      _mm512_store_si512(out + 64, PickBytes(_mm512_srli_epi16(v, 4), levels));
    }
    return space;
  }
};

struct SixBits : Grouped {
  // Lower bits of two quads a line, upper bits of four.
  static const int8_t* Weights(const View& w, int tile, int block, int n, int8_t* space) {
    const uint8_t* codes = w.codes + (int64_t{tile} * w.cols / kActBlock + block) * 12 * 64;
    const int64_t ahead = int64_t{kRowTiles} * w.cols * 12;
    int8_t* out = space;
    for (int b = 0; b < n; ++b, codes += 12 * 64) {
      for (int line = 0; line < 12 * 64; line += 64) {
        __builtin_prefetch(codes + ahead + line, 0, 2);
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i, out += 256) {
        const __m512i first = _mm512_loadu_si512(codes + 2 * i * 64);
        const __m512i second = _mm512_loadu_si512(codes + (2 * i + 1) * 64);
        const __m512i upper = _mm512_loadu_si512(codes + (8 + i) * 64);
        _mm512_store_si512(out, Level(first, _mm512_slli_epi16(upper, 4)));
        _mm512_store_si512(out + 64,
                           Level(_mm512_srli_epi16(first, 4), _mm512_slli_epi16(upper, 2)));
        _mm512_store_si512(out + 128, Level(second, upper));
        _mm512_store_si512(out + 192,
                           Level(_mm512_srli_epi16(second, 4), _mm512_srli_epi16(upper, 2)));
      }
    }
    return space;
  }
  // code - 32 of bits 0 to 3 of low and 4 and 5 of high: bit 5 of the code, turned over, is the
  // sign, as in TritAt.
  CHIMERA_VEC __m512i Level(__m512i low, __m512i high) {
    constexpr uint8_t kMask = 0x0f, kPickLow = 0xca;  // mask ? low : high
    constexpr uint64_t kRows = 0x0102040810202020;
    const __m512i code = _mm512_ternarylogic_epi64(_mm512_set1_epi8(kMask), low, high, kPickLow);
    return _mm512_gf2p8affine_epi64_epi8(code, _mm512_set1_epi64(kRows), 0xe0);
  }
};

void TernaryGemmOf(const TernaryView& w, int tile_begin, int tile_end, int n_tokens,
                   const int8_t* q, const float* s, float* y, int64_t ldy) {
  const auto gemm = w.packing == TritPacking::kTwoBit ? Gemm<TwoBits> : Gemm<Base3>;
  gemm(w, tile_begin, tile_end, n_tokens, q, s, y, ldy);
}

void GroupedGemmOf(const GroupedRowsView& w, int tile_begin, int tile_end, int n_tokens,
                   const int8_t* q, const float* s, float* y, int64_t ldy) {
  const auto gemm = w.bits == 4 ? Gemm<FourBits> : Gemm<SixBits>;
  gemm(w, tile_begin, tile_end, n_tokens, q, s, y, ldy);
}

}  // namespace

extern const AmxKernels kAmxKernels;
const AmxKernels kAmxKernels = {TernaryGemmOf, Gemm<Int8Rows>, GroupedGemmOf};

}  // namespace CHIMERA_ISA
}  // namespace chimera
