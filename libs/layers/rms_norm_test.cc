#include "layers/rms_norm.h"

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/rms_norm_naive.h"

namespace chimera {
namespace {

TEST(RmsNormTest, MatchesTheGoldenVectors) {
  const auto in = [](const char* name) { return Golden("blocks", "rmsnorm", "in", name); };
  const Floats x = ToFloats(in("x")), gamma = ToFloats(in("gamma")), dy = ToFloats(in("dy"));
  for (const Isa isa : RunnableIsas()) {
    const RmsNormKernels& kernels = RmsNormFor(isa);
    Floats y(x.size()), inv(6), dx(x.size()), dgamma(64);
    kernels.forward(x.data(), gamma.data(), 6, 64, y.data(), inv.data());
    kernels.backward(x.data(), gamma.data(), inv.data(), dy.data(), 6, 64, dx.data(),
                     dgamma.data());
    ExpectClose(y, Golden("blocks", "rmsnorm", "out", "y"), 1e-5, IsaName(isa));
    ExpectClose(dx, Golden("blocks", "rmsnorm", "grad", "x"), 1e-5, IsaName(isa));
    ExpectClose(dgamma, Golden("blocks", "rmsnorm", "grad", "gamma"), 1e-5, IsaName(isa));
  }
}

TEST(RmsNormTest, NaiveGradientsMatchCentralDifferences) {
  const int n = 7;
  Doubles x = ToDoubles(Noise(n, 1, 0.2f, 1)), gamma = ToDoubles(Noise(n, 1, 0, 2));
  const Doubles dy = ToDoubles(Noise(n, 1, 0, 3));
  Doubles dx(n), dgamma(n), y(n);
  NaiveRmsNormBackward(x.data(), gamma.data(), dy.data(), n, dx.data(), dgamma.data());
  const auto loss = [&] {
    NaiveRmsNorm(x.data(), gamma.data(), n, y.data());
    return Inner(y, dy);
  };
  ExpectSlopes(x, dx, "x", loss);
  ExpectSlopes(gamma, dgamma, "gamma", loss);
}

TEST(RmsNormTest, OddSizesMatchTheNaiveTwinAndEveryInstructionSetAgrees) {
  for (const int n : {1, 15, 16, 17, 100, 384, 2560}) {
    const int rows = 3;
    const Floats x = Noise(rows * n, 2, 0.1f, n), gamma = Noise(n, 1, 1, n + 1);
    const Floats dy = Noise(rows * n, 1, 0, n + 2);
    const Doubles xd = ToDoubles(x), gd = ToDoubles(gamma), dyd = ToDoubles(dy);
    Doubles y_want(rows * n), dx_want(rows * n), dgamma_want(n);
    for (int row = 0; row < rows; ++row) {
      const int at = row * n;
      NaiveRmsNorm(&xd[at], gd.data(), n, &y_want[at]);
      NaiveRmsNormBackward(&xd[at], gd.data(), &dyd[at], n, &dx_want[at], dgamma_want.data());
    }
    Floats y0, dx0, dgamma0;
    for (const Isa isa : RunnableIsas()) {
      Floats y = x, inv(rows), dx = dy, dgamma(n);  // in place
      RmsNormFor(isa).forward(y.data(), gamma.data(), rows, n, y.data(), inv.data());
      RmsNormFor(isa).backward(x.data(), gamma.data(), inv.data(), dx.data(), rows, n, dx.data(),
                               dgamma.data());
      ExpectClose(y, y_want, 1e-5, "y");
      ExpectClose(dx, dx_want, 1e-5, "dx");
      ExpectClose(dgamma, dgamma_want, 1e-5, "dgamma");
      if (isa == Isa::kBaseline) y0 = y, dx0 = dx, dgamma0 = dgamma;
      ExpectSame(y, y0, IsaName(isa));
      ExpectSame(dx, dx0, IsaName(isa));
      ExpectSame(dgamma, dgamma0, IsaName(isa));
    }
  }
}

}  // namespace
}  // namespace chimera
