// Quantizers: math-backbone 8.1. Compiled once per instruction set, equal bits.
#include "tensor/vec.h"
#include "ternary/half.h"
#include "ternary/lanes.h"
#include "ternary/ternary_kernels.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

typedef int8_t Bytes16 __attribute__((vector_size(16)));
typedef uint16_t Words16 __attribute__((vector_size(32)));

// rne(x) clamped to [-127, 127] as integers; NaN gives -127.
CHIMERA_VEC I16 RoundToInt8(F16 x) {
  const F16 clamped = Min(Max(x, Splat(-127.0f)), Splat(127.0f));
  return ToInts((clamped + kRoundMagic) - kRoundMagic);
}

// Lanes in -128..127.
CHIMERA_VEC void StoreBytes(void* p, I16 v) {
#if defined(__SSE2__) && !defined(__AVX512F__)
  __m128i x[4];
  std::memcpy(x, &v, sizeof(x));
  const __m128i low = _mm_packs_epi32(x[0], x[1]), high = _mm_packs_epi32(x[2], x[3]);
  const __m128i bytes = _mm_packs_epi16(low, high);
#elif defined(__ARM_NEON)
  int32x4_t x[4];
  std::memcpy(x, &v, sizeof(x));
  const int16x8_t low = vmovn_high_s32(vmovn_s32(x[0]), x[1]);
  const int16x8_t high = vmovn_high_s32(vmovn_s32(x[2]), x[3]);
  const int8x16_t bytes = vmovn_high_s16(vmovn_s16(low), high);
#else
  const Bytes16 bytes = __builtin_convertvector(v, Bytes16);
#endif
  std::memcpy(p, &bytes, sizeof(bytes));
}

CHIMERA_VEC I16 LoadBytes(const int8_t* p) {
  Bytes16 bytes;
  std::memcpy(&bytes, p, sizeof(bytes));
  return __builtin_convertvector(bytes, I16);
}

// Nearest even, finite lanes.
CHIMERA_VEC void StoreBf16(uint16_t* p, F16 x) {
  const I16 bits = (I16)x;
  const I16 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Words16 words = __builtin_convertvector(rounded, Words16);
  std::memcpy(p, &words, sizeof(words));
}

// The four bytes (row r, j = 0..3) of a tile from the 16 codes of row r.
CHIMERA_VEC uint32_t PackCodes(I16 codes) {
  uint8_t bytes[16];
  StoreBytes(bytes, codes);
  uint64_t low, high;
  std::memcpy(&low, bytes, 8);
  std::memcpy(&high, bytes + 8, 8);
  const uint64_t both = low | high << 4;
  return static_cast<uint32_t>(both | both >> 32 << 2);
}

// mu of up to 16 rows over one group. Rows beyond n_rows are zero.
CHIMERA_VEC void GroupScales(const float* w, int n_rows, int cols, int width, uint16_t* scales) {
  float mean[16] = {};
  for (int r = 0; r < n_rows; ++r) {
    F16 sum = {};
    for (int c = 0; c < width; c += 16) sum = sum + Abs(Load(w + int64_t{r} * cols + c));
    mean[r] = FoldAdd(sum) * (1.0f / static_cast<float>(width)) + 1e-8f;
  }
  StoreHalf(scales, Min(Load(mean), Splat(65504.0f)));
}

void QuantizeWeightsBody(const float* w, int rows, int cols, uint8_t* codes, uint16_t* scales,
                         int tile_begin, int tile_end) {
  const int groups = WeightGroups(cols);
  for (int tile = tile_begin; tile < tile_end; ++tile) {
    const int n_rows = Smaller(kRowTile, rows - tile * kRowTile);
    const float* tile_w = w + int64_t{tile} * kRowTile * cols;
    uint8_t* tile_codes = codes + int64_t{tile} * cols * 4;
    for (int g = 0; g < groups; ++g) {
      const int first = g * kWeightGroup, width = Smaller(kWeightGroup, cols - first);
      uint16_t* mu16 = scales + (int64_t{tile} * groups + g) * kRowTile;
      GroupScales(tile_w + first, n_rows, cols, width, mu16);
      float half_mu[16];
      const F16 mu = LoadHalf(mu16);
      // rne(w / mu) is +-1 or more exactly when |w| > mu / 2: the tie at 0.5 goes to 0.
      Store(half_mu, Select(mu == 0.0f, Splat(__builtin_inff()), mu * 0.5f));
      for (int c = first; c < first + width; c += 16) {
        for (int r = 0; r < kRowTile; ++r) {
          uint32_t packed = 0x55555555u;  // t = 0
          if (r < n_rows) {
            const F16 x = Load(tile_w + int64_t{r} * cols + c);
            packed = PackCodes(1 - (x > half_mu[r]) + (x < -half_mu[r]));
          }
          std::memcpy(tile_codes + c * 4 + r * 4, &packed, 4);
        }
      }
    }
  }
}

