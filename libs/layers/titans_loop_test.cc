// Later iterations of a loop read the memory of the first, in training as in serving.
#include <algorithm>

#include "gtest/gtest.h"
#include "layers/titans_op.h"
#include "layers/titans_testing.h"

namespace chimera {
namespace {

const TitansShape kShape = {.n_heads = 2, .kv_heads = 1, .persistent_slots = 5, .window_len = 32};

// Two iterations of every token in serving: windows of one token.
TEST(TitansLoopTest, TrainingEqualsServing) {
  const TitansFixture fixture(kShape, 21);
  const int n = 300;
  const Floats in = fixture.In(n, 200), gates = fixture.Gates(n, 201);
  const Floats in2 = fixture.In(n, 202), gates2 = fixture.Gates(n, 203);
  TitansOpRun run(fixture, 1);
  run.Forward(in, gates, {}, {});
  const Floats y1 = run.y;
  run.Forward(in2, gates2, {}, {}, {.use = TitansUse::kReadOnly, .memory = run.memory});

  TitansStream first(fixture);
  Floats ring(TitansRingFloats(kShape)), block(3 * kShape.width()), y(n * kShape.width());
  Floats node(TitansNodeFloats(kShape)), first_y;
  for (int t = 0; t < n; ++t) {
    const Floats one = first.Step(&in[t * kShape.in_width()], &gates[t * 6]);
    first_y.insert(first_y.end(), one.begin(), one.end());
    TitansStep(
        fixture.layer(), TitansUse::kReadOnly, t, &in2[t * kShape.in_width()], &gates2[t * 6],
        [&](const float* mean, float* k, float* v) { fixture.ProjectKv(mean, k, v); }, block.data(),
        node.data(), first.memory(), ring.data(), &y[t * kShape.width()]);
  }
  ExpectClose(y1, ToDoubles(first_y), 1e-5, "iteration 1");
  ExpectClose(run.y, ToDoubles(y), 1e-5, "iteration 2");
  EXPECT_EQ(run.end.size(), ring.size());
}

// With the inputs of iteration 1, iteration 2 computes the same and its gradients are those of a
// single application, divided over the two: what is written belongs to the first.
TEST(TitansLoopTest, GradientsOfAReaderArriveAtTheWriter) {
  const TitansFixture fixture(kShape, 22);
  const int n = 280;  // more than one span of kept weights
  const Floats in = fixture.In(n, 210), gates = fixture.Gates(n, 211);
  const Floats dy = Noise(n * kShape.width(), 1, 0, 212);
  TitansOpRun once(fixture, 1), twice(fixture, 1);
  once.Forward(in, gates, {}, {});
  once.Backward(dy);
  twice.Forward(in, gates, {}, {});
  twice.Forward(in, gates, {}, {}, {.use = TitansUse::kReadOnly, .memory = twice.memory});
  twice.Backward(dy);
  ExpectSame(twice.y, once.y, "y");
  const Floats want = once.InGrad(), writer = twice.InGrad(0), reader = twice.InGrad(1);
  Floats sum(want.size());
  for (size_t i = 0; i < want.size(); ++i) sum[i] = writer[i] + reader[i];
  ExpectClose(sum, ToDoubles(want), 1e-5, "d in");
  ExpectClose(twice.GatesGrad(0), ToDoubles(once.GatesGrad()), 1e-5, "d gates");
  ExpectClose(twice.w1.grad, ToDoubles(once.w1.grad), 1e-5, "w1");
  const int w = kShape.width();
  for (int t = 0; t < n; ++t) {
    const float *from = &writer[t * kShape.in_width()], *to = &reader[t * kShape.in_width()];
    for (int i = 0; i < w; ++i) {
      ASSERT_EQ(from[i], 0.0f) << "q of the writer";
      ASSERT_EQ(to[w + i], 0.0f) << "km of the reader";
      ASSERT_EQ(to[2 * w + i], 0.0f) << "vm of the reader";
    }
  }
}

// A reader over some of the sequences only.
TEST(TitansLoopTest, ReadersMayRunAPartOfTheSequences) {
  const TitansFixture fixture(kShape, 23);
  const int n = 60, stride = n * kShape.in_width();
  const Floats in = fixture.In(3 * n, 220), gates = fixture.Gates(3 * n, 221);
  const Floats dy = Noise(n * kShape.width(), 1, 0, 222);
  const int32_t source[1] = {2};
  TitansOpRun all(fixture, 3), alone(fixture, 1);
  all.Forward(in, gates, {}, {});
  const Floats last_in(in.begin() + 2 * stride, in.end()),
      last_gates(gates.begin() + 2 * n * 6, gates.end());
  all.Forward(last_in, last_gates, {}, {},
              {.use = TitansUse::kReadOnly, .memory = all.memory, .source = source});
  all.Backward(dy);
  alone.Forward(last_in, last_gates, {}, {});
  alone.Forward(last_in, last_gates, {}, {}, {.use = TitansUse::kReadOnly, .memory = alone.memory});
  alone.Backward(dy);
  ExpectSame(all.y, alone.y, "y");
  const Floats writer = all.InGrad(0);
  ExpectClose(Floats(writer.begin() + 2 * stride, writer.end()), ToDoubles(alone.InGrad(0)), 1e-6,
              "writer");
  EXPECT_TRUE(
      std::all_of(writer.begin(), writer.begin() + 2 * stride, [](float x) { return x == 0; }));
  ExpectSame(all.InGrad(1), alone.InGrad(1), "reader");
}

}  // namespace
}  // namespace chimera
