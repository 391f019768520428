// Products of base-3 bytes, rows in lanes (docs/formats/ternary.md): five trits a byte, 1.6 bits a
// weight. Compiled once per instruction set. A byte is a fraction of 256 whose base-3 digits are
// the codes t + 1: with x_0 the byte, x_{k+1} = 3 x_k mod 256 and 3 x_k = 256 d_k + x_{k+1},
// exactly.
#include "ternary/tile_product.h"

namespace chimera {
namespace CHIMERA_ISA {

extern const TernaryKernels kTernaryKernels;

namespace {

constexpr int kDigits = 5;  // quads in a tile of 64 bytes

typedef uint8_t Bytes64 __attribute__((vector_size(64)));

// Where a block's first quad stands: kQuads = 1 mod kDigits.
CHIMERA_VEC const uint8_t* FirstTile(const uint8_t* tile, int block) {
  return tile + int64_t{block} * kQuads / kDigits * 64;
}

#if defined(CHIMERA_DOT_ZMM)

CHIMERA_VEC __m512i Triple(__m512i x) { return _mm512_add_epi8(_mm512_add_epi8(x, x), x); }

// One token, without ever forming a digit: sum d q = (3 sum x_k q - sum x_{k+1} q) / 256. Four
// chains hide the latency of the products; each sum is below 16 * 4 * 255 * 127.
template <int P>
CHIMERA_VEC I16 OneDot(const uint8_t* bytes, const int8_t* q, int32_t sum) {
  __m512i now0 = _mm512_setzero_si512(), now1 = now0, next0 = now0, next1 = now0;
  __m512i x = _mm512_loadu_si512(bytes);
#pragma GCC unroll 4
  for (int i = 0; i < P; ++i) x = Triple(x);
#pragma GCC unroll 16
  for (int k = 0; k < kQuads; ++k) {
    if (k > 0 && (P + k) % kDigits == 0) x = _mm512_loadu_si512(bytes + (P + k) / kDigits * 64);
    const __m512i word = _mm512_set1_epi32(LoadWord(q + 4 * k)), then = Triple(x);
    __m512i& now = k % 2 == 0 ? now0 : now1;
    __m512i& next = k % 2 == 0 ? next0 : next1;
    now = _mm512_dpbusd_epi32(now, x, word);
    next = _mm512_dpbusd_epi32(next, then, word);
    x = then;
  }
  const I16 all = (I16)_mm512_add_epi32(now0, now1);
  return ((all + all + all - (I16)_mm512_add_epi32(next0, next1)) >> 8) - sum;
}

CHIMERA_VEC I16 OneDot(const uint8_t* tile, const int8_t* q, int32_t sum, int block) {
  const uint8_t* bytes = FirstTile(tile, block);
  switch (block % kDigits) {
    case 0:
      return OneDot<0>(bytes, q, sum);
    case 1:
      return OneDot<1>(bytes, q, sum);
    case 2:
      return OneDot<2>(bytes, q, sum);
    case 3:
      return OneDot<3>(bytes, q, sum);
    default:
      return OneDot<4>(bytes, q, sum);
  }
}

#endif

#if defined(CHIMERA_DOT_ZMM)

CHIMERA_VEC Bytes64 Digit(Bytes64 x) {
  const __m512i one = _mm512_set1_epi8(1);
  const __mmask64 some = _mm512_cmpgt_epu8_mask((__m512i)x, _mm512_set1_epi8(85));
  const __mmask64 two =
      _mm512_cmpgt_epu8_mask((__m512i)x, _mm512_set1_epi8(static_cast<char>(170)));
  const __m512i digit = _mm512_maskz_mov_epi8(some, one);
  return (Bytes64)_mm512_mask_add_epi8(digit, two, digit, one);
}

#elif defined(CHIMERA_DOT_NEON)

CHIMERA_VEC Bytes64 Digit(Bytes64 x) {
  Bytes64 digits;
  for (int part = 0; part < 4; ++part) {
    uint8x16_t v;
    std::memcpy(&v, reinterpret_cast<const char*>(&x) + part * 16, 16);
    // A comparison that holds is -1.
    const uint8x16_t some = vcgtq_u8(v, vdupq_n_u8(85)), two = vcgtq_u8(v, vdupq_n_u8(170));
    v = vsubq_u8(vsubq_u8(vdupq_n_u8(0), some), two);
    std::memcpy(reinterpret_cast<char*>(&digits) + part * 16, &v, 16);
  }
  return digits;
}

#else

CHIMERA_VEC Bytes64 Digit(Bytes64 x) { return (Bytes64)((x > 85) & 1) + (Bytes64)((x > 170) & 1); }

#endif

// The codes of a block's quads: 16 rows x 4 columns each. One copy for all token counts.
__attribute__((noinline)) void BlockCodes(const uint8_t* tile, int block, Bytes64* codes) {
  const uint8_t* bytes = FirstTile(tile, block);
  Bytes64 x;
  std::memcpy(&x, bytes, sizeof(x));
  int digit = block % kDigits;
  for (int i = 0; i < digit; ++i) x = x + x + x;
  for (int k = 0; k < kQuads; ++k) {
    if (digit == kDigits) {
      bytes += 64;
      std::memcpy(&x, bytes, sizeof(x));
      digit = 0;
    }
    ++digit;
    codes[k] = Digit(x);
    x = x + x + x;
  }
}

#if defined(CHIMERA_DOT_ZMM)

template <int T>
CHIMERA_VEC void BlockDots(const Bytes64* codes, const Tokens& in, int block, I16* dots) {
  CodeDots<T>([codes](int k, int) { return (__m512i)codes[k]; }, in, block, dots);
}

#elif defined(CHIMERA_DOT_YMM) || defined(CHIMERA_PAIRS_YMM)

template <int T>
CHIMERA_VEC void BlockDots(const Bytes64* codes, const Tokens& in, int block, I16* dots) {
  CodeDots<T>(
      [codes](int k, int half) {
        __m256i code;
        std::memcpy(&code, reinterpret_cast<const char*>(codes + k) + half * 32, 32);
        return code;
      },
      in, block, dots);
}

#elif defined(CHIMERA_DOT_NEON)

template <int T>
CHIMERA_VEC void BlockDots(const Bytes64* codes, const Tokens& in, int block, I16* dots) {
  CodeDots<T>(
      [codes](int k, int part) {
        return vld1q_s8(reinterpret_cast<const int8_t*>(codes + k) + part * 16);
      },
      in, block, dots);
}

#else

template <int T>
void BlockDots(const Bytes64* codes, const Tokens& in, int block, I16* dots) {
  uint8_t code[kQuads][4 * kRowTile];
  std::memcpy(code, codes, sizeof(code));
  for (int i = 0; i < T; ++i) {
    const int8_t* q = in.q + i * in.cols + block * kActBlock;
    int32_t out[kRowTile];
    for (int r = 0; r < kRowTile; ++r) {
      int32_t sum = -in.sums[i * in.blocks + block];
      for (int k = 0; k < kQuads; ++k) {
        for (int j = 0; j < 4; ++j) sum += code[k][4 * r + j] * q[4 * k + j];
      }
      out[r] = sum;
    }
    std::memcpy(dots + i, out, sizeof(out));
  }
}

#endif

struct Base3 {
  static constexpr int kRowTiles = 1;
  static constexpr bool kAsks = false;