// In every block of four lanes, the lanes after the first set one; all bits or none.
CHIMERA_VEC I16 AfterFirst(I16 set) {
  I16 after = {};
  for (int step = 0; step < 3; ++step) {
    set =
        __builtin_shufflevector(set, I16{}, 16, 0, 1, 2, 16, 4, 5, 6, 16, 8, 9, 10, 16, 12, 13, 14);
    after |= set;
  }
  return after;
}

// The codes of four blocks of four weights: the smallest |w| of a block is 0, the first of equals;
// the others keep their sign. *kept adds the |w| that stay.
CHIMERA_VEC I16 SherryCodes(F16 x, F16* kept) {
  const F16 magnitude = Select(x == x, Abs(x), F16{});
  F16 low = Min(magnitude, __builtin_shufflevector(magnitude, magnitude, 1, 0, 3, 2, 5, 4, 7, 6, 9,
                                                   8, 11, 10, 13, 12, 15, 14));
  low = Min(
      low, __builtin_shufflevector(low, low, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  const I16 lowest = magnitude == low;
  const I16 zero = lowest & ~AfterFirst(lowest);
  *kept = *kept + Select(zero, F16{}, magnitude);
  const I16 sign = (x < 0.0f) ? I16{} : I16{} + 2;
  return zero ? I16{} + 1 : sign;
}

void QuantizeSherryBody(const float* w, int rows, int cols, uint8_t* codes, uint16_t* scales,
                        int tile_begin, int tile_end) {
  const int groups = WeightGroups(cols);
  for (int tile = tile_begin; tile < tile_end; ++tile) {
    const int n_rows = Smaller(kRowTile, rows - tile * kRowTile);
    uint8_t* tile_codes = codes + int64_t{tile} * cols * 4;
    for (int g = 0; g < groups; ++g) {
      const int first = g * kWeightGroup, width = Smaller(kWeightGroup, cols - first);
      float mu[16] = {};
      for (int r = 0; r < kRowTile; ++r) {
        const float* row = w + (int64_t{tile} * kRowTile + r) * cols;
        F16 kept = {};
        for (int c = first; c < first + width; c += 16) {
          uint32_t packed = 0x55555555u;  // t = 0
          if (r < n_rows) packed = PackCodes(SherryCodes(Load(row + c), &kept));
          std::memcpy(tile_codes + c * 4 + r * 4, &packed, 4);
        }
        mu[r] = FoldAdd(kept) / (0.75f * static_cast<float>(width));
      }
      StoreHalf(scales + (int64_t{tile} * groups + g) * kRowTile, Min(Load(mu), Splat(65504.0f)));
    }
  }
}

// Calls store(row, column, t) with the sixteen trits of every real row and column tile.
template <typename StoreTrits>
CHIMERA_VEC void ForTrits(const TernaryView& w, int tile, int first, int width,
                          const StoreTrits& store) {
  const I16 shift = {0, 8, 16, 24, 2, 10, 18, 26, 4, 12, 20, 28, 6, 14, 22, 30};
  const int n_rows = Smaller(kRowTile, w.rows - tile * kRowTile);
  const uint8_t* codes = w.codes + int64_t{tile} * w.cols * 4;
  for (int r = 0; r < n_rows; ++r) {
    for (int c = first; c < first + width; c += 16) {
      int32_t packed;
      std::memcpy(&packed, codes + c * 4 + r * 4, 4);
      store(r, c, (((I16{} + packed) >> shift) & 3) - 1);
    }
  }
}

void WeightsBack(const TernaryView& w, int tile_begin, int tile_end, float* out) {
  const int groups = WeightGroups(w.cols);
  for (int tile = tile_begin; tile < tile_end; ++tile) {
    float* tile_out = out + int64_t{tile} * kRowTile * w.cols;
    for (int g = 0; g < groups; ++g) {
      const int first = g * kWeightGroup, width = Smaller(kWeightGroup, w.cols - first);
      float mu[16];
      Store(mu, LoadHalf(w.scales + (int64_t{tile} * groups + g) * kRowTile));
      ForTrits(
          w, tile, first, width, [&](int r, int c, I16 t) __attribute__((always_inline)) {
            Store(tile_out + int64_t{r} * w.cols + c, ToFloats(t) * mu[r]);
          });
    }
  }
}

void WeightsBackBf16(const TernaryView& w, int tile_begin, int tile_end, uint16_t* out) {
  const int groups = WeightGroups(w.cols);
  for (int tile = tile_begin; tile < tile_end; ++tile) {
    uint16_t* tile_out = out + int64_t{tile} * kRowTile * w.cols;
    for (int g = 0; g < groups; ++g) {
      const int first = g * kWeightGroup, width = Smaller(kWeightGroup, w.cols - first);
      uint16_t mu[16];
      StoreBf16(mu, LoadHalf(w.scales + (int64_t{tile} * groups + g) * kRowTile));
      ForTrits(
          w, tile, first, width, [&](int r, int c, I16 t) __attribute__((always_inline)) {
            const I16 bits = ((t != 0) & mu[r]) ^ (t & 0x8000);
            const Words16 words = __builtin_convertvector(bits, Words16);
            std::memcpy(tile_out + int64_t{r} * w.cols + c, &words, sizeof(words));
          });
    }
  }
}

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
constexpr bool kFmaIsQuick = true;
#else
constexpr bool kFmaIsQuick = false;
#endif

// x / scale, rounded once, from x times the rounded inverse of a finite scale: two corrections by
// exact remainders (Markstein 1990), five operations in place of a division.
CHIMERA_VEC F16 Quotient(F16 x, float scale, float inverse) {
  F16 y = x * inverse;
  y = Fma(Fma(y, -scale, x), inverse, y);
  return Fma(Fma(y, -scale, x), inverse, y);
}

void QuantizeActivationsBody(const float* x, int n_tokens, int cols, int8_t* q, float* s,
                             int32_t* sums) {
  const int64_t blocks = int64_t{n_tokens} * (cols / kActBlock);
  for (int64_t b = 0; b < blocks; ++b, x += kActBlock, q += kActBlock) {
    F16 v[4], peak = {};
    for (int i = 0; i < 4; ++i) {
      v[i] = Load(x + 16 * i);
      peak = Max(Abs(v[i]), peak);
    }
    const float raw = FoldMax(peak) / 127.0f;
    const float scale = raw > 1e-8f ? raw : 1e-8f;
    I16 sum = {};
    const auto round = [&](const auto& quotient) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const I16 rounded = RoundToInt8(quotient(v[i]));
        StoreBytes(q + 16 * i, rounded);
        sum += rounded;
      }
    };
    if (kFmaIsQuick && scale < __builtin_inff()) {
      const float inverse = 1.0f / scale;
      round([&](F16 x) __attribute__((always_inline)) { return Quotient(x, scale, inverse); });
    } else {
      round([&](F16 x) __attribute__((always_inline)) { return x / scale; });
    }
    s[b] = scale;
    sums[b] = Fold(Split(sum), [](auto x, auto y) { return x + y; });
  }
}

