// exp and log in double from plain operations: the same bits on every machine, which the C library
// does not promise (DESIGN D2). Relative error below 1e-15. Static, so that a copy compiled for one
// instruction set is never linked into code for another. Pure.
#pragma once

#include <bit>
#include <cstdint>

namespace chimera {

// exp(x) for x <= 709; 0 below -708.
[[maybe_unused]] static inline double ExactExp(double x) {
  constexpr double kLog2E = 1.4426950408889634;
  constexpr double kLn2Hi = 6.93147180369123816490e-01;  // 32 bits, so n * kLn2Hi is exact
  constexpr double kLn2Lo = 1.90821492927058770002e-10;
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const double clamped = x < -708.0 ? -708.0 : x;
  const double shifted = clamped * kLog2E + kRound;
  const double n = shifted - kRound;
  const double r = (clamped - n * kLn2Hi) - n * kLn2Lo;
  double p = 1.0 / 6227020800.0;  // Taylor to degree 13; |r| <= ln2 / 2
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  // The low bits of shifted hold n as a two's complement integer.
  const uint64_t scale = (std::bit_cast<uint64_t>(shifted) + 1023) << 52;
  const double y = p * std::bit_cast<double>(scale);
  return x < -708.0 ? 0.0 : y;
}

// log(x) for finite, normal x > 0.
[[maybe_unused]] static inline double ExactLog(double x) {
  constexpr double kLn2Hi = 6.93147180369123816490e-01;
  constexpr double kLn2Lo = 1.90821492927058770002e-10;
  constexpr double kSqrt2 = 1.4142135623730951;
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int64_t e = static_cast<int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u);
  if (m > kSqrt2) {
    m *= 0.5;
    e += 1;
  }
  const double s = (m - 1.0) / (m + 1.0);  // log m = 2 atanh s, |s| < 0.172
  const double z = s * s;
  double p = 1.0 / 21.0;
  for (int k = 19; k >= 1; k -= 2) p = p * z + 1.0 / k;
  const double n = static_cast<double>(e);
  return n * kLn2Hi + (2.0 * s * p + n * kLn2Lo);
}

}  // namespace chimera
