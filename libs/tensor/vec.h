// Sixteen virtual float lanes, the unit of every float kernel (DESIGN D2, docs/numerics.md).
// The same source runs as one zmm, two ymm, four xmm or plain scalars and gives the same bits:
// only +, -, *, /, Fma where it is written, and integer operations; reductions fold in one order.
// Everything here has internal linkage on purpose: kernels are compiled once per instruction set.
// Free of Abseil.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__FMA__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_FMA)
#include <arm_neon.h>
#endif

namespace chimera {

#define CHIMERA_VEC static inline __attribute__((always_inline, unused))

typedef float F16 __attribute__((vector_size(64)));
typedef int32_t I16 __attribute__((vector_size(64)));

CHIMERA_VEC F16 Load(const float* p) {
  F16 v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
CHIMERA_VEC void Store(float* p, F16 v) { std::memcpy(p, &v, sizeof(v)); }
CHIMERA_VEC F16 Splat(float x) { return x - F16{}; }  // x - 0 is x, bit for bit; x + 0 is not
// The first n lanes, 0 <= n <= 16; the others are zero.
CHIMERA_VEC F16 LoadN(const float* p, int n) {
  F16 v = {};
  std::memcpy(&v, p, sizeof(float) * static_cast<unsigned>(n));
  return v;
}
CHIMERA_VEC void StoreN(float* p, F16 v, int n) {
  std::memcpy(p, &v, sizeof(float) * static_cast<unsigned>(n));
}

// GCC takes a choice or a conversion of vectors wider than a register apart into single lanes;
// register by register it does not. Each picks or converts every lane on its own.
namespace {

#if defined(__AVX512F__)
constexpr int kRegisters = 1;
#elif defined(__AVX2__)
constexpr int kRegisters = 2;
#else
constexpr int kRegisters = 4;
#endif
typedef float FloatRegister __attribute__((vector_size(64 / kRegisters)));
typedef int32_t IntRegister __attribute__((vector_size(64 / kRegisters)));
struct FloatRegisters {
  FloatRegister at[kRegisters];
};
struct IntRegisters {
  IntRegister at[kRegisters];
};

}  // namespace

CHIMERA_VEC FloatRegisters Split(F16 v) {
  FloatRegisters split;
  std::memcpy(&split, &v, sizeof(v));
  return split;
}
CHIMERA_VEC IntRegisters Split(I16 v) {
  IntRegisters split;
  std::memcpy(&split, &v, sizeof(v));
  return split;
}
CHIMERA_VEC F16 Join(FloatRegisters split) {
  F16 v;
  std::memcpy(&v, &split, sizeof(v));
  return v;
}
CHIMERA_VEC I16 Join(IntRegisters split) {
  I16 v;
  std::memcpy(&v, &split, sizeof(v));
  return v;
}

// All bits of a lane where a < b, or a >= b; none elsewhere and for NaN.
CHIMERA_VEC I16 Less(F16 a, F16 b) {
  const FloatRegisters x = Split(a), y = Split(b);
  IntRegisters mask;
#pragma GCC unroll 4
  for (int i = 0; i < kRegisters; ++i) mask.at[i] = x.at[i] < y.at[i];
  return Join(mask);
}
CHIMERA_VEC I16 AtLeast(F16 a, F16 b) {
  const FloatRegisters x = Split(a), y = Split(b);
  IntRegisters mask;
#pragma GCC unroll 4
  for (int i = 0; i < kRegisters; ++i) mask.at[i] = x.at[i] >= y.at[i];
  return Join(mask);
}
CHIMERA_VEC F16 Select(I16 mask, F16 a, F16 b) {
  const IntRegisters m = Split(mask);
  FloatRegisters x = Split(a), y = Split(b);
#pragma GCC unroll 4
  for (int i = 0; i < kRegisters; ++i) x.at[i] = m.at[i] ? x.at[i] : y.at[i];
  return Join(x);
}
CHIMERA_VEC F16 Max(F16 a, F16 b) {
  FloatRegisters x = Split(a), y = Split(b);
#pragma GCC unroll 4
  for (int i = 0; i < kRegisters; ++i) x.at[i] = x.at[i] > y.at[i] ? x.at[i] : y.at[i];
  return Join(x);
}
CHIMERA_VEC F16 Min(F16 a, F16 b) {
  FloatRegisters x = Split(a), y = Split(b);
#pragma GCC unroll 4
  for (int i = 0; i < kRegisters; ++i) x.at[i] = x.at[i] < y.at[i] ? x.at[i] : y.at[i];
  return Join(x);
}
// Towards zero; lanes must fit an int32.
CHIMERA_VEC I16 ToInts(F16 v) {
  const FloatRegisters x = Split(v);
  IntRegisters n;
#pragma GCC unroll 4
  for (int i = 0; i < kRegisters; ++i) n.at[i] = __builtin_convertvector(x.at[i], IntRegister);
  return Join(n);
}
CHIMERA_VEC F16 ToFloats(I16 v) {
  const IntRegisters n = Split(v);
  FloatRegisters x;
#pragma GCC unroll 4
  for (int i = 0; i < kRegisters; ++i) x.at[i] = __builtin_convertvector(n.at[i], FloatRegister);
  return Join(x);
}
CHIMERA_VEC F16 Abs(F16 a) { return (F16)((I16)a & 0x7fffffff); }

// a * b + c, rounded once: IEEE 754's fusedMultiplyAdd, on every instruction set.
#if defined(__AVX512F__)
CHIMERA_VEC F16 Fma(F16 a, F16 b, F16 c) {
  return (F16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
#else
#if defined(__AVX2__) && defined(__FMA__)
CHIMERA_VEC FloatRegister Fma(FloatRegister a, FloatRegister b, FloatRegister c) {
  return (FloatRegister)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
#elif defined(__ARM_FEATURE_FMA)
CHIMERA_VEC FloatRegister Fma(FloatRegister a, FloatRegister b, FloatRegister c) {
  return (FloatRegister)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#else
// In double the product is exact, and the sum is rounded to odd: towards zero, with its last bit
// set where that left something out. Rounded again, to fewer bits, it is what rounding once gives
// (Boldo and Melquiond 2008). What the addition left out is exact (Knuth's two-sum).
CHIMERA_VEC FloatRegister Fma(FloatRegister a, FloatRegister b, FloatRegister c) {
  typedef double Doubles __attribute__((vector_size(2 * sizeof(FloatRegister))));
  typedef uint64_t Words __attribute__((vector_size(2 * sizeof(FloatRegister))));
  const Doubles product = __builtin_convertvector(a, Doubles) * __builtin_convertvector(b, Doubles);
  const Doubles addend = __builtin_convertvector(c, Doubles);
  const Doubles sum = product + addend, part = sum - product;
  const Doubles rest = (product - (sum - part)) + (addend - part);
  const Words inexact = (Words)((rest < 0.0) | (rest > 0.0)) & 1;
  const Words away = ((Words)rest ^ (Words)sum) >> 63 & inexact;  // from zero
  return __builtin_convertvector((Doubles)(((Words)sum - away) | inexact), FloatRegister);
}
#endif
CHIMERA_VEC F16 Fma(F16 a, F16 b, F16 c) {
  const FloatRegisters x = Split(a), y = Split(b), z = Split(c);
  FloatRegisters sum;
#pragma GCC unroll 4
  for (int i = 0; i < kRegisters; ++i) sum.at[i] = Fma(x.at[i], y.at[i], z.at[i]);
  return Join(sum);
}
#endif
CHIMERA_VEC F16 Fma(F16 a, float b, F16 c) { return Fma(a, Splat(b), c); }
CHIMERA_VEC F16 Fma(F16 a, F16 b, float c) { return Fma(a, b, Splat(c)); }

// Lane i of sixteen with lane i + 8, then with i + 4.
template <typename Registers, typename Op>
CHIMERA_VEC auto FoldToFour(const Registers& x, const Op& op) {
  if constexpr (kRegisters == 4) {
    return op(op(x.at[0], x.at[2]), op(x.at[1], x.at[3]));
  } else if constexpr (kRegisters == 2) {
    const auto v = op(x.at[0], x.at[1]);
    return op(__builtin_shufflevector(v, v, 0, 1, 2, 3), __builtin_shufflevector(v, v, 4, 5, 6, 7));
  } else {
    const auto v = x.at[0];
    const auto w = op(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                      __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
    return op(__builtin_shufflevector(w, w, 0, 1, 2, 3), __builtin_shufflevector(w, w, 4, 5, 6, 7));
  }
}
// Then with i + 2 and i + 1.
template <typename Registers, typename Op>
CHIMERA_VEC auto Fold(const Registers& x, const Op& op) {
  const auto four = FoldToFour(x, op);
  const auto two = op(four, __builtin_shufflevector(four, four, 2, 3, 2, 3));
  return op(two[0], two[1]);
}
// The one order of every float sum.
CHIMERA_VEC float FoldAdd(F16 v) {
  return Fold(Split(v), [](auto a, auto b) { return a + b; });
}
CHIMERA_VEC float FoldMax(F16 v) {
  return Fold(Split(v), [](auto a, auto b) { return a > b ? a : b; });
}

// Sum of a[i] * b[i]: lane j takes i = j, j + 16, ... in order.
CHIMERA_VEC float Dot(const float* a, const float* b, int n) {
  F16 sum = {};
  int i = 0;
  for (; i + 16 <= n; i += 16) sum = Fma(Load(a + i), Load(b + i), sum);
  if (i < n) sum = Fma(LoadN(a + i, n - i), LoadN(b + i, n - i), sum);
  return FoldAdd(sum);
}

// e^x, relative error below 3e-7; 0 below -87.3, about 2.4e38 above 88.3.
CHIMERA_VEC F16 Exp(F16 x) {
  const F16 clamped = Min(Max(x, Splat(-87.3f)), Splat(88.3f));
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const F16 n = Fma(clamped, Splat(1.44269504088896f), magic) - magic;
  // ln 2 in two pieces
  const F16 r = Fma(n, 2.12194440e-4f, Fma(n, -0.693359375f, clamped));
  F16 p = Splat(1.0f / 5040);
  p = Fma(p, r, 1.0f / 720);
  p = Fma(p, r, 1.0f / 120);
  p = Fma(p, r, 1.0f / 24);
  p = Fma(p, r, 1.0f / 6);
  p = Fma(p, r, 0.5f);
  p = Fma(p, r, 1.0f);
  p = Fma(p, r, 1.0f);
  const I16 exponent = (ToInts(n) + 127) << 23;
  return Select(Less(x, Splat(-87.3f)), F16{}, p * (F16)exponent);
}

// 2 atanh(z) for |z| <= 1/3, by its series.
CHIMERA_VEC F16 TwoAtanh(F16 z) {
  const F16 z2 = z * z;
  F16 p = Splat(1.0f / 15);
  p = Fma(p, z2, 1.0f / 13);
  p = Fma(p, z2, 1.0f / 11);
  p = Fma(p, z2, 1.0f / 9);
  p = Fma(p, z2, 1.0f / 7);
  p = Fma(p, z2, 1.0f / 5);
  p = Fma(p, z2, 1.0f / 3);
  p = Fma(p, z2, 1.0f);
  return (z + z) * p;
}

// Natural logarithm of a positive, normal x.
CHIMERA_VEC F16 Log(F16 x) {
  I16 bits = (I16)x;
  // Mantissa into [sqrt(1/2), sqrt(2)): subtract the bits of sqrt(1/2), keep its exponent.
  const I16 exponent = (bits - 0x3f3504f3) >> 23;
  const F16 m = (F16)(bits - (exponent << 23));
  const F16 e = ToFloats(exponent);
  const F16 log = Fma(e, -2.12194440e-4f, TwoAtanh((m - 1.0f) / (m + 1.0f)));
  return Fma(e, 0.693359375f, log);
}

// ln(1 + u) for 0 <= u <= 1.
CHIMERA_VEC F16 Log1p01(F16 u) { return TwoAtanh(u / (u + 2.0f)); }

CHIMERA_VEC F16 Sigmoid(F16 x) {
  const F16 e = Exp(-Abs(x));
  return Select(AtLeast(x, F16{}), Splat(1.0f), e) / (e + 1.0f);
}
CHIMERA_VEC F16 Silu(F16 x) { return x * Sigmoid(x); }
// ln(1 + e^x)
CHIMERA_VEC F16 Softplus(F16 x) { return Max(x, F16{}) + Log1p01(Exp(-Abs(x))); }
CHIMERA_VEC F16 LogSigmoid(F16 x) { return -Softplus(-x); }

CHIMERA_VEC F16 Tanh(F16 x) {
  const F16 a = Abs(x);
  const F16 e = Exp(a * -2.0f);
  const F16 far = (Splat(1.0f) - e) / (e + 1.0f);
  // Near zero the difference above cancels: x - x^3/3 + ... up to x^11.
  const F16 a2 = a * a;
  F16 p = Splat(-1382.0f / 155925);
  p = Fma(p, a2, 62.0f / 2835);
  p = Fma(p, a2, -17.0f / 315);
  p = Fma(p, a2, 2.0f / 15);
  p = Fma(p, a2, -1.0f / 3);
  p = Fma(p, a2, 1.0f);
  const F16 t = Select(Less(a, Splat(0.25f)), a * p, far);
  return Select(Less(x, F16{}), -t, t);
}

// One value at a time, the same bits as a lane.
CHIMERA_VEC float Exp1(float x) { return Exp(Splat(x))[0]; }
CHIMERA_VEC float Log1(float x) { return Log(Splat(x))[0]; }
CHIMERA_VEC float Sigmoid1(float x) { return Sigmoid(Splat(x))[0]; }
CHIMERA_VEC float Softplus1(float x) { return Softplus(Splat(x))[0]; }
CHIMERA_VEC float Tanh1(float x) { return Tanh(Splat(x))[0]; }

// Correctly rounded square root.
CHIMERA_VEC float Sqrt1(float x) { return __builtin_sqrtf(x); }

}  // namespace chimera
