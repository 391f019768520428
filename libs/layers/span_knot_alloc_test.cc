// A step of the span knot never allocates.
#include "base/alloc_testing.h"
#include "gtest/gtest.h"
#include "layers/span_knot_testing.h"

namespace chimera {
namespace {

TEST(SpanKnotAllocations, AStepAllocatesNothing) {
  const SpanKnotShape shape = {64, 48, 1024, 32};
  const SpanKnot knot = *SpanKnot::Create(shape, {});
  const TestSpanWeights weights(shape);
  const auto sketch = RandomSketch(shape.bits, 1);
  const SpanFields fields = {.memory = {sketch.data(), 0.5f}, .debt = {sketch.data(), 0.25f}};
  const Floats xn = Noise(8 * shape.d_model, 1, 0, 1);
  SpanKnotScratch scratch(shape);
  Floats state(SpanKnotStateFloats(shape.bits)), y(shape.width);
  const long before = Allocations();
  for (int t = 0; t < 8; ++t) {
    knot.Step(weights.view(), fields, &xn[t * shape.d_model], state.data(), state.data(), &scratch,
              y.data());
  }
  EXPECT_EQ(Allocations() - before, 0);
  EXPECT_GT(scratch.telemetry.flips, 0);
  std::vector<int>* counted = new std::vector<int>(3);
  EXPECT_GT(Allocations() - before, 0) << "the counter must count";
  delete counted;
}

}  // namespace
}  // namespace chimera
