// The serving form of the span knot: against the twin, its bounds, its terms, its state.
#include "layers/span_knot.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/span_knot_testing.h"

namespace chimera {
namespace {

using Words = std::vector<uint64_t>;

int Distance(const Words& a, const Words& b) {
  int bits = 0;
  for (size_t w = 0; w < a.size(); ++w) bits += std::popcount(a[w] ^ b[w]);
  return bits;
}

// A layer with its weights and one token's input.
struct Layer {
  explicit Layer(const SpanKnotShape& shape, const SpanKnotEnergy& energy = {}, Isa isa = BestIsa())
      : weights(shape),
        knot(*SpanKnot::Create(shape, energy, isa)),
        scratch(shape),
        state(SpanKnotStateFloats(shape.bits)),
        y(shape.width) {}

  void Step(const Floats& xn, const SpanFields& fields = {}) {
    knot.Step(weights.view(), fields, xn.data(), state.data(), state.data(), &scratch, y.data());
  }
  Floats Input(uint32_t seed) const { return Noise(knot.shape().d_model, 1, 0.1f, seed); }

  TestSpanWeights weights;
  SpanKnot knot;
  SpanKnotScratch scratch;
  Floats state, y;
};

// Every combination of present fields; bit f of `mask` is field f.
struct TestFields {
  TestFields(int bits, int mask, uint32_t seed) {
    for (int f = 0; f < 3; ++f) words[f] = RandomSketch(bits, seed + f);
    SpanField* field[3] = {&fields.memory, &fields.grammar, &fields.debt};
    for (int f = 0; f < 3; ++f) {
      if (mask >> f & 1) *field[f] = {words[f].data(), 0.4f + 0.25f * static_cast<float>(f)};
    }
  }
  Words words[3];
  SpanFields fields;
};

TEST(SpanKnotTest, MatchesTheTwinBitForBitInEveryShapeAndCombinationOfFields) {
  const SpanKnotShape shapes[] = {{40, 24, 64, 16},
                                  {64, 64, 192, 32},
                                  {33, 17, 1024, 48},
                                  {96, 64, 1600, 64},
                                  {64, 32, 8192, 64}};
  uint32_t seed = 1;
  for (const SpanKnotShape& shape : shapes) {
    const int masks = shape.bits > 1024 ? 2 : 8;
    for (int mask = 0; mask < masks; ++mask) {
      Layer layer(shape);
      NaiveSpanKnot<float> twin = NaiveOf<float>(layer.knot);
      twin.sketch = layer.weights.sketch.data();
      twin.back = layer.weights.back.data();
      twin.gate = layer.weights.gate.data();
      for (int t = 0; t < 2; ++t) {
        const TestFields given(shape.bits, masks == 8 ? mask : 7 * mask, seed += 3);
        NaiveSpanToken<float> want;
        if (t > 0) want.previous = SignsOf(layer.scratch.relaxed);
        FillFields(given.fields, shape.words(), &want);
        const Floats xn = layer.Input(seed);
        layer.Step(xn, given.fields);
        // The float projection sums in another order: compare it, then start from its result.
        twin.Project(xn.data(), &want);
        ExpectClose(layer.scratch.z, ToDoubles(want.z), 1e-5, "z");
        for (int i = 0; i < 3 * shape.rank; ++i) {
          want.normed[i] = layer.scratch.normed[i / shape.rank * kActBlock + i % shape.rank];
        }
        twin.Expand(true, &want);
        twin.Relax(&want);
        twin.ReadOut(&want);
        const std::string what = "bits " + std::to_string(shape.bits) + " fields " +
                                 std::to_string(mask) + " token " + std::to_string(t);
        ExpectSame(layer.scratch.pre, want.pre, what + " pre");
        EXPECT_EQ(SignsOf(layer.scratch.start), want.start) << what;
        EXPECT_EQ(SignsOf(layer.scratch.relaxed), want.relaxed) << what;
        EXPECT_EQ(layer.scratch.telemetry.sweeps, want.sweeps) << what;
        EXPECT_EQ(layer.scratch.telemetry.flips,
                  std::count(want.flipped.begin(), want.flipped.end(), 1))
            << what;
        ExpectClose(layer.scratch.readout, ToDoubles(want.r), 1e-6, what + " r");
        ExpectClose(layer.y, ToDoubles(want.y), 1e-5, what + " y");
      }
    }
  }
}

TEST(SpanKnotTest, EnergyNeverRisesAndTheReportedEnergyIsTheDefinition) {
  const SpanKnotShape shape = {48, 32, 640, 32};
  for (int mask = 0; mask < 8; ++mask) {
    for (uint32_t seed = 1; seed <= 12; ++seed) {
      double last = 1e30;
      Words carried;
      for (int sweeps = 0; sweeps <= 5; ++sweeps) {
        Layer layer(shape, {.max_sweeps = sweeps, .early_exit = 0});
        layer.Step(layer.Input(100 + seed));
        const Words previous = layer.scratch.start;  // the same for any number of sweeps
        std::memcpy(layer.state.data(), previous.data(), shape.bits / 8);
        const TestFields given(shape.bits, mask, 7 * seed);
        layer.Step(layer.Input(seed), given.fields);
        const NaiveSpanKnot<double> twin = NaiveOf<double>(layer.knot);
        NaiveSpanToken<double> token;
        token.previous = SignsOf(previous);
        token.pre = ToDoubles(layer.scratch.pre);
        FillFields(given.fields, shape.words(), &token);
        const double before = twin.Energy(token, SignsOf(layer.scratch.start));
        const double after = twin.Energy(token, SignsOf(layer.scratch.relaxed));
        EXPECT_LE(after, before);
        EXPECT_LE(after, last) << "one more sweep";
        EXPECT_NEAR(layer.scratch.telemetry.energy_before, before, 2e-6);
        EXPECT_NEAR(layer.scratch.telemetry.energy_after, after, 2e-6);
        EXPECT_LE(layer.scratch.telemetry.energy_after, layer.scratch.telemetry.energy_before);
        EXPECT_EQ(sweeps > 0, after < before);
        last = after;
      }
    }
  }
}

TEST(SpanKnotTest, EachTermChangesTheOutputWhenItsWeightIsTaken) {
  const SpanKnotShape shape = {64, 48, 1024, 32};
  const TestFields given(shape.bits, 7, 5);
  const auto run = [&](const SpanKnotEnergy& energy, const SpanFields& fields) {
    Layer layer(shape, energy);
    layer.Step(layer.Input(1), fields);
    layer.Step(layer.Input(2), fields);
    return layer.y;
  };
  const Floats full = run({}, given.fields);
  EXPECT_NE(full, run({.autoregressive = 0}, given.fields));
  EXPECT_NE(full, run({.memory = 0}, given.fields));
  EXPECT_NE(full, run({.binding = 0}, given.fields));
  EXPECT_NE(full, run({.grammar = 0}, given.fields));
  EXPECT_NE(full, run({.debt = 0}, given.fields));
  EXPECT_NE(full, run({.max_sweeps = 0}, given.fields));
  // Neutral is weight 0: the same as no field at all, and as no term.
  SpanFields neutral = given.fields;
  neutral.memory.weight = 0;
  SpanFields absent = given.fields;
  absent.memory = {};
  EXPECT_NE(full, run({}, neutral));
  EXPECT_EQ(run({}, neutral), run({}, absent));
  EXPECT_EQ(run({}, neutral), run({.memory = 0}, given.fields));
}

TEST(SpanKnotTest, AFieldPullsTheBitsTowardsItself) {
  const SpanKnotShape shape = {64, 48, 2048, 32};
  for (int f = 0; f < 3; ++f) {
    Layer with(shape), without(shape);
    const TestFields given(shape.bits, 1 << f, 9);
    const Floats xn = with.Input(3);
    with.Step(xn, given.fields);
    without.Step(xn);
    EXPECT_LT(Distance(with.scratch.relaxed, given.words[f]),
              Distance(without.scratch.relaxed, given.words[f]));
  }
}

TEST(SpanKnotTest, FlipsAreBoundedAndEqualGainsGoToTheLowestBits) {
  for (const int bits : {64, 128, 1024, 1600, 8192}) {
    const SpanKnotShape shape = {32, 16, bits, 16};
    const int sweep = std::max(1, bits * 2 / 100);
    Layer layer(shape);
    EXPECT_EQ(layer.knot.flips_per_sweep(), sweep);
    layer.Step(layer.Input(4));
    EXPECT_EQ(layer.scratch.telemetry.flips, 3 * sweep);
    EXPECT_EQ(Distance(layer.scratch.start, layer.scratch.relaxed), 3 * sweep);
    // Only the memory's pull: every differing bit gains the same.
    Layer tied(shape, {.autoregressive = 0});
    const TestFields given(bits, 1, 2);
    tied.Step(tied.Input(4), given.fields);
    int expected = 3 * sweep;
    for (int j = 0; j < bits; ++j) {
      const auto bit = [j](const Words& w) { return w[j / 64] >> (j % 64) & 1; };
      const bool flips = bit(tied.scratch.start) != bit(given.words[0]) && expected-- > 0;
      ASSERT_EQ(bit(tied.scratch.start) != bit(tied.scratch.relaxed), flips) << bits << " " << j;
    }
  }
}

TEST(SpanKnotTest, StopsWhenASweepGainsTooLittleOrNothingIsLeft) {
  const SpanKnotShape shape = {64, 48, 1024, 32};
  // The candidate agrees with the state: no flip lowers the energy.
  const auto agreeing = [&](const SpanKnotEnergy& energy) {
    Layer layer(shape, energy);
    const size_t part = static_cast<size_t>(shape.rank) * shape.d_model;
    std::copy_n(layer.weights.sketch.begin(), part, layer.weights.sketch.begin() + part);
    return layer;
  };
  Layer content = agreeing({});
  content.Step(content.Input(1));
  EXPECT_EQ(content.scratch.telemetry.sweeps, 0);
  EXPECT_EQ(content.scratch.telemetry.flips, 0);
  EXPECT_EQ(content.scratch.telemetry.energy_after, content.scratch.telemetry.energy_before);
  // A faint memory flips only bits whose candidate is near zero, for less than 1e-4 a sweep.
  TestFields faint(shape.bits, 1, 3);
  faint.fields.memory.weight = 0.05f;
  Layer early = agreeing({});
  early.Step(early.Input(1), faint.fields);
  EXPECT_EQ(early.scratch.telemetry.sweeps, 1);
  EXPECT_GT(early.scratch.telemetry.flips, 0);
  EXPECT_LT(early.scratch.telemetry.energy_before - early.scratch.telemetry.energy_after, 1e-4f);
  // Few bits differ: fewer flips than a sweep may take.
  Layer short_sweep = agreeing({.early_exit = 0});
  short_sweep.Step(short_sweep.Input(1), faint.fields);
  EXPECT_LE(short_sweep.scratch.telemetry.flips, 2 * short_sweep.knot.flips_per_sweep());
  // The default input uses every sweep; a high threshold ends after the first.
  Layer all(shape), one(shape, {.early_exit = 10});
  all.Step(all.Input(1));
  one.Step(one.Input(1));
  EXPECT_EQ(all.scratch.telemetry.sweeps, 3);
  EXPECT_EQ(one.scratch.telemetry.sweeps, 1);
}

TEST(SpanKnotTest, EveryInstructionSetGivesTheSameBits) {
  for (const SpanKnotShape& shape :
       {SpanKnotShape{70, 37, 192, 16}, SpanKnotShape{96, 64, 8192, 64},
        SpanKnotShape{64, 64, 1088, 48}}) {
    Floats y0, gains0;
    Words relaxed0;
    for (const Isa isa : RunnableIsas()) {
      Layer layer(shape, {}, isa);
      const TestFields given(shape.bits, 7, 5);
      Floats y;
      for (uint32_t t = 1; t <= 4; ++t) {
        layer.Step(layer.Input(t), given.fields);
        y.insert(y.end(), layer.y.begin(), layer.y.end());
      }
      if (isa == Isa::kBaseline) {
        y0 = y, gains0 = layer.scratch.gains, relaxed0 = layer.scratch.relaxed;
      }
      ExpectSame(y, y0, IsaName(isa));
      ExpectSame(layer.scratch.gains, gains0, IsaName(isa));
      EXPECT_EQ(layer.scratch.relaxed, relaxed0) << IsaName(isa);
    }
  }
}

TEST(SpanKnotTest, ATreeIsTheStepFromTheParentsState) {
  const SpanKnotShape shape = {64, 48, 512, 32};
  Layer layer(shape);
  const TestFields given(shape.bits, 5, 5);
  layer.Step(layer.Input(1), given.fields);
  const Floats root = layer.state;
  // Two children of one node, then the chain through the second.
  Floats first(root.size()), second(root.size()), y(shape.width);
  const auto child = [&](uint32_t token, const Floats& parent, Floats* state) {
    layer.knot.Step(layer.weights.view(), given.fields, layer.Input(token).data(), parent.data(),
                    state->data(), &layer.scratch, y.data());
  };
  child(2, root, &first);
  child(3, root, &second);
  EXPECT_NE(first, second);
  Layer chain(shape);
  chain.Step(chain.Input(1), given.fields);
  ExpectSame(chain.state, root, "root");
  chain.Step(chain.Input(3), given.fields);
  ExpectSame(chain.y, y, "y of a branch");
  EXPECT_EQ(std::memcmp(chain.state.data(), second.data(), second.size() * sizeof(float)), 0);
  // The state is read: another parent gives another child.
  Floats fresh(root.size()), state(root.size());
  child(3, fresh, &state);
  EXPECT_NE(chain.y, y) << "a fresh stream has no previous sketch to bind to";
}

TEST(SpanKnotTest, TheReadoutRecoversTheStateVectorWithoutFlips) {
  const SpanKnotShape shape = {64, 48, 8192, 64};
  Layer layer(shape, {.max_sweeps = 0});
  layer.Step(layer.Input(2));
  double error = 0;
  for (int i = 0; i < shape.rank; ++i) {
    error += std::pow(layer.scratch.readout[i] - layer.scratch.normed[i], 2) / shape.rank;
  }
  // Noise of a sum over 8,192 random signs: sqrt(pi R / (2 B)) = 0.11.
  EXPECT_LT(std::sqrt(error), 0.15);
}

TEST(SpanKnotTest, RefusesShapesAndWeightsOutOfRange) {
  const SpanKnotShape good = {64, 48, 1024, 32};
  EXPECT_TRUE(SpanKnot::Create(good, {}).ok());
  SpanKnotShape bad = good;
  bad.bits = 1000;
  EXPECT_EQ(SpanKnot::Create(bad, {}).status().code(), absl::StatusCode::kInvalidArgument);
  bad.bits = 8256;
  EXPECT_FALSE(SpanKnot::Create(bad, {}).ok());
  bad = good;
  bad.rank = 80;
  EXPECT_FALSE(SpanKnot::Create(bad, {}).ok());
  EXPECT_FALSE(SpanKnot::Create(good, {.memory = -1}).ok());
  EXPECT_FALSE(SpanKnot::Create(good, {.debt = std::nanf("")}).ok());
  EXPECT_FALSE(SpanKnot::Create(good, {.flip_fraction = 1.5}).ok());
}

TEST(SpanKnotTest, CostsAndHashes) {
  const SpanKnotCost cost = CostOf({2560, 2560, 8192, 64});
  EXPECT_EQ(cost.parameters, 3 * 64 * 2560 + 2560 * 64 + 2560);
  EXPECT_EQ(cost.parameter_bytes, 4 * cost.parameters);
  EXPECT_EQ(cost.projection_macs, 4 * 64 * 2560);
  EXPECT_EQ(cost.sketch_macs, 3 * 8192 * 64);
  EXPECT_EQ(cost.codebook_bytes, 8192 * 64 / 4 + 8192 * 2 + 8192 * 64 / 8);
  EXPECT_EQ(cost.state_bytes, 1024 + 4);
  const Words a = RandomSketch(1024, 1);
  Words b = a;
  EXPECT_EQ(SketchHash(a.data(), 1024), SketchHash(b.data(), 1024));
  b[15] ^= uint64_t{1} << 63;
  EXPECT_NE(SketchHash(a.data(), 1024), SketchHash(b.data(), 1024));
  EXPECT_EQ(SketchHash(a.data(), 960), SketchHash(b.data(), 960));
}

}  // namespace
}  // namespace chimera
