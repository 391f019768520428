// Serving kernels of the Titans layer, compiled once per instruction set; see titans.h.
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "layers/native_vec.h"
#include "layers/titans.h"
#include "layers/titans_chunk.h"
#include "tensor/vec.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

constexpr float kEps = 1e-6f;
constexpr float kScale = 0.125f;   // 64^-1/2
constexpr float kHidden = -1e30f;  // score of what must not be seen: its exponential is 0
constexpr int kTilesMax =
    kTitansSlotsMax / 16 + (kTitansBlocks / 16 + 1) + (kTitansWindowMax / 16 + 1);
constexpr int kScoresMax = 16 * kTilesMax;  // of one head

void Gates(const float* pre, const float* bias, int64_t n_tokens, int n_heads, float* gates,
           float* log_keep) {
  const int width = 3 * n_heads;
  const I16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int64_t t = 0; t < n_tokens; ++t) {
    for (int i = 0; i < width; i += 16) {
      const int lanes = width - i < 16 ? width - i : 16;
      const F16 s = Sigmoid(LoadLanes(pre + t * width + i, lanes) + LoadLanes(bias + i, lanes));
      StoreLanes(gates + t * width + i, Select(lane + i >= 2 * n_heads, s * kTitansAlphaMax, s),
                 lanes);
    }
    if (log_keep == nullptr) continue;
    const float* alpha = gates + t * width + 2 * n_heads;
    for (int i = 0; i < n_heads; i += 16) {
      const int lanes = n_heads - i < 16 ? n_heads - i : 16;
      StoreLanes(log_keep + t * n_heads + i, Log(1.0f - LoadLanes(alpha + i, lanes)), lanes);
    }
  }
}

// y [64] = W^T x, W input-major; y is a local buffer of the caller.
CHIMERA_VEC void TimesRow(const float* w, const float* x, float* y) {
  for (int c = 0; c < kHeadDim; c += kColumnBlock) {
    FV sum[kColumnVectors] = {};
    for (int row = 0; row < kHeadDim; ++row) {
      const FV xr = SplatV(x[row]);
      for (int j = 0; j < kColumnVectors; ++j) {
        sum[j] = Fma(xr, LoadV(w + row * kHeadDim + c + j * kWidth), sum[j]);
      }
    }
    for (int j = 0; j < kColumnVectors; ++j) StoreV(y + c + j * kWidth, sum[j]);
  }
}

void Retrieve(const float* fast, const float* q, float* r) {
  alignas(64) float z[kHeadDim];
  alignas(64) float out[kHeadDim];
  TimesRow(fast, q, z);
  for (int i = 0; i < kHeadDim; i += 16) Store(z + i, Silu(Load(z + i)));
  TimesRow(fast + kHeadState, z, out);
  std::memcpy(r, out, sizeof(out));
}

float Surprise(const float* fast, const float* k, const float* v) {
  const float* w2 = fast + kHeadState;
  alignas(64) float z[kHeadDim], act[kHeadDim], e[kHeadDim], delta[kHeadDim];
  TimesRow(fast, k, z);
  for (int i = 0; i < kHeadDim; i += 16) Store(act + i, Silu(Load(z + i)));
  TimesRow(w2, act, e);
  for (int i = 0; i < kHeadDim; i += 16) Store(e + i, Load(e + i) - Load(v + i));
  for (int i = 0; i < kHeadDim; ++i) delta[i] = RowDot(w2 + i * kHeadDim, e);
  for (int i = 0; i < kHeadDim; i += 16) {
    const F16 zi = Load(z + i);
    Store(delta + i, Load(delta + i) * SiluSlope(zi, Sigmoid(zi)));
  }
  return RowDot(e, e) * RowDot(act, act) + RowDot(delta, delta) * RowDot(k, k);
}

void Write(const float* tokens, int n, bool momentum_guard, float* fast) {
  WriteTokens(tokens, n, momentum_guard, fast);
}

typedef int8_t B16 __attribute__((vector_size(16)));
typedef int16_t S8 __attribute__((vector_size(16)));

// GCC widens bytes one by one, so this says how.
CHIMERA_VEC F16 LoadCodes(const int8_t* p) {
  B16 codes;
  std::memcpy(&codes, p, sizeof(codes));
#if defined(__AVX512F__)
  return ToFloats((I16)_mm512_maskz_cvtepi8_epi32(0xffff, (__m128i)codes));
#elif defined(__AVX2__)
  const __m128i low = (__m128i)codes;
  const __m256i ints[2] = {_mm256_cvtepi8_epi32(low),
                           _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(low, low))};
  I16 wide;
  std::memcpy(&wide, ints, sizeof(wide));
  return ToFloats(wide);
