#include "layers/swiglu.h"

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/swiglu_naive.h"

namespace chimera {
namespace {

TEST(SwigluTest, MatchesTheGoldenVectors) {
  const auto in = [](const char* name) {
    return ToFloats(Golden("blocks", "swiglu_elementwise", "in", name));
  };
  const Floats gate = in("gate"), up = in("up"), dh = in("dh");
  const int64_t n = static_cast<int64_t>(gate.size());
  for (const Isa isa : RunnableIsas()) {
    Floats out(n), dgate(n), dup(n);
    SwigluFor(isa).forward(gate.data(), up.data(), n, out.data());
    SwigluFor(isa).backward(gate.data(), up.data(), dh.data(), n, dgate.data(), dup.data());
    ExpectClose(out, Golden("blocks", "swiglu_elementwise", "out", "h"), 1e-5, "h");
    ExpectClose(dgate, Golden("blocks", "swiglu_elementwise", "grad", "gate"), 1e-5, "gate");
    ExpectClose(dup, Golden("blocks", "swiglu_elementwise", "grad", "up"), 1e-5, "up");
  }
}

TEST(SwigluTest, NaiveGradientsMatchCentralDifferences) {
  const int n = 9;
  Doubles gate = ToDoubles(Noise(n, 4, 0, 1)), up = ToDoubles(Noise(n, 2, 0, 2));
  const Doubles dout = ToDoubles(Noise(n, 1, 0, 3));
  Doubles dgate(n), dup(n), out(n);
  NaiveSwigluBackward(gate.data(), up.data(), dout.data(), n, dgate.data(), dup.data());
  const auto loss = [&] {
    NaiveSwiglu(gate.data(), up.data(), n, out.data());
    return Inner(out, dout);
  };
  ExpectSlopes(gate, dgate, "gate", loss);
  ExpectSlopes(up, dup, "up", loss);
}

TEST(SwigluTest, EveryInstructionSetGivesTheSameBitsAndExtremesStayFinite) {
  for (const int64_t n : {1, 16, 31, 1000}) {
    Floats gate = Noise(n, 20, 0, 5);
    const Floats up = Noise(n, 3, 0, 6), dout = Noise(n, 1, 0, 7);
    gate[0] = -1e30f;
    gate[n / 2] = 1e30f;
    Floats out0, dgate0, dup0;
    for (const Isa isa : RunnableIsas()) {
      Floats out(n), dgate(n), dup(n);
      SwigluFor(isa).forward(gate.data(), up.data(), n, out.data());
      SwigluFor(isa).backward(gate.data(), up.data(), dout.data(), n, dgate.data(), dup.data());
      ExpectFinite(out, "out");
      ExpectFinite(dgate, "dgate");
      if (isa == Isa::kBaseline) out0 = out, dgate0 = dgate, dup0 = dup;
      ExpectSame(out, out0, IsaName(isa));
      ExpectSame(dgate, dgate0, IsaName(isa));
      ExpectSame(dup, dup0, IsaName(isa));
    }
  }
}

}  // namespace
}  // namespace chimera