  template <int R, int T>
  CHIMERA_VEC void Dots(const uint8_t* tile, int64_t, const Tokens& in, int block, I16* dots) {
#if defined(CHIMERA_DOT_ZMM)
    if constexpr (T == 1) {
      dots[0] = OneDot(tile, in.q + block * kActBlock, in.sums[block], block);
      return;
    }
#endif
    Bytes64 codes[kQuads];
    BlockCodes(tile, block, codes);
    BlockDots<T>(codes, in, block, dots);
  }
};

// Many tokens: a few row tiles become two-bit codes once and serve all of them.
constexpr int kUnpackCols = 8192;

void UnpackTile(const uint8_t* tile, int cols, uint8_t* two_bit) {
  Bytes64 codes[kQuads];
  for (int block = 0; block < cols / kActBlock; ++block, two_bit += kTwoBitBlockBytes) {
    BlockCodes(tile, block, codes);
    for (int k = 0; k < kQuads; k += 4) {
      const Bytes64 four = codes[k] | codes[k + 1] << 2 | codes[k + 2] << 4 | codes[k + 3] << 6;
      std::memcpy(two_bit + k * 16, &four, sizeof(four));
    }
  }
}

void Base3Gemm(const TernaryView& w, int tile_begin, int tile_end, int n_tokens, const int8_t* q,
               const float* s, const int32_t* sums, float* y, int64_t ldy) {
  if (n_tokens < kUnpackTokens || w.cols > kUnpackCols) {
    return Gemm<Base3>(w, tile_begin, tile_end, n_tokens, q, s, sums, y, ldy);
  }
  alignas(64) uint8_t codes[kTileBlock * kUnpackCols * 4];
  const size_t tile_bytes = TileCodeBytes(TritPacking::kBase3, w.cols);
  const int groups = WeightGroups(w.cols);
  for (int first = tile_begin; first < tile_end; first += kTileBlock) {
    const int last = Smaller(tile_end, first + kTileBlock);
    for (int tile = first; tile < last; ++tile) {
      UnpackTile(w.codes + static_cast<size_t>(tile) * tile_bytes, w.cols,
                 codes + int64_t{tile - first} * w.cols * 4);
    }
    const TernaryView part = {codes, w.scales + int64_t{first} * groups * kRowTile,
                              w.rows - first * kRowTile, w.cols};
    kTernaryKernels.gemm(part, 0, last - first, n_tokens, q, s, sums, y + first * kRowTile, ldy);
  }
}

}  // namespace

extern const TernaryKernels kBase3Kernels;
const TernaryKernels kBase3Kernels = {Base3Gemm};

}  // namespace CHIMERA_ISA
}  // namespace chimera
