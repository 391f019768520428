// Vector loops of the span knot, compiled once per instruction set; see span_knot_kernels.h.
// Lanes are independent, so vectors have the width of the instruction set; only sums keep to the
// sixteen lanes of tensor/vec.h, in kParts vectors.
#include "layers/native_vec.h"
#include "layers/span_knot_kernels.h"
#include "tensor/vec.h"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace chimera {
namespace CHIMERA_ISA {
namespace {

typedef int32_t IV __attribute__((vector_size(4 * CHIMERA_WIDTH)));
typedef uint64_t WV __attribute__((vector_size(4 * CHIMERA_WIDTH)));
constexpr int kParts = 16 / kWidth;
constexpr int kWordLanes = kWidth / 2;            // of a WV
constexpr int kRowsAtOnce = kWidth == 4 ? 2 : 4;  // of a projection: what the registers hold

// Part by part: a copy of the whole array would keep the sums of the loops before in memory.
CHIMERA_VEC F16 Join(const FV* parts) {
  float lanes[16];
#pragma GCC unroll 4
  for (int p = 0; p < kParts; ++p) StoreV(lanes + p * kWidth, parts[p]);
  return Load(lanes);
}

// Bit l is set where lane l of a comparison is.
CHIMERA_VEC uint64_t LaneBits(IV mask) {
#if defined(CHIMERA_ISA_avx512)
  return _mm512_movepi32_mask((__m512i)mask);
#elif defined(CHIMERA_ISA_avx2)
  return static_cast<unsigned>(_mm256_movemask_ps((__m256)mask));
#elif defined(__SSE2__)
  return static_cast<unsigned>(_mm_movemask_ps((__m128)mask));
#else
  uint64_t bits = 0;
  for (int i = 0; i < kWidth; ++i) bits |= static_cast<uint64_t>(mask[i] & 1) << i;
  return bits;
#endif
}

// x with the sign of each lane's bit, the lowest kWidth of `bits`: + where it is set.
CHIMERA_VEC FV Signed(float x, uint64_t bits) {
#if defined(CHIMERA_ISA_avx512)
  const IV lane = {1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                   1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
#elif defined(CHIMERA_ISA_avx2)
  const IV lane = {1, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7};
#else
  const IV lane = {1, 1 << 1, 1 << 2, 1 << 3};
#endif
  const IV set = (lane & static_cast<int32_t>(bits & 0xffff)) != 0;
  return set ? SplatV(x) : SplatV(-x);
}

// R rows of Dot side by side: independent sums, each in Dot's order.
template <int R>
CHIMERA_VEC void ProjectRows(const float* w, int cols, const float* x, float* z) {
  FV sum[R][kParts] = {};
  int c = 0;
  for (; c + 16 <= cols; c += 16) {
#pragma GCC unroll 4
    for (int p = 0; p < kParts; ++p) {
      const FV in = LoadV(x + c + p * kWidth);
#pragma GCC unroll 4
      for (int i = 0; i < R; ++i) {
        sum[i][p] = Fma(LoadV(w + int64_t{i} * cols + c + p * kWidth), in, sum[i][p]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < R; ++i) {
    F16 total = Join(sum[i]);
    const float* rest = w + int64_t{i} * cols + c;
    if (c < cols) total = Fma(LoadN(rest, cols - c), LoadN(x + c, cols - c), total);
    z[i] = FoldAdd(total);
  }
}

void Project(const float* w, int rows, int cols, const float* x, float* z) {
  int r = 0;
  for (; r + kRowsAtOnce <= rows; r += kRowsAtOnce) {
    ProjectRows<kRowsAtOnce>(w + int64_t{r} * cols, cols, x, z + r);
  }
  for (; r < rows; ++r) ProjectRows<1>(w + int64_t{r} * cols, cols, x, z + r);
}

SpanKnotFieldSums Fields(const float* pre, int bits, const SpanKnotTerms& terms, uint64_t* start,
                         float* gains) {
  const float* candidate = pre + bits;
  const float* role = pre + int64_t{2} * bits;
  FV sum[kParts] = {}, top[kParts] = {};
  for (int word = 0; word < bits / 64; ++word) {
    uint64_t roles = 0, signs = 0;
    for (int k = 0; k < 64; k += kWidth) {
      roles |= LaneBits(LoadV(role + 64 * word + k) >= 0.0f) << k;
    }
    // The bits that make role XOR s equal to the previous sketch.
    const uint64_t bound = roles ^ terms.sketch[1][word];
    for (int block = 0; block < 64; block += 16) {
      for (int p = 0; p < kParts; ++p) {
        const int k = block + p * kWidth, at = 64 * word + k;
        FV field = LoadV(candidate + at) * terms.candidate;
        field = field + Signed(terms.half[0], terms.sketch[0][word] >> k);
        field = field + Signed(terms.half[1], bound >> k);
        field = field + Signed(terms.half[2], terms.sketch[2][word] >> k);
        field = field + Signed(terms.half[3], terms.sketch[3][word] >> k);
        const IV positive = LoadV(pre + at) >= 0.0f;
        const FV gain = positive ? -field : field;
        signs |= LaneBits(positive) << k;
        sum[p] = sum[p] + gain;
        top[p] = gain > top[p] ? gain : top[p];
        StoreV(gains + at, gain);
      }
    }
    start[word] = signs;
  }
  return {FoldAdd(Join(sum)), FoldMax(Join(top))};
}

int Count(const float* x, int bits, float least) {
  IV hits = {};
  for (int i = 0; i < bits; i += kWidth) hits = hits - (LoadV(x + i) >= least);
  int total = 0;
  for (int i = 0; i < kWidth; ++i) total += hits[i];
  return total;
}

int Collect(const float* x, int bits, float least, uint64_t* out) {
  int n = 0;
  for (int i = 0; i < bits; i += kWidth) {
    for (uint64_t hits = LaneBits(LoadV(x + i) >= least); hits != 0; hits &= hits - 1) {
      const int j = i + __builtin_ctzll(hits);
      uint32_t gain;
      std::memcpy(&gain, x + j, sizeof(gain));
      out[n++] = static_cast<uint64_t>(gain) << 32 | (0xffffffffu - static_cast<uint32_t>(j));
    }
  }
  return n;
}

void Below(const float* x, int bits, float limit, uint64_t* plane) {
  for (int word = 0; word < bits / 64; ++word) {
    uint64_t hits = 0;
    for (int k = 0; k < 64; k += kWidth) {
      const FV size = (FV)((IV)LoadV(x + 64 * word + k) & 0x7fffffff);
      hits |= LaneBits(size < limit) << k;
    }
    plane[word] = hits;
  }
}

CHIMERA_VEC WV LoadWords(const uint64_t* p, int n) {
  WV v = {};
  if (n == kWordLanes) {
    std::memcpy(&v, p, sizeof(v));
  } else {
    std::memcpy(&v, p, sizeof(uint64_t) * static_cast<unsigned>(n));
  }
  return v;
}

// Set bits of a XOR b. Counts collect in bytes for sixteen vectors, at most 128, then in pairs of
// bytes.
CHIMERA_VEC int Differing(const uint64_t* a, const uint64_t* b, int words) {
  constexpr int kRun = 16 * kWordLanes;
  WV pairs = {};
  for (int run = 0; run < words; run += kRun) {
    const int end = words - run < kRun ? words : run + kRun;
    WV bytes = {};
    for (int w = run; w < end; w += kWordLanes) {
      const int n = end - w < kWordLanes ? end - w : kWordLanes;
      WV v = LoadWords(a + w, n) ^ LoadWords(b + w, n);
      v = v - (v >> 1 & 0x5555555555555555);
      v = (v & 0x3333333333333333) + (v >> 2 & 0x3333333333333333);
      bytes = bytes + ((v + (v >> 4)) & 0x0f0f0f0f0f0f0f0f);
    }
    pairs = pairs + (bytes & 0x00ff00ff00ff00ff) + (bytes >> 8 & 0x00ff00ff00ff00ff);
  }
  uint64_t total = 0;
  for (int i = 0; i < kWordLanes; ++i) total += pairs[i] * 0x0001000100010001 >> 48;
  return static_cast<int>(total);
}

void Readout(const uint64_t* planes, int rank, int bits, const uint64_t* sketch, float scale,
             float* r) {
  const int words = bits / 64;
  for (int i = 0; i < rank; ++i, planes += words) {
    r[i] = static_cast<float>(bits - 2 * Differing(planes, sketch, words)) * scale;
  }
}

void FeedBack(const float* back, const float* gate, const float* r, int width, int rank, float* y) {
  Project(back, width, rank, r, y);
  int i = 0;
  for (; i + 16 <= width; i += 16) Store(y + i, Load(y + i) * Load(gate + i));
  for (; i < width; ++i) y[i] = y[i] * gate[i];
}

}  // namespace

extern const SpanKnotKernels kSpanKnot;
const SpanKnotKernels kSpanKnot = {Project, Fields, Count, Collect, Below, Readout, FeedBack};

}  // namespace CHIMERA_ISA
}  // namespace chimera
