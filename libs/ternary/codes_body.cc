// Products of unpacked codes with a few tokens, in the one float order of ternary.h. Compiled once
// per instruction set.
#include "ternary/code_dots.h"
#include "ternary/half.h"

namespace chimera {
namespace CHIMERA_ISA {
namespace {

// A function of its own for every shape, whose registers its callers do not share.
template <typename Codes, int R, int T>
__attribute__((noinline)) void Product(const CodeChunk& chunk, const TokenGroup& in, float* total) {
  const uint8_t* codes = chunk.codes;
  const int8_t* q = in.q;
  const uint16_t* scales = chunk.scales;
  F16 part[R * T];
  __asm__("" : "=m"(part));  // sums of the first block of a group, in memory
  for (int b = 0; b < chunk.blocks; ++b, codes += Codes::kBlockBytes, q += kActBlock) {
    const TokenScales& at = in.scales[b];
    if constexpr (Codes::kFromMemory) {
#pragma GCC unroll 8
      for (int line = 0; line < R * Codes::kBlockBytes; line += 64) {
        Prefetch(codes + line / Codes::kBlockBytes * chunk.tile_bytes + line % Codes::kBlockBytes);
      }
    }
    I16 dots[R * T];
    CodeDots<Codes, R, T>(codes, chunk.tile_bytes, q, in.cols, at.start, dots);
    if (b % 2 == 0) {
#pragma GCC unroll 16
      for (int i = 0; i < R * T; ++i) part[i] = at.s[i % T] * ToFloats(dots[i]);
      if (b + 1 < chunk.blocks) continue;
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < R * T; ++i) {
        part[i] = part[i] + at.s[i % T] * ToFloats(dots[i]);
      }
    }
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      const F16 mu = LoadHalf(scales + r * chunk.tile_scales);
      float* sum = total + r * kTokens * kRowTile;
#pragma GCC unroll 8
      for (int i = 0; i < T; ++i, sum += kRowTile) {
        const F16 scaled = mu * part[r * T + i];
        Store(sum, chunk.fresh && b < 2 ? scaled : Load(sum) + scaled);
      }
    }
    scales += kRowTile;
  }
}

template <typename Codes, int R>
void ProductOf(const CodeChunk& chunk, const TokenGroup& in, float* total) {
  switch (in.n) {
    case 1:
      return Product<Codes, R, 1>(chunk, in, total);
    case 2:
      return Product<Codes, R, 2>(chunk, in, total);
    case 3:
      return Product<Codes, R, 3>(chunk, in, total);
    case 4:
      return Product<Codes, R, 4>(chunk, in, total);
    case 5:
      return Product<Codes, R, 5>(chunk, in, total);
    case 6:
      return Product<Codes, R, 6>(chunk, in, total);
    case 7:
      return Product<Codes, R, 7>(chunk, in, total);
    default:
      return Product<Codes, R, 8>(chunk, in, total);
  }
}

#if defined(CHIMERA_DOT_ZMM)

constexpr int kMostRowTiles = 2, kMostTwoBitTokens = 2 * kTokens;

void ProductOf(const CodeChunk& chunk, const TokenGroup& in, float* total) {
  if (chunk.two_bit && chunk.row_tiles == 2) return ProductOf<FromTwoBits, 2>(chunk, in, total);
  if (chunk.two_bit) return ProductOf<FromTwoBits, 1>(chunk, in, total);
  if (chunk.row_tiles == 2) return ProductOf<FromBytes, 2>(chunk, in, total);
  ProductOf<FromBytes, 1>(chunk, in, total);
}

#else

constexpr int kMostRowTiles = 1, kMostTwoBitTokens = 0;

void ProductOf(const CodeChunk& chunk, const TokenGroup& in, float* total) {
  ProductOf<FromBytes, 1>(chunk, in, total);
}

#endif

}  // namespace

extern const CodeKernels kCodeKernels;
const CodeKernels kCodeKernels = {kMostRowTiles, kMostTwoBitTokens, ProductOf};

}  // namespace CHIMERA_ISA
}  // namespace chimera
