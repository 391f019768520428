#include "layers/rope.h"

#include <cmath>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"

namespace chimera {
namespace {

double Angle(int64_t position, int pair) {
  return static_cast<double>(position) * std::pow(10000.0, -pair / 32.0);
}

TEST(RopeTest, AnglesAreExactUpToMillionsOfTokensAndTheSameOnEveryInstructionSet) {
  for (const int64_t position : {0, 1, 2, 3, 15, 100, 1023, 65537, 4'000'000, 100'000'000}) {
    Floats cos0, sin0;
    for (const Isa isa : RunnableIsas()) {
      Floats cos(kRopePairs), sin(kRopePairs);
      RopeFor(isa).angles(position, cos.data(), sin.data());
      for (int i = 0; i < kRopePairs; ++i) {
        // The product position * frequency itself carries a rounding of double.
        const double tol = 1e-7 + 3e-16 * static_cast<double>(position);
        EXPECT_NEAR(cos[i], std::cos(Angle(position, i)), tol) << position << " pair " << i;
        EXPECT_NEAR(sin[i], std::sin(Angle(position, i)), tol) << position << " pair " << i;
      }
      if (isa == Isa::kBaseline) cos0 = cos, sin0 = sin;
      ExpectSame(cos, cos0, IsaName(isa));
      ExpectSame(sin, sin0, IsaName(isa));
    }
  }
}

TEST(RopeTest, RotatesPairsKeepsProductsOfEqualDistancesAndTurnsBack) {
  const int rows = 3;
  const Floats x = Noise(rows * kHeadDim, 1, 0, 1), other = Noise(rows * kHeadDim, 1, 0, 2);
  for (const Isa isa : RunnableIsas()) {
    const RopeKernels& rope = RopeFor(isa);
    const auto at = [&](const Floats& from, int64_t position) {
      Floats cos(kRopePairs), sin(kRopePairs), y = from;
      rope.angles(position, cos.data(), sin.data());
      rope.rotate(y.data(), rows, cos.data(), sin.data(), y.data());
      return y;
    };
    const Floats y = at(x, 1000);
    Doubles want(x.size());
    for (int r = 0; r < rows; ++r) {
      for (int i = 0; i < kRopePairs; ++i) {
        const double c = std::cos(Angle(1000, i)), s = std::sin(Angle(1000, i));
        const double low = x[r * kHeadDim + i], high = x[r * kHeadDim + kRopePairs + i];
        want[r * kHeadDim + i] = low * c + high * s;
        want[r * kHeadDim + kRopePairs + i] = high * c - low * s;
      }
    }
    ExpectClose(y, want, 1e-6, IsaName(isa));
    Floats cos(kRopePairs), sin(kRopePairs), back(x.size());
    rope.angles(1000, cos.data(), sin.data());
    rope.unrotate(y.data(), rows, cos.data(), sin.data(), back.data());
    ExpectClose(back, ToDoubles(x), 1e-6, "turned back");
    EXPECT_NEAR(Inner(ToDoubles(at(x, 1000)), ToDoubles(at(other, 900))),
                Inner(ToDoubles(at(x, 3'000'100)), ToDoubles(at(other, 3'000'000))), 1e-4);
  }
}

}  // namespace
}  // namespace chimera