#else
  // Each byte on top of three zeros, then shifted down with its sign.
  const B16 zero = {};
  const B16 words[2] = {
      __builtin_shufflevector(zero, codes, 0, 16, 0, 17, 0, 18, 0, 19, 0, 20, 0, 21, 0, 22, 0, 23),
      __builtin_shufflevector(zero, codes, 0, 24, 0, 25, 0, 26, 0, 27, 0, 28, 0, 29, 0, 30, 0, 31)};
  S8 halves[4];
  for (int i = 0; i < 2; ++i) {
    const S8 none = {}, some = (S8)words[i];
    halves[2 * i] = __builtin_shufflevector(none, some, 0, 8, 0, 9, 0, 10, 0, 11);
    halves[2 * i + 1] = __builtin_shufflevector(none, some, 0, 12, 0, 13, 0, 14, 0, 15);
  }
  I16 wide;
  std::memcpy(&wide, halves, sizeof(wide));
  return ToFloats(wide >> 24);
#endif
}

// Lane i is all ones when bit i is set.
CHIMERA_VEC I16 Lanes(uint32_t bits) {
  const I16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return ((I16{} + static_cast<int32_t>(bits)) >> lane & 1) != 0;
}

// Keys [64][16] or values [16][64] of one tile, shared by the heads of a kv head.
constexpr int kTileValues = kHeadDim * 16;
struct FloatTile {
  alignas(64) float k[kTileValues];
  alignas(64) float v[kTileValues];
};
struct FromFloats {
  const float* p;
  F16 At(int i) const { return Load(p + i); }
};
struct FromCodes {
  const int8_t* p;
  F16 At(int i) const { return LoadCodes(p + i); }
};

// Runs body(codes as a source of floats): as they stand where all heads share one load, else
// unpacked to `space` first.
template <typename Body>
CHIMERA_VEC void WithCodes(const int8_t* codes, float* space, const Body& body) {
  if constexpr (kRegisters == 1) {
    body(FromCodes{codes});
  } else {
    for (int i = 0; i < kTileValues; i += 16) Store(space + i, LoadCodes(codes + i));
    body(FromFloats{space});
  }
}

// Up to 16 learned slots, rows of 64 at stride; the rest is zero.
void LoadSlotKeys(const float* k, int64_t stride, int n, FloatTile& out) {
  if (n < 16) std::memset(out.k, 0, sizeof(out.k));
  for (int d = 0; d < kHeadDim; ++d) {
    for (int j = 0; j < n; ++j) out.k[d * 16 + j] = k[j * stride + d];
  }
}
void LoadSlotValues(const float* v, int64_t stride, int n, FloatTile& out) {
  if (n < 16) std::memset(out.v, 0, sizeof(out.v));
  for (int j = 0; j < n; ++j) {
    std::memcpy(out.v + j * kHeadDim, v + j * stride, kHeadDim * sizeof(float));
  }
}

// Heads that share the loads of a key or value: their sums, four registers each, stay in registers.
constexpr int kSharing = kRegisters == 1 ? 5 : 2;

// Runs body<H>(first) over `heads` heads, kSharing at a time.
template <typename Body>
CHIMERA_VEC void ForHeads(int heads, const Body& body) {
  int h = 0;
  for (; h + kSharing <= heads; h += kSharing) body.template operator()<kSharing>(h);
  for (; h + 2 <= heads; h += 2) body.template operator()<2>(h);
  if (h < heads) body.template operator()<1>(h);
}

// dots[h] = q . k of 16 keys in their lanes for H heads, whose q are kHeadDim apart: four sums of
// every fourth dimension.
template <int H, typename Keys>
CHIMERA_VEC void TileDots(const float* q, const Keys& k, F16* dots) {
  F16 sum[H][4] = {};
  for (int d = 0; d < kHeadDim; d += 4) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const F16 key = k.At((d + j) * 16);
#pragma GCC unroll 8
      for (int h = 0; h < H; ++h) sum[h][j] = Fma(key, q[h * kHeadDim + d + j], sum[h][j]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < H; ++h) dots[h] = (sum[h][0] + sum[h][1]) + (sum[h][2] + sum[h][3]);
}

template <typename Keys>
CHIMERA_VEC void TileDots(const float* q, int heads, const Keys& k, F16* dots) {
  ForHeads(heads, [&]<int H>(int h) { TileDots<H>(q + h * kHeadDim, k, dots + h); });
}

// o += sum of weight_j v_j in order of j for H heads, whose weights are kScoresMax apart; what is
// not seen has weight 0.
template <int H, typename Values>
CHIMERA_VEC void AddTile(const float* weights, const Values& v, float* o) {
  F16 sum[H][4];
#pragma GCC unroll 8
  for (int h = 0; h < H; ++h) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) sum[h][i] = Load(o + h * kHeadDim + 16 * i);
  }
  for (int j = 0; j < 16; ++j) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const F16 value = v.At(j * kHeadDim + 16 * i);
#pragma GCC unroll 8
      for (int h = 0; h < H; ++h) sum[h][i] = Fma(value, weights[h * kScoresMax + j], sum[h][i]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < H; ++h) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) Store(o + h * kHeadDim + 16 * i, sum[h][i]);
  }
}

template <typename Values>
CHIMERA_VEC void AddTile(const float* weights, int heads, const Values& v, float* o) {
  ForHeads(heads, [&]<int H>(int h) { AddTile<H>(weights + h * kScoresMax, v, o + h * kHeadDim); });
}

