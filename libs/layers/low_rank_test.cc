// The low-rank correction: kernels against the twin, the same bits everywhere, the op's gradients.
#include "layers/low_rank.h"

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/linear_op.h"
#include "layers/low_rank_naive.h"

namespace chimera {
namespace {

constexpr float kGuard = -77.25f;

struct Shape {
  int rows, cols, tokens;
};
const Shape kShapes[] = {{1, 64, 1}, {16, 64, 3}, {17, 128, 5}, {70, 192, 33}};

NaiveLowRank<double> Twin(const Shape& s, uint32_t seed) {
  NaiveLowRank<double> twin;
  twin.rows = s.rows;
  twin.cols = s.cols;
  twin.n_tokens = s.tokens;
  twin.a = ToDoubles(Noise(kLowRank * s.cols, 0.25f, 0, seed));
  twin.b = ToDoubles(Noise(s.rows * kLowRank, 1.0f, 0, seed + 1));
  twin.x = ToDoubles(Noise(s.tokens * s.cols, 1.0f, 0, seed + 2));
  twin.scale = 0.375;
  return twin;
}

// y with the correction of `twin` added to zeros, ldy = rows + 3, guards in between.
Floats Serve(Isa isa, const NaiveLowRank<double>& twin, int tile_step) {
  const Floats a = ToFloats(twin.a), b = ToFloats(twin.b), x = ToFloats(twin.x);
  Floats lanes(LowRankLaneFloats(twin.rows)), h(size_t(twin.n_tokens * kLowRank));
  LowRankLanes(b.data(), twin.rows, lanes.data());
  const int64_t ldy = twin.rows + 3;
  Floats y(size_t(ldy * twin.n_tokens), kGuard);
  for (int64_t t = 0; t < twin.n_tokens; ++t) {
    std::fill_n(y.begin() + t * ldy, twin.rows, 0.0f);
  }
  const LowRankKernels& k = LowRankFor(isa);
  k.down(a.data(), static_cast<float>(twin.scale), twin.cols, x.data(), twin.n_tokens, h.data());
  for (int tile = 0; tile < RowTiles(twin.rows); tile += tile_step) {
    k.up(lanes.data(), twin.rows, tile, std::min(tile + tile_step, RowTiles(twin.rows)), h.data(),
         twin.n_tokens, y.data(), ldy);
  }
  return y;
}

TEST(LowRank, ServingFollowsTheTwinWithTheSameBitsEverywhere) {
  for (const Shape& s : kShapes) {
    const NaiveLowRank<double> twin = Twin(s, 1);
    const Floats first = Serve(Isa::kBaseline, twin, 100);
    const Doubles want = twin.Forward();
    for (int t = 0; t < s.tokens; ++t) {
      for (int r = 0; r < s.rows + 3; ++r) {
        const float got = first[size_t(t * (s.rows + 3) + r)];
        if (r >= s.rows) {
          ASSERT_EQ(got, kGuard);
        } else {
          const double y = want[size_t(t * s.rows + r)];
          ASSERT_NEAR(got, y, 1e-5 * (1 + std::abs(y)));
        }
      }
    }
    for (const Isa isa : RunnableIsas()) {
      ExpectSame(Serve(isa, twin, 100), first, IsaName(isa));
      ExpectSame(Serve(isa, twin, 1), first, "tile by tile");
    }
  }
}

TEST(LowRank, OneTokenAtATimeGivesTheSameBits) {
  NaiveLowRank<double> twin = Twin({40, 128, 9}, 4);
  const Floats all = Serve(BestIsa(), twin, 100);
  const Doubles x = twin.x;
  twin.n_tokens = 1;
  for (int t = 0; t < 9; ++t) {
    twin.x.assign(x.begin() + t * 128, x.begin() + (t + 1) * 128);
    ExpectSame(Serve(BestIsa(), twin, 100),
               Floats(all.begin() + t * 43, all.begin() + (t + 1) * 43), "token");
  }
}

TEST(LowRank, NaiveGradientsMatchCentralDifferences) {
  NaiveLowRank<double> twin = Twin({5, 8, 3}, 7);
  const Doubles dy = ToDoubles(Noise(15, 1, 0, 11));
  const auto grad = twin.Backward(dy);
  const auto loss = [&] { return Inner(twin.Forward(), dy); };
  ExpectSlopes(twin.a, grad.a, "A", loss);
  ExpectSlopes(twin.b, grad.b, "B", loss);
  ExpectSlopes(twin.x, grad.x, "x", loss);
  Doubles scale = {twin.scale};
  ExpectSlopes(scale, {grad.scale}, "gate", [&] {
    twin.scale = scale[0];
    return loss();
  });
}

// The op's parameters and what it leaves in their gradients.
struct OpRun {
  OpRun(const NaiveLowRank<double>& twin, float ramp, bool gate_learns, const Doubles& dy,
        const std::vector<int>& splits)
      : a(ToFloats(twin.a)), b(ToFloats(twin.b)), gate{static_cast<float>(twin.scale / ramp)} {
    for (Floats* v : {&a, &b, &gate}) grads.push_back(Floats(v->size()));
    LowRankParam param;
    param.a = {a.data(), grads[0].data(), kLowRank, twin.cols};
    param.b = {b.data(), grads[1].data(), twin.rows, kLowRank};
    param.gate = {gate.data(), grads[2].data(), 1, 1};
    param.ramp = ramp;
    param.gate_learns = gate_learns;
    ExecContext exec(2);
    Tape tape(&exec);
    Var* x = tape.New(twin.n_tokens, twin.cols);
    const Floats values = ToFloats(twin.x);
    std::copy(values.begin(), values.end(), x->value);
    std::vector<Var*> outputs;
    for (int width : splits) {
      outputs.push_back(tape.New(twin.n_tokens, width));
      std::fill_n(outputs.back()->value, outputs.back()->size(), 0.0f);
    }
    AddLowRank(&tape, x, param, outputs);
    y.resize(size_t(twin.n_tokens) * size_t(twin.rows));
    int begin = 0;
    for (Var* out : outputs) {
      bool accumulate = false;
      float* d = tape.GradTarget(out, &accumulate);
      for (int t = 0; t < twin.n_tokens; ++t) {
        for (int r = 0; r < int(out->cols); ++r) {
          y[size_t(t * twin.rows + begin + r)] = out->value[t * out->cols + r];
          d[t * out->cols + r] = static_cast<float>(dy[size_t(t * twin.rows + begin + r)]);
        }
      }
      begin += static_cast<int>(out->cols);
    }
    tape.Backward();
    dx.assign(x->grad, x->grad + x->size());
  }
  Floats a, b, gate, y, dx;
  std::vector<Floats> grads;  // of a, b, gate
};

TEST(LowRank, OpFollowsTheTwin) {
  const NaiveLowRank<double> twin = Twin({48, 64, 300}, 12);
  const Doubles dy = ToDoubles(Noise(48 * 300, 0.25f, 0, 15));
  const auto want = twin.Backward(dy);
  for (const auto& splits : {std::vector<int>{48}, {16, 32}}) {
    for (float ramp : {1.0f, 0.5f}) {
      const OpRun got(twin, ramp, true, dy, splits);
      ExpectClose(got.y, twin.Forward(), 1e-5, "y");
      ExpectClose(got.grads[0], want.a, 2e-5, "A");
      ExpectClose(got.grads[1], want.b, 2e-5, "B");
      ExpectClose(got.dx, want.x, 1e-5, "x");
      ExpectClose(got.grads[2], {want.scale * ramp}, 2e-5, "gate");
    }
  }
  EXPECT_EQ(OpRun(twin, 1.0f, false, dy, {48}).grads[2][0], 0.0f) << "a frozen gate";
}

// Training and serving compute the same correction, summed in another order.
TEST(LowRank, OpEqualsServing) {
  const NaiveLowRank<double> twin = Twin({32, 128, 20}, 20);
  const OpRun trained(twin, 1.0f, true, Doubles(32 * 20), {32});
  const Floats served = Serve(BestIsa(), twin, 100);
  for (int t = 0; t < 20; ++t) {
    for (int r = 0; r < 32; ++r) {
      const float y = served[size_t(t * 35 + r)];
      EXPECT_NEAR(trained.y[size_t(t * 32 + r)], y, 2e-6 * (1 + std::abs(y)));
    }
  }
}

}  // namespace
}  // namespace chimera
