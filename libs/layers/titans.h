// Titans memory as context (arXiv 2501.00663; math-backbone section 3), serving side. Each head
// owns a small network M(k) = W2 SiLU(W1 k), 64 - 64 - 64, that keeps learning while the text is
// read:
//   every 16 tokens   S = eta S - theta grad,  W = (1 - alpha) W + S,  grad of |M(k) - v|^2 / 2
//                     at the weights the 16 tokens began with, under a stability guard (3.3)
//   every token       r = M(qm);  attention of q over learned slots, block tokens (the mean of r
//   over
//                     a finished block of 16 tokens, projected like every token) and the last
//                     window_len tokens;  y = attention * 2 sigmoid(RMSNorm(r) * head_norm)
// With decay_linear the attention is S = (1 - alpha) S + k v^T, o = 64^-1/2 S^T q instead (k and q
// normalised), with the learned slots as its first S; block tokens do not exist then.
//
// Choices where the text leaves room: learned slots are met by q before rotation ("no RoPE" on both
// sides); a block token is rotated to the last position of its block; keys are rotated, then kept
// as int8 with one scale a token and kv head; block tokens likewise. d_model is 64 n_heads, because
// the projection of k and v is applied to a mean of r.
//
// A stream's state is two slabs of floats. Zeros are a fresh stream. `memory` holds the fast
// weights, momentum, the tokens of the unfinished write chunk and the surprise; `ring` the keys and
// values. In a loop, iteration 1 owns both, every later iteration owns a ring and reads iteration
// 1's memory. Writes are applied when the first token after the chunk begins (TitansBegin), not
// when its last one ends, so that every iteration of a token sees the same memory. For the same
// reason a window of tokens given to one iteration before the next must not cross a position
// divisible by 16.
//
// Activations of a token: in = [q | km | vm | qm (64 n_heads each) | k | v (64 kv_heads each)],
// gates = [theta | eta | alpha] (n_heads each, before bias and squashing). Nothing allocates; 96
// KiB of stack at most. Thread-compatible: one call per slab at a time.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "layers/head.h"

namespace chimera {

inline constexpr int kTitansChunk = 16;        // tokens of a write, and of a block
inline constexpr int kTitansBlocks = 64;       // block tokens a stream keeps
inline constexpr int kTitansSlotsMax = 64;     // learned slots
inline constexpr int kTitansWindowMax = 1024;  // tokens of the ring
inline constexpr int kTitansHeadsMax = 128;
inline constexpr float kTitansAlphaMax = 0.1f;
// One head: W1 [in][hidden], W2 [hidden][out], then the momentum of both. Input-major, like the
// states of the other layers.
inline constexpr int kTitansWeights = 2 * kHeadState;
inline constexpr int kTitansFast = 2 * kTitansWeights;
// Tokens of one write: k [16][64], v [16][64], theta [16], eta [16], alpha [16].
inline constexpr int kTitansTheta = 2 * kTitansChunk * kHeadDim;
inline constexpr int kTitansTokens = kTitansTheta + 3 * kTitansChunk;

// n_heads a multiple of kv_heads; window_len a multiple of 16.
struct TitansShape {
  int n_heads = 0;
  int kv_heads = 0;
  int persistent_slots = kTitansSlotsMax;
  int window_len = kTitansWindowMax;
  bool decay_linear = false;
  // The guard of 3.3 counts theta max(1, 1 / (2 - 2 eta)) in place of theta: through the momentum a
  // gradient moves the weights by theta / (1 - eta) in all, and a step is stable up to twice what
  // the guard allows. The text counts theta alone, which diverges at theta = 1 from eta = 0.8 on
  // (docs/layers/titans.md has the figures).
  bool momentum_guard = true;

