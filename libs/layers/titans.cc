// One token of one stream; see titans.h.
#include "layers/titans.h"

#include <algorithm>

#include "base/check.h"
#include "layers/gated_delta.h"
#include "layers/rope.h"
#include "layers/titans_slab.h"
#include "ternary/ternary.h"

namespace chimera {
namespace {

constexpr float kSurpriseDecay = 0.99f;  // of mean and variance
constexpr int kSurpriseWarmup = 16;
// Block tokens may begin inside a tile; the window ends with the open tile.
constexpr int kTilesMax = (kTitansBlocks / 16 + 1) + (kTitansWindowMax / 16 + 1);

static_assert(kActBlock == kHeadDim);  // one activation scale is the scale of one kv head

// Where the parts of a node lie. With decay_linear k and v are floats, else codes in the same
// place.
struct NodeLayout {
  explicit NodeLayout(const TitansShape& s)
      : r(0),
        km(s.width()),
        vm(2 * s.width()),
        q(3 * s.width()),
        q_rotated(4 * s.width()),
        gates(5 * s.width()),
        log_keep(gates + 3 * s.n_heads),
        k_scale(log_keep + s.n_heads),
        v_scale(k_scale + s.kv_heads),
        squares(v_scale + s.kv_heads),
        k(squares + s.n_heads),
        v(k + s.kv_width() / (s.decay_linear ? 1 : 4)),
        floats(v + s.kv_width() / (s.decay_linear ? 1 : 4)) {}
  int r, km, vm, q, q_rotated, gates, log_keep, k_scale, v_scale, squares, k, v, floats;
};

const int8_t* CodesAt(const float* node, int at) {
  return reinterpret_cast<const int8_t*>(node + at);
}
int8_t* CodesAt(float* node, int at) { return reinterpret_cast<int8_t*>(node + at); }

// Rotated keys and plain values of one token as codes.
void QuantizeKv(const TitansShape& s, int64_t position, const float* k, const float* v,
                int8_t* k_codes, float* k_scale, int8_t* v_codes, float* v_scale) {
  float cos[kRopePairs], sin[kRopePairs], rotated[kHeadDim];
  int32_t unused;
  Rope().angles(position, cos, sin);
  for (int h = 0; h < s.kv_heads; ++h) {
    const int at = h * kHeadDim;
    Rope().rotate(k + at, 1, cos, sin, rotated);
    QuantizeActivations(rotated, 1, kHeadDim, k_codes + at, k_scale + h, &unused);
    QuantizeActivations(v + at, 1, kHeadDim, v_codes + at, v_scale + h, &unused);
  }
}

// The first matrices of decay_linear: the learned slots, written one after another.
void StartMatrices(const TitansLayer& layer, float* ring) {
  const TitansShape& s = layer.shape;
  TitansRingHeader header = ReadHeader<TitansRingHeader>(ring);
  if (header.started != 0) return;
  for (int h = 0; h < s.n_heads; ++h) {
    const int kv = h / (s.n_heads / s.kv_heads) * kHeadDim;
    for (int j = 0; j < s.persistent_slots; ++j) {
      GatedDelta().write(ring + kTitansHeader + h * kHeadState,
                         layer.persistent_k + j * s.kv_width() + kv,
                         layer.persistent_v + j * s.kv_width() + kv, 0.0f);
    }
  }
  header.started = 1;
  WriteHeader(header, ring);
}

constexpr float kNotGauged = -1.0f;  // where the squared norm of the first head will be

float SquaredGradient(const NodeLayout& at, int head, const float* memory, const float* node) {
  return Titans().surprise(memory + TitansFastAt(head), node + at.km + head * kHeadDim,
                           node + at.vm + head * kHeadDim);
}

void UpdateSurprise(const TitansShape& s, const NodeLayout& at, const float* node,
                    const float* memory, TitansMemoryHeader* header) {
  const bool gauged = node[at.squares] != kNotGauged;
  float squares = 0;
  for (int h = 0; h < s.n_heads; ++h) {
    squares += gauged ? node[at.squares + h] : SquaredGradient(at, h, memory, node);
  }
  const float now = __builtin_sqrtf(squares), off = now - header->mean;
  header->fired =
      header->position >= kSurpriseWarmup && off > 0 && off * off > 4.0f * header->variance;
  header->surprise = now;
  if (header->position == 0) {
    header->mean = now;
  } else {
    header->mean += (1.0f - kSurpriseDecay) * off;
    header->variance = kSurpriseDecay * (header->variance + (1.0f - kSurpriseDecay) * off * off);
  }
}

// Adds the node to the unfinished write chunk.
void PushWrite(const TitansShape& s, const NodeLayout& at, const float* node, int pending,
               float* memory) {
  for (int h = 0; h < s.n_heads; ++h) {
    float* tokens = memory + TitansTokensAt(s, h);
    std::memcpy(tokens + pending * kHeadDim, node + at.km + h * kHeadDim, kHeadDim * sizeof(float));
    std::memcpy(tokens + (kTitansChunk + pending) * kHeadDim, node + at.vm + h * kHeadDim,
                kHeadDim * sizeof(float));
    for (int g = 0; g < 3; ++g) {
      tokens[kTitansTheta + g * kTitansChunk + pending] = node[at.gates + g * s.n_heads + h];
    }
  }
}

// The tile of 16 that `position` falls into, with what a verify window adds to the ring.
struct OpenTile {
  alignas(16) int8_t k[kHeadDim * 16];
  alignas(16) int8_t v[16 * kHeadDim];
  float k_scale[16], v_scale[16];
};

void AddNode(const TitansShape& s, const float* node, int head, int lane, OpenTile* tile) {
  const NodeLayout at(s);
  const int8_t* k = CodesAt(node, at.k) + head * kHeadDim;
  for (int d = 0; d < kHeadDim; ++d) tile->k[d * 16 + lane] = k[d];
  std::memcpy(tile->v + lane * kHeadDim, CodesAt(node, at.v) + head * kHeadDim, kHeadDim);
  tile->k_scale[lane] = node[at.k_scale + head];
  tile->v_scale[lane] = node[at.v_scale + head];
}

// Which of the numbers first .. first + 15 the bank holds within [low, high].
uint32_t Visible(const TitansBank& bank, int64_t first, int64_t low, int64_t high) {
  uint32_t bits = 0;
  for (int i = 0; i < 16; ++i) {
    const int64_t n = first + i;
    if (n < low || n > high) continue;
    if (bank.number(static_cast<int>(n % bank.size())) == n + 1) bits |= 1u << i;
  }
  return bits;
}

TitansTile TileOf(const TitansBank& bank, int head, int64_t first, uint32_t visible) {
  const int at = static_cast<int>(first % bank.size());
  return {bank.k_tile(head, at / 16), bank.v_row(head, at), bank.k_scale(head) + at,
          bank.v_scale(head) + at, visible};
}

// The tiles one query sees, oldest first: block tokens, then the window, then the open tile.
struct Sight {
  int n_blocks = 0, n_tiles = 0;
  int64_t first[kTilesMax];
  uint32_t visible[kTilesMax];
  uint32_t open;  // of the ring's own tokens in the open tile
};

Sight Look(const TitansShape& s, int64_t position, int n_path, const float* ring) {
  Sight sight;
  const auto add = [&](const TitansBank& bank, int64_t first, int64_t low, int64_t high) {
    const uint32_t bits = Visible(bank, first, low, high);
    if (bits == 0) return;
    sight.first[sight.n_tiles] = first;
    sight.visible[sight.n_tiles++] = bits;
  };
  const int64_t block = position / kTitansChunk, here = block * kTitansChunk;
  const int64_t oldest = std::max<int64_t>(0, block - kTitansBlocks);
  const TitansBank blocks = TitansBlockBank(s, ring);
  for (int64_t b = oldest / 16 * 16; b < block; b += 16) add(blocks, b, oldest, block - 1);
  sight.n_blocks = sight.n_tiles;
  const TitansBank tokens = TitansTokenBank(s, ring);
  const int64_t low = std::max<int64_t>(0, position - s.window_len + 1);
  for (int64_t t = low / 16 * 16; t < here; t += 16) add(tokens, t, low, here - 1);
  sight.open = Visible(tokens, here, here, position - n_path - 1);
  return sight;
}

void AttendWindow(const TitansLayer& layer, const TitansQuery& query, int first_group, int count,
                  const float* node, float* out) {
  const TitansShape& s = layer.shape;
  const NodeLayout at(s);
  const TitansBank blocks = TitansBlockBank(s, query.ring), tokens = TitansTokenBank(s, query.ring);
  const Sight sight = Look(s, query.position, query.n_path, query.ring);
  const int64_t here = query.position / kTitansChunk * kTitansChunk;
  const int lane = static_cast<int>(query.position - here), n_path = query.n_path;
  const int group = s.n_heads / s.kv_heads;
  TitansTile tiles[kTilesMax];
  OpenTile open;
  for (int kv = first_group; kv < first_group + count; ++kv) {
    for (int i = 0; i < sight.n_tiles; ++i) {
      tiles[i] = TileOf(i < sight.n_blocks ? blocks : tokens, kv, sight.first[i], sight.visible[i]);
    }
    const TitansTile base = TileOf(tokens, kv, here, 0);
    std::memcpy(open.k, base.k, sizeof(open.k));
    std::memcpy(open.v, base.v, sizeof(open.v));
    std::memcpy(open.k_scale, base.k_scale, sizeof(open.k_scale));
    std::memcpy(open.v_scale, base.v_scale, sizeof(open.v_scale));
    uint32_t visible = sight.open | 1u << lane;
    for (int i = 0; i < n_path; ++i) {
      AddNode(s, query.path[i], kv, lane - n_path + i, &open);
      visible |= 1u << (lane - n_path + i);
    }
    AddNode(s, node, kv, lane, &open);
    tiles[sight.n_tiles] = {open.k, open.v, open.k_scale, open.v_scale, visible};
    const int first = kv * group * kHeadDim;
    Titans().attend(node + at.q + first, node + at.q_rotated + first, group,
                    layer.persistent_k + kv * kHeadDim, layer.persistent_v + kv * kHeadDim,
                    s.kv_width(), s.persistent_slots, tiles, sight.n_tiles + 1, out + first);
  }
}

void WriteMatrix(const TitansShape& s, const float* node, int head, float* state) {
  const NodeLayout at(s);
  const int kv = head / (s.n_heads / s.kv_heads) * kHeadDim;
  GatedDelta().write(state, node + at.k + kv, node + at.v + kv, node[at.log_keep + head]);
}

void AttendDecay(const TitansShape& s, const TitansQuery& query, int first, int count,
                 const float* node, float* out) {
  const NodeLayout at(s);
  float state[kHeadState], unused[kHeadDim];
  for (int h = first; h < first + count; ++h) {
    std::memcpy(state, query.ring + kTitansHeader + h * kHeadState, sizeof(state));
    for (int i = 0; i < query.n_path; ++i) WriteMatrix(s, query.path[i], h, state);
    WriteMatrix(s, node, h, state);
    const float* q = node + at.q + h * kHeadDim;
    GatedDelta().read(state, q, q, q, 0.0f, 0.0f, out + h * kHeadDim, unused);
  }
}

}  // namespace

int64_t TitansMemoryFloats(const TitansShape& shape) {
  return TitansTokensAt(shape, shape.n_heads);
}

int64_t TitansRingFloats(const TitansShape& shape) {
  if (shape.decay_linear) return kTitansHeader + int64_t{shape.n_heads} * kHeadState;
  return kTitansHeader + shape.width() + TitansBank::Floats(shape, kTitansBlocks) +
         TitansBank::Floats(shape, shape.window_len);
}

int64_t TitansStateFloats(const TitansShape& shape) {
  return TitansMemoryFloats(shape) + TitansRingFloats(shape);
}

const char* TitansMemoryProblem(int64_t position, const float* memory) {
  const auto header = ReadHeader<TitansMemoryHeader>(memory);
  if (header.started < 0 || header.started > 1) return "memory is neither fresh nor started";
  if (header.pending < 0 || header.pending > kTitansChunk)
    return "write chunk holds too many tokens";
  if (header.position != (header.started == 0 ? 0 : position))
    return "memory is at another position";
  return nullptr;
}

const char* TitansRingProblem(int64_t position, const float* ring) {
  const auto header = ReadHeader<TitansRingHeader>(ring);
  if (header.started < 0 || header.started > 1) return "ring is neither fresh nor started";
  if (header.block_count < 0 || header.block_count > kTitansChunk) {
    return "block holds too many tokens";
  }
  if (header.block < 0 || header.block > position / kTitansChunk) return "block lies ahead";
  return nullptr;
}

int64_t TitansPosition(const float* memory) {
  return ReadHeader<TitansMemoryHeader>(memory).position;
}

TitansSurprise TitansSurpriseOf(const float* memory) {
  const auto header = ReadHeader<TitansMemoryHeader>(memory);
  return {header.surprise, header.mean, header.variance, header.fired != 0};
}

void TitansBegin(const TitansLayer& layer, TitansUse use, int64_t position, float* memory,
                 float* ring) {
  const TitansShape& s = layer.shape;
  CHIMERA_DCHECK(s.n_heads % s.kv_heads == 0 && s.n_heads <= kTitansHeadsMax &&
                 s.persistent_slots <= kTitansSlotsMax && s.window_len % kTitansChunk == 0 &&
                 s.window_len <= kTitansWindowMax);
  if (s.decay_linear) StartMatrices(layer, ring);
  if (use == TitansUse::kReadOnly) return;
  auto header = ReadHeader<TitansMemoryHeader>(memory);
  if (header.started == 0) {
    for (int h = 0; h < s.n_heads; ++h) {
      float* fast = memory + TitansFastAt(h);
      std::memcpy(fast, layer.w1 + h * kHeadState, kHeadState * sizeof(float));
      std::memcpy(fast + kHeadState, layer.w2 + h * kHeadState, kHeadState * sizeof(float));
    }
    header.started = 1;
  }
  WriteHeader(header, memory);
  if (!TitansWriteDue(use, position, memory)) return;
  TitansWriteHeads(s, 0, s.n_heads, memory);
  TitansWritten(memory);
}

bool TitansWriteDue(TitansUse use, int64_t position, const float* memory) {
  if (use == TitansUse::kReadOnly) return false;
  const auto header = ReadHeader<TitansMemoryHeader>(memory);
  return header.pending > 0 && position / kTitansChunk != (header.position - 1) / kTitansChunk;
}

void TitansWriteHeads(const TitansShape& shape, int first, int count, float* memory) {
  const auto header = ReadHeader<TitansMemoryHeader>(memory);
  for (int h = first; h < first + count; ++h) {
    Titans().write(memory + TitansTokensAt(shape, h), header.pending, shape.momentum_guard,
                   memory + TitansFastAt(h));
  }
}

void TitansWritten(float* memory) {
  auto header = ReadHeader<TitansMemoryHeader>(memory);
  header.pending = 0;
  WriteHeader(header, memory);
}

bool TitansBlockDue(const TitansShape& shape, int64_t position, const float* ring, float* mean) {
  if (shape.decay_linear) return false;
  const auto header = ReadHeader<TitansRingHeader>(ring);
  if (header.block_count == 0 || header.block == position / kTitansChunk) return false;
  const float part = 1.0f / static_cast<float>(header.block_count);
  for (int i = 0; i < shape.width(); ++i) mean[i] = ring[kTitansHeader + i] * part;
  return true;
}

void TitansPutBlock(const TitansShape& shape, const float* k, const float* v, float* ring) {
  auto header = ReadHeader<TitansRingHeader>(ring);
  int8_t k_codes[kTitansHeadsMax * kHeadDim], v_codes[kTitansHeadsMax * kHeadDim];
  float k_scale[kTitansHeadsMax], v_scale[kTitansHeadsMax];
  const int64_t last = int64_t{header.block} * kTitansChunk + kTitansChunk - 1;
  QuantizeKv(shape, last, k, v, k_codes, k_scale, v_codes, v_scale);
  TitansBlockBank(shape, ring).Put(header.block, k_codes, k_scale, v_codes, v_scale);
  std::memset(ring + kTitansHeader, 0, static_cast<size_t>(shape.width()) * sizeof(float));
  header.block_count = 0;
  WriteHeader(header, ring);
}

int64_t TitansNodeFloats(const TitansShape& shape) { return NodeLayout(shape).floats; }

void TitansPrepare(const TitansLayer& layer, int64_t position, const float* in, const float* gates,
                   float* node) {
  const TitansShape& s = layer.shape;
  const NodeLayout at(s);
  const int width = s.width();
  const float *q = in, *km = q + width, *vm = km + width, *k = vm + 2 * width;
  const float* v = k + s.kv_width();
  Titans().gates(gates, layer.gate_bias, 1, s.n_heads, node + at.gates, node + at.log_keep);
  GatedDelta().l2norm(km, s.n_heads, node + at.km, nullptr);
  std::memcpy(node + at.vm, vm, static_cast<size_t>(width) * sizeof(float));
  node[at.squares] = kNotGauged;
  if (s.decay_linear) {
    GatedDelta().l2norm(q, s.n_heads, node + at.q, nullptr);
    GatedDelta().l2norm(k, s.kv_heads, node + at.k, nullptr);
    std::memcpy(node + at.v, v, static_cast<size_t>(s.kv_width()) * sizeof(float));
    return;
  }
  float cos[kRopePairs], sin[kRopePairs];
  Rope().angles(position, cos, sin);
  std::memcpy(node + at.q, q, static_cast<size_t>(width) * sizeof(float));
  Rope().rotate(q, s.n_heads, cos, sin, node + at.q_rotated);
  QuantizeKv(s, position, k, v, CodesAt(node, at.k), node + at.k_scale, CodesAt(node, at.v),
             node + at.v_scale);
}

void TitansAttend(const TitansLayer& layer, const TitansQuery& query, int first, int count,
                  float* node, float* y) {
  const TitansShape& s = layer.shape;
  const NodeLayout at(s);
  CHIMERA_DCHECK(query.n_path <= query.position % kTitansChunk);
  const int group = s.n_heads / s.kv_heads, head = first * group, heads = count * group;
  const float* qm = query.in + 3 * s.width();
  float unit[kHeadDim];
  for (int h = head; h < head + heads; ++h) {
    GatedDelta().l2norm(qm + h * kHeadDim, 1, unit, nullptr);
    Titans().retrieve(query.memory + TitansFastAt(h), unit, node + at.r + h * kHeadDim);
    if (query.gauge) node[at.squares + h] = SquaredGradient(at, h, query.memory, node);
  }
  if (s.decay_linear) {
    AttendDecay(s, query, head, heads, node, y);
  } else {
    AttendWindow(layer, query, first, count, node, y);
  }
  float* own = y + head * kHeadDim;
  Titans().head_gate(own, node + at.r + head * kHeadDim, layer.head_norm, heads, own, nullptr);
}

void TitansCommit(const TitansLayer& layer, TitansUse use, int64_t position, const float* node,
                  float* memory, float* ring) {
  const TitansShape& s = layer.shape;
  const NodeLayout at(s);
  if (use != TitansUse::kReadOnly) {
    auto header = ReadHeader<TitansMemoryHeader>(memory);
    CHIMERA_DCHECK(header.position == position && header.pending < kTitansChunk);
    UpdateSurprise(s, at, node, memory, &header);
    if (use == TitansUse::kWrite) PushWrite(s, at, node, header.pending++, memory);
    header.position = position + 1;
    WriteHeader(header, memory);
  }
  if (s.decay_linear) {
    for (int h = 0; h < s.n_heads; ++h)
      WriteMatrix(s, node, h, ring + kTitansHeader + h * kHeadState);
    return;
  }
  TitansTokenBank(s, ring).Put(position, CodesAt(node, at.k), node + at.k_scale,
                               CodesAt(node, at.v), node + at.v_scale);
  auto header = ReadHeader<TitansRingHeader>(ring);
  const auto block = static_cast<int32_t>(position / kTitansChunk);
  CHIMERA_DCHECK(header.block_count == 0 || header.block == block);
  header.block = block;
  ++header.block_count;
  for (int i = 0; i < s.width(); ++i) {
    ring[kTitansHeader + i] = ring[kTitansHeader + i] + node[at.r + i];
  }
  WriteHeader(header, ring);
}

}  // namespace chimera
