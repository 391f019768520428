// AMX int8 tiles for the products of some tokens (amx_tiles.h). Compiled for AVX-512 with AMX, GFNI
// and VBMI, which every processor with AMX has; reached only when HasAmxInt8().
#include "ternary/amx_tiles.h"
#include "ternary/base3_digits.h"
#include "ternary/grouped_rows.h"
#include "ternary/ternary_kernels.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

// mu of a group times what its blocks gave.
struct Trits {
  using View = TernaryView;
  static constexpr int kGroupScales = kRowTile;
  static const uint16_t* Scales(const View& w, int tile, int block) {
    return w.scales + (int64_t{tile} * WeightGroups(w.cols) + block / 2) * kRowTile;
  }
  CHIMERA_VEC F16 AddOne(const F16* mu, F16 total, F16 first) { return total + mu[0] * first; }
  CHIMERA_VEC F16 AddTwo(const F16* mu, F16 total, F16 first, F16 second) {
    return total + mu[0] * (first + second);
  }
  CHIMERA_VEC F16 Result(const View&, int, F16 total) { return total; }
  CHIMERA_VEC const uint8_t* Codes(const View& w, int tile) {
    return w.codes + int64_t{tile} * static_cast<int64_t>(TileCodeBytes(w.packing, w.cols));
  }
};

// t of the code at bits 2j and 2j + 1 of every byte. The bits of t are those of -1, each plus one
// or both bits of the code, modulo 2; a row of the matrix says which, the lowest bit's in the
// highest byte.
CHIMERA_VEC __m512i TritAt(__m512i codes, int j) {
  constexpr uint64_t kBothBits = 0x0003030303030303, kLowBit = uint64_t{1} << 56;
  const auto matrix = static_cast<int64_t>((kBothBits | kLowBit) << (2 * j));
  return _mm512_gf2p8affine_epi64_epi8(codes, _mm512_set1_epi64(matrix), 0xff);
}

struct TwoBits : Trits {
  static const int8_t* Weights(const View& w, int tile, int block, int n, int8_t* space) {
    const uint8_t* codes = Codes(w, tile) + block * 256;
    const int64_t ahead = int64_t{kRowTiles} * w.cols * 4;
    int8_t* out = space;
    for (int line = 0; line < 4 * n; ++line, codes += 64) {
      __builtin_prefetch(codes + ahead, 0, 2);
      const __m512i v = _mm512_loadu_si512(codes);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j, out += 64) _mm512_store_si512(out, TritAt(v, j));
    }
    return space;
  }
};

struct Base3 : Trits {
  static const int8_t* Weights(const View& w, int tile, int block, int n, int8_t* space) {
    const __m512i one = _mm512_set1_epi8(1);
    int8_t* out = space;
    for (int b = block; b < block + n; ++b) {
      __m512i codes[kQuads];
      BlockCodes(Codes(w, tile), b, codes);
#pragma GCC unroll 16
      for (int k = 0; k < kQuads; ++k, out += 64) {
        _mm512_store_si512(out, _mm512_sub_epi8(codes[k], one));
      }
    }
    return space;
  }
};

struct Int8Rows {
  using View = Int8RowsView;
  static constexpr int kGroupScales = 0;
  static const uint16_t* Scales(const View&, int, int) { return nullptr; }
  static const int8_t* Weights(const View& w, int tile, int block, int, int8_t*) {
    return w.q + (int64_t{tile} * w.cols + block * kActBlock) * kRowTile;
  }
  CHIMERA_VEC F16 AddOne(const F16*, F16 total, F16 first) { return total + first; }
  CHIMERA_VEC F16 AddTwo(const F16*, F16 total, F16 first, F16 second) {
    return (total + first) + second;
  }
  CHIMERA_VEC F16 Result(const View& w, int row, F16 total) { return Load(w.scale + row) * total; }
};

// mu of every block times what it gave.
struct Grouped {
  using View = GroupedRowsView;
  static constexpr int kGroupScales = 2 * kRowTile;
  static const uint16_t* Scales(const View& w, int tile, int block) {
    return w.scales + (int64_t{tile} * (w.cols / kActBlock) + block) * kRowTile;
  }
  CHIMERA_VEC F16 AddOne(const F16* mu, F16 total, F16 first) { return total + mu[0] * first; }
  CHIMERA_VEC F16 AddTwo(const F16* mu, F16 total, F16 first, F16 second) {
    return (total + mu[0] * first) + mu[1] * second;
  }
  CHIMERA_VEC F16 Result(const View&, int, F16 total) { return total; }
};

CHIMERA_VEC __m512i LowBits(__m512i v, int shift) {
  return _mm512_and_si512(_mm512_srli_epi16(v, static_cast<unsigned>(shift)),
                          _mm512_set1_epi8(0x0f));
}

struct FourBits : Grouped {
  static const int8_t* Weights(const View& w, int tile, int block, int n, int8_t* space) {
    const __m512i levels = _mm512_maskz_broadcast_i32x4(
        0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(kLevels4)));
    const int64_t line = int64_t{tile} * w.cols / kActBlock * 8 + block * 8;
    const uint8_t* codes = w.codes + line * 64;
    const int64_t ahead = int64_t{kRowTiles} * w.cols * 8;
    int8_t* out = space;
    for (int i = 0; i < 8 * n; ++i, codes += 64, out += 128) {
      __builtin_prefetch(codes + ahead, 0, 2);
      const __m512i v = _mm512_loadu_si512(codes);
      _mm512_store_si512(out, _mm512_shuffle_epi8(levels, LowBits(v, 0)));
      _mm512_store_si512(out + 64, _mm512_shuffle_epi8(levels, LowBits(v, 4)));
    }
    return space;
  }
};

struct SixBits : Grouped {
  static const int8_t* Weights(const View& w, int tile, int block, int n, int8_t* space) {
    const __m512i zero = _mm512_set1_epi8(32), upper = _mm512_set1_epi8(0x30);
    const uint8_t* codes = w.codes + (int64_t{tile} * w.cols / kActBlock + block) * 12 * 64;
    int8_t* out = space;
    for (int b = 0; b < n; ++b, codes += 12 * 64) {
#pragma GCC unroll 16
      for (int k = 0; k < kQuads; ++k, out += 64) {
        const __m512i low = LowBits(_mm512_loadu_si512(codes + k / 2 * 64), k % 2 * 4);
        const __m512i high = _mm512_srli_epi16(_mm512_loadu_si512(codes + (8 + k / 4) * 64),
                                               static_cast<unsigned>(k % 4 * 2));
        const __m512i code =
            _mm512_or_si512(low, _mm512_and_si512(_mm512_slli_epi16(high, 4), upper));
        _mm512_store_si512(out, _mm512_sub_epi8(code, zero));
      }
    }
    return space;
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
