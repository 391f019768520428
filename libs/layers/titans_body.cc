// Serving kernels of the Titans layer, compiled once per instruction set; see titans.h.
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
        sum[j] = sum[j] + xr * LoadV(w + row * kHeadDim + c + j * kWidth);
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

CHIMERA_VEC F16 LoadCodes(const int8_t* p) {
  B16 codes;
  std::memcpy(&codes, p, sizeof(codes));
  return __builtin_convertvector(__builtin_convertvector(codes, I16), F16);
}

// Lane i is all ones when bit i is set.
CHIMERA_VEC I16 Lanes(uint32_t bits) {
  const I16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return ((I16{} + static_cast<int32_t>(bits)) >> lane & 1) != 0;
}

// Keys [64][16] and values [16][64] of one tile as floats, shared by the heads of a kv head.
struct FloatTile {
  alignas(64) float k[kHeadDim * 16];
  alignas(64) float v[16 * kHeadDim];
};

void UnpackKeys(const TitansTile& tile, FloatTile& out) {
  for (int i = 0; i < kHeadDim * 16; i += 16) Store(out.k + i, LoadCodes(tile.k + i));
}
void UnpackValues(const TitansTile& tile, FloatTile& out) {
  for (int i = 0; i < 16 * kHeadDim; i += 16) Store(out.v + i, LoadCodes(tile.v + i));
}

// Up to 16 learned slots, rows of 64 at stride; the rest is zero.
void LoadSlots(const float* k, const float* v, int64_t stride, int n, FloatTile& out) {
  std::memset(&out, 0, sizeof(out));
  for (int j = 0; j < n; ++j) {
    for (int d = 0; d < kHeadDim; ++d) out.k[d * 16 + j] = k[j * stride + d];
    std::memcpy(out.v + j * kHeadDim, v + j * stride, kHeadDim * sizeof(float));
  }
}

// dots[h] = q . k of 16 keys in their lanes for H heads, whose q are kHeadDim apart and share the
// loads of the keys: four sums of every fourth dimension.
template <int H>
CHIMERA_VEC void TileDots(const float* q, const float* k, F16* dots) {
  F16 sum[H][4] = {};
  for (int d = 0; d < kHeadDim; d += 4) {
    for (int j = 0; j < 4; ++j) {
      const F16 key = Load(k + (d + j) * 16);
      for (int h = 0; h < H; ++h) sum[h][j] = sum[h][j] + key * q[h * kHeadDim + d + j];
    }
  }
  for (int h = 0; h < H; ++h) dots[h] = (sum[h][0] + sum[h][1]) + (sum[h][2] + sum[h][3]);
}

CHIMERA_VEC void TileDots(const float* q, int heads, const float* k, F16* dots) {
  int h = 0;
  for (; h + 2 <= heads; h += 2) TileDots<2>(q + h * kHeadDim, k, dots + h);
  if (h < heads) TileDots<1>(q + h * kHeadDim, k, dots + h);
}

// o += sum of weight_j v_j in order of j for H heads, whose weights are kScoresMax apart; what is
// not seen has weight 0.
template <int H>
CHIMERA_VEC void AddTile(const float* weights, const float* v, float* o) {
  F16 sum[H][4];
  for (int h = 0; h < H; ++h) {
    for (int i = 0; i < 4; ++i) sum[h][i] = Load(o + h * kHeadDim + 16 * i);
  }
  for (int j = 0; j < 16; ++j) {
    for (int i = 0; i < 4; ++i) {
      const F16 value = Load(v + j * kHeadDim + 16 * i);
      for (int h = 0; h < H; ++h) sum[h][i] = sum[h][i] + value * weights[h * kScoresMax + j];
    }
  }
  for (int h = 0; h < H; ++h) {
    for (int i = 0; i < 4; ++i) Store(o + h * kHeadDim + 16 * i, sum[h][i]);
  }
}

CHIMERA_VEC void AddTile(const float* weights, int heads, const float* v, float* o) {
  int h = 0;
  for (; h + 2 <= heads; h += 2) AddTile<2>(weights + h * kScoresMax, v, o + h * kHeadDim);
  if (h < heads) AddTile<1>(weights + h * kScoresMax, v, o + h * kHeadDim);
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
  const auto slots_of = [&](int i) {
    const int n = slots - 16 * i < 16 ? slots - 16 * i : 16;
    LoadSlots(slot_k + 16 * i * stride, slot_v + 16 * i * stride, stride, n, g.tile);
    return (1u << n) - 1u;
  };
  for (int i = 0; i < slot_tiles; ++i) {
    const I16 seen = Lanes(slots_of(i));
    TileDots(q, heads, g.tile.k, dots);
    for (int h = 0; h < heads; ++h) {
      Store(g.scores[h] + 16 * i, Select(seen, dots[h] * kScale, Splat(kHidden)));
    }
  }
  for (int i = 0; i < n_tiles; ++i) {
    UnpackKeys(tiles[i], g.tile);
    const I16 seen = Lanes(tiles[i].visible);
    const F16 scale = Load(tiles[i].k_scale);
    TileDots(q_rotated, heads, g.tile.k, dots);
    for (int h = 0; h < heads; ++h) {
      const F16 scores = dots[h] * scale * kScale;
      Store(g.scores[h] + 16 * (slot_tiles + i), Select(seen, scores, Splat(kHidden)));
    }
  }
  float inverse[kHeadGroup];
  for (int h = 0; h < heads; ++h) inverse[h] = Softmax(g.scores[h], slot_tiles + n_tiles);
  for (int i = 0; i < slot_tiles; ++i) {
    slots_of(i);
    AddTile(g.scores[0] + 16 * i, heads, g.tile.v, g.o[0]);
  }
  for (int i = 0; i < n_tiles; ++i) {
    UnpackValues(tiles[i], g.tile);
    const F16 scale = Load(tiles[i].v_scale);
    for (int h = 0; h < heads; ++h) {
      float* weights = g.scores[h] + 16 * (slot_tiles + i);
      Store(weights, Load(weights) * scale);
    }
    AddTile(g.scores[0] + 16 * (slot_tiles + i), heads, g.tile.v, g.o[0]);
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