  int width() const { return n_heads * kHeadDim; }
  int kv_width() const { return kv_heads * kHeadDim; }
  int in_width() const { return 4 * width() + 2 * kv_width(); }
};

// Borrowed; immutable.
struct TitansLayer {
  TitansShape shape;
  const float* gate_bias = nullptr;     // [3 * n_heads], begins at -2, +1, -4
  const float* w1 = nullptr;            // [n_heads * 64][64]: row = input dimension of its head
  const float* w2 = nullptr;            // [n_heads * 64][64]: row = hidden dimension of its head
  const float* persistent_k = nullptr;  // [persistent_slots][64 * kv_heads]
  const float* persistent_v = nullptr;
  const float* head_norm = nullptr;  // [64], shared by the heads
};

int64_t TitansMemoryFloats(const TitansShape& shape);
int64_t TitansRingFloats(const TitansShape& shape);
// Both, memory first: the state of a layer outside loops and of iteration 1.
int64_t TitansStateFloats(const TitansShape& shape);

// What is wrong with slabs that came from outside at this position, null when they may be used: the
// counters in them are indices. ring: of any iteration.
const char* TitansMemoryProblem(int64_t position, const float* memory);
const char* TitansRingProblem(int64_t position, const float* ring);

enum class TitansUse {
  kWrite,     // the memory learns
  kFrozen,    // the memory keeps its first weights; still owned and counted
  kReadOnly,  // a later iteration: the memory belongs to iteration 1 and is not touched
};

// Tokens the memory has counted: the position of the next one.
int64_t TitansPosition(const float* memory);

// |gradient| of the last committed token over all heads, before the guard (3.2), and its running
// mean and variance (decay 0.99). fired: it exceeded mean + 2 sigma as they stood before it, after
// the first 16 tokens.
struct TitansSurprise {
  float last = 0, mean = 0, variance = 0;
  bool fired = false;
};
TitansSurprise TitansSurpriseOf(const float* memory);

// The verbs of one token at `position` (tokens of the document before it), in this order. A token
// that an iteration does not run calls nothing: its ring simply lacks that token.
//
// 1. Before the first token of a window: gives a fresh stream its learned weights and applies the
//    write of a finished chunk. May be repeated.
void TitansBegin(const TitansLayer& layer, TitansUse use, int64_t position, float* memory,
                 float* ring);
//    Its write in parts, for threads: when one is due, every head once, then Written, then Begin.
bool TitansWriteDue(TitansUse use, int64_t position, const float* memory);
void TitansWriteHeads(const TitansShape& shape, int first, int count, float* memory);
void TitansWritten(float* memory);
// 2. True when a block ended before position and is not yet a block token: mean [width] receives
// its
//    r. The caller applies RMSNorm with block_norm and rows k | v of the input projection ...
bool TitansBlockDue(const TitansShape& shape, int64_t position, const float* ring, float* mean);
// ... and hands the result back: k, v [kv_width].
void TitansPutBlock(const TitansShape& shape, const float* k, const float* v, float* ring);
// 3. What the token brings along, for attention, descendants and commit. Touches no state.
int64_t TitansNodeFloats(const TitansShape& shape);
void TitansPrepare(const TitansLayer& layer, int64_t position, const float* in, const float* gates,
                   float* node);
// 4. What the heads of the key-value groups [first, first + count) of a prepared node read from the
//    memory, into the node, and y [width] of these heads. Touches no state; threads may share out
//    the groups. The n_path ancestors of the node, the first one at base = position - n_path, are
//    prepared and not committed: path[i] is the ancestor at base + i. base and position lie in one
//    block of 16 (a verify window never crosses one, DESIGN D20); n_path = 0 is the plain step.
struct TitansQuery {
  int64_t position = 0;
  const float* in = nullptr;  // as for TitansPrepare
  const float* memory = nullptr;
  const float* ring = nullptr;
  const float* const* path = nullptr;
  int n_path = 0;
  // Leaves in the node the squared gradients that TitansCommit would else compute for its surprise:
  // of all groups or of none. Not for kReadOnly.
  bool gauge = false;
};
void TitansAttend(const TitansLayer& layer, const TitansQuery& query, int first, int count,
                  float* node, float* y);
// 5. Makes the node part of the stream. kReadOnly: memory may be null.
void TitansCommit(const TitansLayer& layer, TitansUse use, int64_t position, const float* node,
                  float* memory, float* ring);

// One token of one stream. project_kv(const float* mean, float* k, float* v) is the caller's
// projection of a block mean; block [3 * width] and node [TitansNodeFloats] are scratch.
// A token tree calls steps 1 and 2 once, 3 and 4 for every node and 5 along the accepted path:
// the same bits as these steps one by one.
template <typename ProjectKv>
void TitansStep(const TitansLayer& layer, TitansUse use, int64_t position, const float* in,
                const float* gates, ProjectKv&& project_kv, float* block, float* node,
                float* memory, float* ring, float* y) {
  TitansBegin(layer, use, position, memory, ring);
  if (TitansBlockDue(layer.shape, position, ring, block)) {
    float* k = block + layer.shape.width();
    float* v = k + layer.shape.width();
    project_kv(static_cast<const float*>(block), k, v);
    TitansPutBlock(layer.shape, k, v, ring);
  }
  TitansPrepare(layer, position, in, gates, node);
  TitansAttend(layer, {.position = position, .in = in, .memory = memory, .ring = ring}, 0,
               layer.shape.kv_heads, node, y);
  TitansCommit(layer, use, position, node, memory, ring);
}

// Sixteen keys and values of one kv head as they lie in a ring: k [64][16], v [16][64].
struct TitansTile {
  const int8_t* k;
  const int8_t* v;
  const float* k_scale;  // [16]
  const float* v_scale;
  uint32_t visible;  // bit i: token i takes part
};

// The arithmetic below the verbs, the same bits on every instruction set.
struct TitansKernels {
  // pre, gates [n_tokens][3 * n_heads]: theta = sigmoid(pre + bias), eta likewise, alpha a tenth of
  // it. log_keep [n_tokens][n_heads] = log(1 - alpha), may be null. gates may be pre.
  void (*gates)(const float* pre, const float* bias, int64_t n_tokens, int n_heads, float* gates,
                float* log_keep);
  // r [64] = M(q) with the weights of one head [kTitansFast].
  void (*retrieve)(const float* fast, const float* q, float* r);
  // The squared norm of the gradient of one token of one head.
  float (*surprise)(const float* fast, const float* k, const float* v);
  // The write of n <= 16 tokens [kTitansTokens] into one head (3.3, guarded).
  void (*write)(const float* tokens, int n, bool momentum_guard, float* fast);
  // The heads of one kv head: q, q_rotated, o [heads][64]. q meets the learned slots (rows of 64 at
  // `stride`), q_rotated the tiles; at least one key is seen.
  void (*attend)(const float* q, const float* q_rotated, int heads, const float* slot_k,
                 const float* slot_v, int64_t stride, int slots, const TitansTile* tiles,
                 int n_tiles, float* o);
  // Rows of 64: y = o * 2 sigmoid(r * inv * gain), inv = 1 / sqrt(mean(r^2) + 1e-6). inv [rows] may
  // be null; y may be o.
  void (*head_gate)(const float* o, const float* r, const float* gain, int64_t rows, float* y,
                    float* inv);
};

const TitansKernels& TitansFor(Isa isa);
const TitansKernels& Titans();

}  // namespace chimera