void ActivationsBack(const int8_t* q, const float* s, int n_tokens, int cols, float* out) {
  const int64_t n = int64_t{n_tokens} * cols;
  for (int64_t i = 0; i < n; i += 16) {
    Store(out + i, ToFloats(LoadBytes(q + i)) * s[i / kActBlock]);
  }
}

void ActivationsBackBf16(const int8_t* q, const float* s, int n_tokens, int cols, uint16_t* out) {
  const int64_t n = int64_t{n_tokens} * cols;
  for (int64_t i = 0; i < n; i += 16) {
    StoreBf16(out + i, ToFloats(LoadBytes(q + i)) * s[i / kActBlock]);
  }
}

void QuantizeInt8RowsBody(const float* w, int rows, int cols, int8_t* q, float* scale,
                          int tile_begin, int tile_end) {
  for (int tile = tile_begin; tile < tile_end; ++tile) {
    int8_t* tile_q = q + int64_t{tile} * kRowTile * cols;
    for (int r = 0; r < kRowTile; ++r) {
      const int row = tile * kRowTile + r;
      const bool real = row < rows;
      const float* from = w + int64_t{row} * cols;
      F16 peak = {};
      for (int c = 0; real && c < cols; c += 16) peak = Max(Abs(Load(from + c)), peak);
      const float raw = FoldMax(peak) / 127.0f;
      const float used = raw > 1e-12f ? raw : 1e-12f;
      scale[row] = real ? used : 0.0f;
      for (int c = 0; c < cols; c += 16) {
        int8_t bytes[16] = {};
        if (real) StoreBytes(bytes, RoundToInt8(Load(from + c) / used));
        for (int i = 0; i < 4; ++i)
          std::memcpy(tile_q + (c + 4 * i) * 16 + 4 * r, bytes + 4 * i, 4);
      }
    }
  }
}

void Int8RowBack(const Int8RowsView& w, int row, float* out) {
  const int8_t* q = w.q + int64_t{row / kRowTile} * kRowTile * w.cols + 4 * (row % kRowTile);
  const float scale = w.scale[row];
  for (int c = 0; c < w.cols; c += 4) {
    for (int i = 0; i < 4; ++i) out[c + i] = scale * static_cast<float>(q[c * 16 + i]);
  }
}

}  // namespace

extern const QuantizeKernels kQuantizeKernels;
const QuantizeKernels kQuantizeKernels = {
    QuantizeWeightsBody, QuantizeSherryBody,      WeightsBack,
    WeightsBackBf16,     QuantizeActivationsBody, ActivationsBack,
    ActivationsBackBf16, QuantizeInt8RowsBody,    Int8RowBack};

}  // namespace CHIMERA_ISA
}  // namespace chimera
