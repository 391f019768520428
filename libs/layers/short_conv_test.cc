#include "layers/short_conv.h"

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/short_conv_naive.h"

namespace chimera {
namespace {

TEST(ShortConvTest, MatchesTheGoldenVectors) {
  const int n = 6, tokens = 9;
  const auto in = [](const char* name) {
    return ToFloats(Golden("blocks", "conv4_silu", "in", name));
  };
  const Floats x = in("x"), w = in("w"), start = in("state"), dy = in("dy");
  for (const Isa isa : RunnableIsas()) {
    Floats y(x.size()), end(3 * n), dx(x.size()), dw(w.size());
    const ShortConvKernels& kernels = ShortConvFor(isa);
    kernels.forward(x.data(), w.data(), start.data(), nullptr, tokens, n, n, y.data(), end.data());
    kernels.backward(x.data(), w.data(), start.data(), nullptr, dy.data(), tokens, n, n, dx.data(),
                     dw.data());
    ExpectClose(y, Golden("blocks", "conv4_silu", "out", "y"), 1e-5, "y");
    ExpectClose(end, Golden("blocks", "conv4_silu", "out", "state"), 0, "state");
    ExpectClose(dx, Golden("blocks", "conv4_silu", "grad", "x"), 1e-5, "dx");
    ExpectClose(dw, Golden("blocks", "conv4_silu", "grad", "w"), 1e-5, "dw");
  }
}

TEST(ShortConvTest, NaiveGradientsMatchCentralDifferences) {
  const int n = 2, tokens = 9;
  const uint8_t reset[tokens] = {0, 0, 0, 1, 0, 1, 1, 0, 0};
  Doubles x = ToDoubles(Noise(tokens * n, 1, 0, 1)), w = ToDoubles(Noise(4 * n, 1, 0, 2));
  const Doubles start = ToDoubles(Noise(3 * n, 1, 0, 3)),
                dy = ToDoubles(Noise(tokens * n, 1, 0, 4));
  Doubles y(tokens * n), dx(tokens * n), dw(4 * n);
  NaiveShortConvBackward(x.data(), w.data(), start.data(), reset, dy.data(), tokens, n, dx.data(),
                         dw.data());
  const auto loss = [&] {
    NaiveShortConv(x.data(), w.data(), start.data(), reset, tokens, n, y.data());
    return Inner(y, dy);
  };
  ExpectSlopes(x, dx, "x", loss);
  ExpectSlopes(w, dw, "w", loss);
}

TEST(ShortConvTest, ResetsAndOddSizesMatchTheNaiveTwin) {
  const int tokens = 23;
  uint8_t reset[tokens] = {};
  reset[2] = reset[9] = reset[10] = reset[21] = 1;
  for (const int n : {1, 16, 21, 70}) {
    const Floats x = Noise(tokens * n, 1, 0, n), w = Noise(4 * n, 1, 0, n + 1);
    const Floats start = Noise(3 * n, 1, 0, n + 2), dy = Noise(tokens * n, 1, 0, n + 3);
    const Doubles xd = ToDoubles(x), wd = ToDoubles(w), sd = ToDoubles(start), dyd = ToDoubles(dy);
    Doubles y_want(x.size()), dx_want(x.size()), dw_want(w.size());
    NaiveShortConv(xd.data(), wd.data(), sd.data(), reset, tokens, n, y_want.data());
    NaiveShortConvBackward(xd.data(), wd.data(), sd.data(), reset, dyd.data(), tokens, n,
                           dx_want.data(), dw_want.data());
    Floats y0, dx0, dw0;
    for (const Isa isa : RunnableIsas()) {
      Floats y(x.size()), dx(x.size()), dw(w.size());
      const ShortConvKernels& kernels = ShortConvFor(isa);
      kernels.forward(x.data(), w.data(), start.data(), reset, tokens, n, n, y.data(), nullptr);
      kernels.backward(x.data(), w.data(), start.data(), reset, dy.data(), tokens, n, n, dx.data(),
                       dw.data());
      ExpectClose(y, y_want, 1e-5, "y");
      ExpectClose(dx, dx_want, 1e-5, "dx");
      ExpectClose(dw, dw_want, 1e-5, "dw");
      if (isa == Isa::kBaseline) y0 = y, dx0 = dx, dw0 = dw;
      ExpectSame(y, y0, IsaName(isa));
      ExpectSame(dx, dx0, IsaName(isa));
      ExpectSame(dw, dw0, IsaName(isa));
    }
  }
}

TEST(ShortConvTest, StepsSplitsAndChannelRangesGiveTheBitsOfForward) {
  const int n = 37, tokens = 11;
  const Floats x = Noise(tokens * n, 1, 0, 1), w = Noise(4 * n, 1, 0, 2);
  const Floats start = Noise(3 * n, 1, 0, 3);
  for (const Isa isa : RunnableIsas()) {
    const ShortConvKernels& kernels = ShortConvFor(isa);
    Floats y(x.size()), end(3 * n), stepped(x.size()), state = start;
    kernels.forward(x.data(), w.data(), start.data(), nullptr, tokens, n, n, y.data(), end.data());
    for (int t = 0; t < tokens; ++t) {
      kernels.steps(&x[t * n], 0, 1, w.data(), state.data(), n, n, &stepped[t * n]);
    }
    ExpectSame(stepped, y, "steps");
    ExpectSame(state, end, "state");
    for (int cut = 1; cut < tokens; ++cut) {  // in place, rows and state at strides of their own
      const int wide = n + 3;
      Floats rows(tokens * wide), kept(3 * wide), outputs(tokens * n);
      for (int t = 0; t < tokens; ++t) std::copy_n(&x[t * n], n, &rows[t * wide]);
      for (int i = 0; i < 3; ++i) std::copy_n(&start[i * n], n, &kept[i * wide]);
      const auto steps = [&](int t, int count) {
        kernels.steps(&rows[t * wide], wide, count, w.data(), kept.data(), wide, n,
                      &rows[t * wide]);
      };
      steps(0, cut);
      steps(cut, tokens - cut);
      for (int t = 0; t < tokens; ++t) std::copy_n(&rows[t * wide], n, &outputs[t * n]);
      ExpectSame(outputs, y, "steps of several tokens");
      for (int i = 0; i < 3; ++i) {
        EXPECT_TRUE(std::equal(&kept[i * wide], &kept[i * wide] + n, &end[i * n]));
      }
    }
    for (int cut = 1; cut < tokens; ++cut) {
      Floats parts(x.size()), middle = start;
      for (const int c : {0, 20}) {  // two channel ranges
        const int width = c == 0 ? 20 : n - 20;
        float* s = middle.data() + c;
        kernels.forward(&x[c], &w[4 * c], s, nullptr, cut, n, width, &parts[c], s);
        kernels.forward(&x[cut * n + c], &w[4 * c], s, nullptr, tokens - cut, n, width,
                        &parts[cut * n + c], s);
      }
      ExpectSame(parts, y, "parts");
      ExpectSame(middle, end, "state");
    }
  }
}

}  // namespace
}  // namespace chimera