// Scores to exponentials below the largest; returns 1 / their sum.
float Softmax(float* scores, int tiles) {
  F16 most = Splat(kHidden);
  for (int i = 0; i < tiles; ++i) most = Max(most, Load(scores + 16 * i));
  const float top = FoldMax(most);
  F16 total = {};
  for (int i = 0; i < tiles; ++i) {
    const F16 e = Exp(Load(scores + 16 * i) - top);
    Store(scores + 16 * i, e);
    total = total + e;
  }
  return 1.0f / FoldAdd(total);
}

constexpr int kHeadGroup = 8;  // heads that share an unpacked tile

struct HeadGroup {
  alignas(64) float scores[kHeadGroup][kScoresMax];
  alignas(64) float o[kHeadGroup][kHeadDim];
  FloatTile tile;
};

void AttendGroup(const float* q, const float* q_rotated, int heads, const float* slot_k,
                 const float* slot_v, int64_t stride, int slots, const TitansTile* tiles,
                 int n_tiles, float* o) {
  HeadGroup g;
  F16 dots[kHeadGroup];
  std::memset(g.o, 0, sizeof(g.o));
  const int slot_tiles = (slots + 15) / 16;
  const auto slots_of = [slots](int i) { return slots - 16 * i < 16 ? slots - 16 * i : 16; };
  for (int i = 0; i < slot_tiles; ++i) {
    LoadSlotKeys(slot_k + 16 * i * stride, stride, slots_of(i), g.tile);
    const I16 seen = Lanes((1u << slots_of(i)) - 1u);
    TileDots(q, heads, FromFloats{g.tile.k}, dots);
    for (int h = 0; h < heads; ++h) {
      Store(g.scores[h] + 16 * i, Select(seen, dots[h] * kScale, Splat(kHidden)));
    }
  }
  for (int i = 0; i < n_tiles; ++i) {
    const I16 seen = Lanes(tiles[i].visible);
    const F16 scale = Load(tiles[i].k_scale);
    WithCodes(tiles[i].k, g.tile.k,
              [&](const auto& keys) { TileDots(q_rotated, heads, keys, dots); });
    for (int h = 0; h < heads; ++h) {
      const F16 scores = dots[h] * scale * kScale;
      Store(g.scores[h] + 16 * (slot_tiles + i), Select(seen, scores, Splat(kHidden)));
    }
  }
  float inverse[kHeadGroup];
  for (int h = 0; h < heads; ++h) inverse[h] = Softmax(g.scores[h], slot_tiles + n_tiles);
  for (int i = 0; i < slot_tiles; ++i) {
    LoadSlotValues(slot_v + 16 * i * stride, stride, slots_of(i), g.tile);
    AddTile(g.scores[0] + 16 * i, heads, FromFloats{g.tile.v}, g.o[0]);
  }
  for (int i = 0; i < n_tiles; ++i) {
    const F16 scale = Load(tiles[i].v_scale);
    for (int h = 0; h < heads; ++h) {
      float* weights = g.scores[h] + 16 * (slot_tiles + i);
      Store(weights, Load(weights) * scale);
    }
    WithCodes(tiles[i].v, g.tile.v, [&](const auto& values) {
      AddTile(g.scores[0] + 16 * (slot_tiles + i), heads, values, g.o[0]);
    });
  }
  for (int h = 0; h < heads; ++h) {
    for (int i = 0; i < kHeadDim; i += 16) {
      Store(o + h * kHeadDim + i, Load(g.o[h] + i) * inverse[h]);
    }
  }
}

void Attend(const float* q, const float* q_rotated, int heads, const float* slot_k,
            const float* slot_v, int64_t stride, int slots, const TitansTile* tiles, int n_tiles,
            float* o) {
  for (int h = 0; h < heads; h += kHeadGroup) {
    const int n = heads - h < kHeadGroup ? heads - h : kHeadGroup;
    AttendGroup(q + h * kHeadDim, q_rotated + h * kHeadDim, n, slot_k, slot_v, stride, slots, tiles,
                n_tiles, o + h * kHeadDim);
  }
}

void HeadGate(const float* o, const float* r, const float* gain, int64_t rows, float* y,
              float* inv) {
  for (int64_t row = 0; row < rows; ++row, o += kHeadDim, r += kHeadDim, y += kHeadDim) {
    const float factor = 1.0f / Sqrt1(Dot(r, r, kHeadDim) / kHeadDim + kEps);
    for (int i = 0; i < kHeadDim; i += 16) {
      const F16 gate = Sigmoid(Load(r + i) * factor * Load(gain + i)) * 2.0f;
      Store(y + i, Load(o + i) * gate);
    }
    if (inv != nullptr) inv[row] = factor;
  }
}

}  // namespace

extern const TitansKernels kTitans;
const TitansKernels kTitans = {Gates, Retrieve, Surprise, Write, Attend, HeadGate};

}  // namespace CHIMERA_ISA
}  // namespace chimera
