// Products of unpacked codes with a few tokens, in the one float order of ternary.h. Compiled once
// per instruction set.
#include <climits>
#include <cstddef>

#include "ternary/code_dots.h"
#include "ternary/half.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

// Three row tiles and four tokens are the shape that leaves registers to the sums of both blocks of
// a group, and enough sums to hide the latency of the products.
template <int R>
constexpr int kTokensAtOnce = R > 2 ? 4 : kTokens;
#if defined(CHIMERA_DOT_ZMM)
template <int R, int T>
constexpr bool kFitsRegisters = (R * T) <= 12;
#else
template <int R, int T>
constexpr bool kFitsRegisters = false;
#endif

static_assert(offsetof(TokenScales, start) == kTokens * sizeof(float));

// What a product goes on by, in as few registers as can be: compilers keep the rest of them in
// vector registers, whose ports the products need.
struct Cursor {
  const uint8_t* codes;
  const int8_t* q;
  const float* s;  // of the first token, TokenScales::start[0] kTokens behind it
};

// part[r * T + i] = s * sum of code * q over the block at `at`; that is added to it when kAdd.
// Lines of two-bit codes `ahead` bytes further on are asked for; none with 0.
template <typename Codes, int R, int T, bool kAdd>
CHIMERA_VEC void ScaledDots(const Cursor& at, int64_t tile_bytes, int64_t cols, int64_t ahead,
                            F16* part) {
  if (Codes::kFromMemory && ahead > 0) {
#pragma GCC unroll 12
    for (int line = 0; line < R * Codes::kBlockBytes; line += 64) {
      const int r = line / Codes::kBlockBytes;
      __builtin_prefetch(at.codes + r * tile_bytes + line % Codes::kBlockBytes + ahead);
    }
  }
  int32_t start[T];
  std::memcpy(start, at.s + kTokens, sizeof(start));
  I16 dots[R * T];
  CodeDots<Codes, R, T>(at.codes, tile_bytes, at.q, cols, start, dots);
#pragma GCC unroll 16
  for (int i = 0; i < R * T; ++i) {
    const F16 sum = ToFloats(dots[i]);
    part[i] = kAdd ? Fma(sum, at.s[i % T], part[i]) : at.s[i % T] * sum;
  }
}

template <typename Codes>
CHIMERA_VEC void Advance(Cursor* at) {
  at->codes += Codes::kBlockBytes;
  at->q += kActBlock;
  at->s += sizeof(TokenScales) / sizeof(float);
}

// A function of its own for every shape, whose registers its callers do not share.
template <typename Codes, int R, int T>
__attribute__((noinline)) void Product(const CodeChunk& chunk, const TokenGroup& in, int token,
                                       int64_t ahead, float* total) {
  const int64_t tile_bytes = chunk.tile_bytes, tile_scales = chunk.tile_scales, cols = in.cols;
  const uint16_t* scales = chunk.scales;
  Cursor at = {chunk.codes, in.q + token * cols, in.scales->s + token};
  total += token * kRowTile;
  for (int left = chunk.blocks; left > 0; left -= 2, scales += kRowTile) {
    F16 part[R * T];
    ScaledDots<Codes, R, T, false>(at, tile_bytes, cols, ahead, part);
    if constexpr (!kFitsRegisters<R, T>) KeepInMemory(part);
    Advance<Codes>(&at);
    if (left > 1) {
      ScaledDots<Codes, R, T, true>(at, tile_bytes, cols, ahead, part);
      Advance<Codes>(&at);
    }
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) {
      const F16 mu = LoadHalf(scales + r * tile_scales);
      float* sum = total + r * kTokens * kRowTile;
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i, sum += kRowTile) {
        Store(sum, Fma(mu, part[r * T + i], Load(sum)));
      }
    }
  }
}

// n <= T tokens from `token` on.
template <typename Codes, int R, int T = kTokensAtOnce<R>>
void ProductOfSome(const CodeChunk& chunk, const TokenGroup& in, int token, int n, int64_t ahead,
                   float* total) {
  if constexpr (T > 1) {
    if (n < T) return ProductOfSome<Codes, R, T - 1>(chunk, in, token, n, ahead, total);
  }
  Product<Codes, R, T>(chunk, in, token, ahead, total);
}

// The last pass over the codes asks for the row tiles that follow: within its own, every tile would
// begin cold.
template <typename Codes, int R>
void ProductOf(const CodeChunk& chunk, const TokenGroup& in, float* total) {
  for (int token = 0, n = 0; token < in.n; token += n) {
    const int left = in.n - token, passes = (left + kTokensAtOnce<R> - 1) / kTokensAtOnce<R>;
    n = (left + passes - 1) / passes;
    const int64_t ahead = in.last && passes == 1 ? R * chunk.tile_bytes : 0;
    ProductOfSome<Codes, R>(chunk, in, token, n, ahead, total);
  }
}

#if defined(CHIMERA_DOT_ZMM)

template <typename Codes>
void ProductOf(const CodeChunk& chunk, const TokenGroup& in, float* total) {
  if (chunk.row_tiles == 3) return ProductOf<Codes, 3>(chunk, in, total);
  if (chunk.row_tiles == 2) return ProductOf<Codes, 2>(chunk, in, total);
  ProductOf<Codes, 1>(chunk, in, total);
}

void ProductOf(const CodeChunk& chunk, const TokenGroup& in, float* total) {
  return chunk.two_bit ? ProductOf<FromTwoBits>(chunk, in, total)
                       : ProductOf<FromBytes>(chunk, in, total);
}

// Where products and unpacking share ports, two row tiles of eight tokens unpack least often, and
// bytes are worth their stores from some tokens on. Elsewhere unpacking is free.
constexpr CodeKernels kSharedPorts = {2, 3, 2, 2 * kTokens, ProductOf};
constexpr CodeKernels kPortsBeside = {2, 3, 3, INT_MAX, ProductOf};

#else

constexpr CodeKernels kSharedPorts = {1, 1, 1, 0, ProductOf<FromBytes, 1>};
constexpr CodeKernels kPortsBeside = kSharedPorts;

#endif

}  // namespace

extern const CodeKernels kCodeKernels, kCodeKernelsBeside;
const CodeKernels kCodeKernels = kSharedPorts, kCodeKernelsBeside = kPortsBeside;

}  // namespace CHIMERA_ISA
}  // namespace chimera
