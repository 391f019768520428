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
  CHIMERA_VEC F16 AddOne(F16 mu, F16 total, const float* s, F16 first) {
    return Fma(mu, s[0] * first, total);
  }
  CHIMERA_VEC F16 Result(const View&, int, F16 total) { return total; }
};

// mu of a group times what its blocks gave.
struct Trits : WithMu<TernaryView> {
  static constexpr int kGroupScales = kRowTile;
  static const uint16_t* Scales(const View& w, int tile) {
    return w.scales + int64_t{tile} * WeightGroups(w.cols) * kRowTile;
  }
  CHIMERA_VEC F16 AddTwo(F16 mu, F16, F16 total, const float* s, F16 first, F16 second) {
    return Fma(mu, Fma(second, s[1], s[0] * first), total);
  }
  static const uint8_t* Tile(const View& w, int tile) {
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
  CHIMERA_INLINE __m512i Affine(__m512i codes) const {
    constexpr uint64_t kRows = (0x0003030303030303 | uint64_t{1} << 56) << 6;
    return _mm512_gf2p8affine_epi64_epi8(codes, _mm512_set1_epi64(static_cast<int64_t>(kRows)),
                                         0xff);
  }
  __m512i first = _mm512_load_si512(kTritTables.t[0]);
  __m512i second = _mm512_load_si512(kTritTables.t[1]);
  __m512i third = _mm512_load_si512(kTritTables.t[2]);
};

// Part j is line j of the codes, which is four of weights.
struct TwoBits : Trits {
  static constexpr int kGroupLines = 8;
  static constexpr bool kInPlace = false;
  static const uint8_t* Codes(const uint8_t* tile, int block) { return tile + block * 256; }
  struct Expander {
    CHIMERA_INLINE Expander(const uint8_t* tile, int block) : codes(Codes(tile, block)) {}
    template <int kPart>
    CHIMERA_INLINE void Store(int8_t* weights) const {
      const __m512i v = _mm512_loadu_si512(codes + kPart * 64);
      int8_t* const out = weights + kPart * 256;
      _mm512_store_si512(out, PickBytes(v, trit.first));
      _mm512_store_si512(out + 64, PickBytes(v, trit.second));
      _mm512_store_si512(out + 128, PickBytes(v, trit.third));
      _mm512_store_si512(out + 192, trit.Affine(v));
    }
    const uint8_t* codes;
    TritFinder trit;
  };
};

// Digits of a block are found together.
struct Base3 : Trits {
  static constexpr int kGroupLines = 7;
  static constexpr bool kInPlace = false;
  static const uint8_t* Codes(const uint8_t* tile, int block) { return FirstTile(tile, block); }
  struct Expander {
    CHIMERA_INLINE Expander(const uint8_t* tile, int block) : codes(tile), first(block) {}
    template <int kPart>
    CHIMERA_INLINE void Store(int8_t* weights) const {
      constexpr int kHalf = kParts / 2;
      if constexpr (kPart % kHalf == 0) {
        constexpr int kBlock = kPart / kHalf;
        StoreDigits<1>(codes, first + kBlock, 1, weights + kBlock * kBlockCodes);
      }
    }
    const uint8_t* codes;
    int first;
  };
};

struct Int8Rows {
  using View = Int8RowsView;
  static constexpr int kGroupScales = 0, kGroupLines = 32;
  static constexpr bool kInPlace = true;
  static const uint16_t* Scales(const View&, int) { return nullptr; }
  static const uint8_t* Tile(const View& w, int tile) {
    return reinterpret_cast<const uint8_t*>(w.q) + int64_t{tile} * w.cols * kRowTile;
  }
  static const uint8_t* Codes(const uint8_t* tile, int block) { return tile + block * kBlockCodes; }
  struct Expander {
    CHIMERA_INLINE Expander(const uint8_t*, int) {}
    template <int>
    CHIMERA_INLINE void Store(int8_t*) const {}
  };
  CHIMERA_VEC F16 AddOne(F16, F16 total, const float* s, F16 first) {
    return Fma(first, s[0], total);
  }
  CHIMERA_VEC F16 AddTwo(F16, F16, F16 total, const float* s, F16 first, F16 second) {
    return Fma(second, s[1], Fma(first, s[0], total));
  }
  CHIMERA_VEC F16 Result(const View& w, int row, F16 total) { return Load(w.scale + row) * total; }
};

// mu of every block times what it gave.
template <int kBlockLines>
struct Grouped : WithMu<GroupedRowsView> {
  static constexpr int kGroupScales = 2 * kRowTile, kGroupLines = 2 * kBlockLines;
  static constexpr bool kInPlace = false;
  static const uint8_t* Tile(const View& w, int tile) {
    return w.codes + int64_t{tile} * w.cols / kActBlock * kBlockLines * 64;
  }
  static const uint8_t* Codes(const uint8_t* tile, int block) {
    return tile + block * kBlockLines * 64;
  }
  static const uint16_t* Scales(const View& w, int tile) {
    return w.scales + int64_t{tile} * (w.cols / kActBlock) * kRowTile;
  }
  CHIMERA_VEC F16 AddTwo(F16 mu, F16 other_mu, F16 total, const float* s, F16 first, F16 second) {
    return Fma(other_mu, s[1] * second, Fma(mu, s[0] * first, total));
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

// Part j is two lines of codes, which are four of weights.
struct FourBits : Grouped<8> {
  struct Expander {
    CHIMERA_INLINE Expander(const uint8_t* tile, int block)
        : codes(Codes(tile, block)), levels(_mm512_load_si512(kLevelTable.levels)) {}
    template <int kPart>
    CHIMERA_INLINE void Store(int8_t* weights) const {
#pragma GCC unroll 2
      for (int line = 2 * kPart; line < 2 * kPart + 2; ++line) {
        const __m512i v = _mm512_loadu_si512(codes + line * 64);
        _mm512_store_si512(weights + line * 128, PickBytes(v, levels));
        _mm512_store_si512(weights + line * 128 + 64, PickBytes(_mm512_srli_epi16(v, 4), levels));
      }
    }
    const uint8_t* codes;
    __m512i levels;
  };
};

// Part j is two lines of lower bits and one of upper bits, four lines of weights.
struct SixBits : Grouped<12> {
  struct Expander {
    CHIMERA_INLINE Expander(const uint8_t* tile, int block) : codes(Codes(tile, block)) {}
    template <int kPart>
    CHIMERA_INLINE void Store(int8_t* weights) const {
      constexpr int kHalf = kParts / 2, kBlock = kPart / kHalf, i = kPart % kHalf;
      const uint8_t* of = codes + kBlock * 12 * 64;
      const __m512i first = _mm512_loadu_si512(of + 2 * i * 64);
      const __m512i second = _mm512_loadu_si512(of + (2 * i + 1) * 64);
      const __m512i upper = _mm512_loadu_si512(of + (8 + i) * 64);
      int8_t* const out = weights + kPart * 256;
      _mm512_store_si512(out, Level(first, _mm512_slli_epi16(upper, 4)));
      _mm512_store_si512(out + 64, Level(_mm512_srli_epi16(first, 4), _mm512_slli_epi16(upper, 2)));
      _mm512_store_si512(out + 128, Level(second, upper));
      _mm512_store_si512(out + 192,
                         Level(_mm512_srli_epi16(second, 4), _mm512_srli_epi16(upper, 2)));
    }
    const uint8_t* codes;
  };
  // code - 32 of bits 0 to 3 of low and 4 and 5 of high: bit 5 of the code, turned over, is the
  // sign. Rows of the matrix as in TritFinder.
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
