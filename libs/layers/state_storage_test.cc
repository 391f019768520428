#include "layers/state_storage.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/state_storage_study.h"
#include "tensor/kernels.h"

namespace chimera {
namespace {

float FromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof(x));
  return x;
}

// The nearest of the two bf16 neighbours, in double; ties to the even code.
float NearestBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  const float low = FromBits(bits & 0xffff0000u);
  const float high = FromBits((bits & 0xffff0000u) + 0x10000u);
  const double to_low = std::abs(double{x} - low), to_high = std::abs(double{high} - x);
  if (to_low != to_high) return to_low < to_high ? low : high;
  return (bits >> 16) % 2 == 0 ? low : high;
}

TEST(Bf16Test, RoundsToNearestEvenOnEveryInstructionSet) {
  Floats x = Noise(5003, 3, 0, 1);
  for (uint32_t bits = 1; bits < 0x7f700000u; bits += 0x012345u) x.push_back(FromBits(bits));
  for (uint32_t upper = 0x3f80; upper < 0x3f90; ++upper) {  // exact ties and their neighbours
    for (const uint32_t lower : {0x7fffu, 0x8000u, 0x8001u}) {
      x.push_back(FromBits(upper << 16 | lower));
      x.push_back(-x.back());
    }
  }
  const int n = static_cast<int>(x.size());
  Floats want;
  for (const float value : x) want.push_back(NearestBf16(value));
  for (const Isa isa : RunnableIsas()) {
    const TensorKernels& kernels = KernelsFor(isa);
    std::vector<uint16_t> stored(n);
    Floats loaded(n), rounded = x;
    kernels.to_bf16(x.data(), n, stored.data());
    kernels.from_bf16(stored.data(), n, loaded.data());
    kernels.round_bf16(rounded.data(), n, rounded.data());
    ExpectSame(loaded, want, IsaName(isa));
    ExpectSame(rounded, want, IsaName(isa));
    kernels.round_bf16(rounded.data(), n, rounded.data());
    ExpectSame(rounded, want, "rounding twice");
  }
}

TEST(Bf16Test, KeepsZerosInfinitiesAndNans) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const Isa isa : RunnableIsas()) {
    Floats x = {0.0f, -0.0f, inf, -inf, std::numeric_limits<float>::max()};
    KernelsFor(isa).round_bf16(x.data(), 5, x.data());
    ExpectSame(x, {0.0f, -0.0f, inf, -inf, inf}, IsaName(isa));
    // Also a NaN whose bits would carry into the sign.
    Floats nan = {FromBits(0x7fffffffu), FromBits(0xffffffffu), FromBits(0x7f800001u),
                  std::nanf("")};
    KernelsFor(isa).round_bf16(nan.data(), 4, nan.data());
    for (const float value : nan) EXPECT_TRUE(std::isnan(value));
  }
}

TEST(StateStorageTest, UnpackingWhatWasPackedIsRoundingAndFramesStayExact) {
  for (const int heads : {1, 3}) {
    const StateShape mlstm = MlstmStateShape(heads), delta = GatedDeltaStateShape(heads);
    EXPECT_EQ(mlstm.floats(), heads * (64 * 64 + 64 + 1));
    EXPECT_EQ(mlstm.stored_bytes(), heads * (2 * 64 * 64 + 2 * 64 + 4));
    EXPECT_EQ(delta.floats(), 9 * heads * 64 + heads * 64 * 64);
    EXPECT_EQ(delta.stored_bytes(), 2 * delta.floats());
    for (const StateShape& shape : {mlstm, delta}) {
      const Floats slab = Noise(shape.floats(), 3, 0.1f, 2);
      std::vector<uint8_t> bytes(shape.stored_bytes() + 1, 0xa5);
      Floats loaded(shape.floats() + 1, 7), rounded = slab;
      PackState(shape, slab.data(), bytes.data());
      EXPECT_EQ(bytes.back(), 0xa5);
      UnpackState(shape, bytes.data(), loaded.data());
      EXPECT_EQ(loaded.back(), 7);
      loaded.pop_back();
      RoundState(shape, rounded.data());
      ExpectSame(loaded, rounded, "round trip");
      EXPECT_NE(rounded, slab);
      for (int64_t i = 0; i < shape.floats(); ++i) {
        const bool exact = i >= shape.n_rounded;
        EXPECT_LE(std::abs(rounded[i] - slab[i]), exact ? 0 : std::abs(slab[i]) / 256);
      }
    }
  }
}

// docs/layers/state-storage.md holds the measurements these bounds stand beside; errors are
// relative to the root mean square of the outputs, over 10,000 tokens.
TEST(StateStorageTest, RoundingEachTokenIsHarmlessWhereStatesForgetOrAreRewritten) {
  for (const float g : {-1.0f, -0.1f, -0.01f, -0.001f}) {
    const Drift drift = GatedDeltaDrift({}, g, 0.5f);
    EXPECT_LT(drift.mean, 0.015) << g;
    EXPECT_LT(drift.max, 0.12) << g;
    EXPECT_GT(drift.mean, 1e-4) << "the rounding must act";
  }
  for (const float f : {0.0f, 3.0f, 4.5f}) {
    const Drift drift = MlstmDrift({}, -10, f);
    EXPECT_LT(drift.mean, 0.012) << f;
    EXPECT_GT(drift.mean, 1e-4) << "the rounding must act";
  }
}

// A decay smaller than half a unit of the last of eight bits is rounded away: the state never
// forgets. Rounding every 64 tokens lets it.
TEST(StateStorageTest, RoundingEachTokenFreezesSlowStates) {
  EXPECT_GT(GatedDeltaDrift({}, -0.001f, 0.005f).state, 5);
  EXPECT_LT(GatedDeltaDrift({.every = 64}, -0.001f, 0.005f).state, 0.02);
  Floats frozen = Noise(kHeadState, 1, 0, 3), start;
  Kernels().round_bf16(frozen.data(), kHeadState, frozen.data());
  start = frozen;
  const Floats k(kHeadDim, 0.125f), u(kHeadDim);
  for (int t = 0; t < 10'000; ++t) {
    GatedDelta().write(frozen.data(), k.data(), u.data(), -0.001f);
    Kernels().round_bf16(frozen.data(), kHeadState, frozen.data());
  }
  ExpectSame(frozen, start, "e^-10 became 1");
}

// Rounding m rescales the whole head against what it reads next.
TEST(StateStorageTest, FramesMustNotBeRounded) {
  EXPECT_GT(MlstmDrift({.round_frame = true}, -10, 4.5f).mean, 0.5);
  EXPECT_LT(MlstmDrift({}, -10, 4.5f).mean, 0.012);
}

}  // namespace
}  // namespace chimera
