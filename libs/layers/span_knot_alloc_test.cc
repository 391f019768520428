// A step of the span knot never allocates: every operator new of this binary is counted.
#include <atomic>
#include <cstdlib>
#include <new>

#include "gtest/gtest.h"
#include "layers/span_knot_testing.h"

namespace {
std::atomic<long> g_allocations{0};
}  // namespace

void* operator new(size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

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
  const long before = g_allocations.load();
  for (int t = 0; t < 8; ++t) {
    knot.Step(weights.view(), fields, &xn[t * shape.d_model], state.data(), state.data(), &scratch,
              y.data());
  }
  EXPECT_EQ(g_allocations.load() - before, 0);
  EXPECT_GT(scratch.telemetry.flips, 0);
  std::vector<int>* counted = new std::vector<int>(3);
  EXPECT_GT(g_allocations.load() - before, 0) << "the counter must count";
  delete counted;
}

}  // namespace
}  // namespace chimera
