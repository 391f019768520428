#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "base/philox.h"
#include "tensor/kernels.h"
#include "tensor/matmul.h"
#include "tensor/tape.h"
#include "tensor/vec.h"

namespace chimera {
namespace {

std::vector<float> Random(int64_t n, uint32_t stream) {
  const PhiloxStream rng(7, RngPurpose::kWeightInit, stream);
  std::vector<float> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = rng.Uniform(i) * 2.0f - 1.0f;
  return x;
}

std::vector<Isa> RunnableIsas() {
  std::vector<Isa> isas;
  for (Isa isa : kEveryIsa) {
    if (Runs(isa)) isas.push_back(isa);
  }
  return isas;
}

TEST(Vec, FunctionsAreAccurate) {
  for (float x = -86.0f; x < 88.0f; x += 0.0173f) {
    const double d = x;
    EXPECT_NEAR(Exp1(x) / std::exp(d), 1.0, 4e-7) << x;
    EXPECT_NEAR(Sigmoid1(x) * (1.0 + std::exp(-d)), 1.0, 4e-7) << x;
    EXPECT_NEAR(Softplus1(x) / std::log1p(std::exp(d)), 1.0, 5e-7) << x;
    EXPECT_NEAR(Tanh1(x / 20) / std::tanh(static_cast<double>(x / 20)), 1.0, 4e-7) << x;
    const float e = Exp1(x);
    EXPECT_NEAR(Log1(e), std::log(static_cast<double>(e)), 4e-7 * (1.0 + std::abs(d))) << x;
  }
  EXPECT_EQ(Exp1(-200.0f), 0.0f);
  EXPECT_EQ(Tanh1(0.0f), 0.0f);
  EXPECT_TRUE(std::isfinite(Exp1(1000.0f)));
}

uint32_t BitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

// How often rounding in double first would give other bits.
int CheckFma(const std::vector<float>& a, const std::vector<float>& b,
             const std::vector<float>& c) {
  int differs = 0;
  for (size_t i = 0; i + 16 <= a.size(); i += 16) {
    const F16 sum = Fma(Load(&a[i]), Load(&b[i]), Load(&c[i]));
    for (size_t lane = 0; lane < 16; ++lane) {
      const float x = a[i + lane], y = b[i + lane], z = c[i + lane];
      const float want = std::fmaf(x, y, z), got = sum[lane];
      EXPECT_TRUE(std::isnan(want) ? std::isnan(got) : BitsOf(want) == BitsOf(got))
          << x << " * " << y << " + " << z << " is " << want << ", not " << got;
      const auto twice = static_cast<float>(static_cast<double>(x) * y + z);
      if (!std::isnan(want) && BitsOf(want) != BitsOf(twice)) ++differs;
    }
  }
  return differs;
}

// On the instruction set this file is compiled for, which has no such instruction on x86-64.
TEST(Vec, FmaRoundsOnce) {
  const PhiloxStream rng(7, RngPurpose::kWeightInit, 11);
  const auto bits = [&rng](size_t i) { return static_cast<uint32_t>(rng.Uniform(i) * 0x1p32); };
  const size_t n = 1 << 16;
  std::vector<float> a(n), b(n), c(n);
  for (size_t i = 0; i < n; ++i) {  // any floats at all
    const uint32_t any[3] = {bits(6 * i) ^ bits(6 * i + 1) >> 16,
                             bits(6 * i + 2) ^ bits(6 * i + 3) >> 16,
                             bits(6 * i + 4) ^ bits(6 * i + 5) >> 16};
    std::memcpy(&a[i], &any[0], 4);
    std::memcpy(&b[i], &any[1], 4);
    std::memcpy(&c[i], &any[2], 4);
  }
  CheckFma(a, b, c);
  for (size_t i = 0; i < n; ++i) {  // halfway between two floats, but for a little
    a[i] = static_cast<float>(4097 + 2 * (bits(2 * i) % 2048));
    b[i] = static_cast<float>(2049 + 2 * (bits(2 * i + 1) % 1024));
    c[i] = std::ldexp(i % 2 == 0 ? 1.0f : -1.0f, -static_cast<int>(i / 2 % 100));
  }
  EXPECT_GT(CheckFma(a, b, c), 1000);
  for (size_t i = 0; i < n; ++i) {  // below the normal floats: about half of their step
    const float x = 1.0f + rng.Uniform(i);
    a[i] = std::ldexp(x, -75);
    b[i] = std::ldexp(1.0f / x, -75);
    c[i] = std::ldexp(static_cast<float>(bits(i) % (1 << 23)), -149);
  }
  EXPECT_GT(CheckFma(a, b, c), 100);
  const float inf = INFINITY, most = 3.4028235e38f;
  const std::vector<float> x = {0, -0.0f, 0,     1,  1,    inf, inf, most,
                                2, 1,     -0.0f, -1, most, 1,   NAN, 0x1p-149f};
  const std::vector<float> y = {1, 1, -1, 1, 1, 1, 0, 2, most, inf, 0, 0, 1, 1, 1, 0x1p-149f};
  const std::vector<float> z = {0,  -0.0f, 0,     -1, 1,         -inf, 1, -most,
                                -1, -inf,  -0.0f, 0,  0x1p+103f, NAN,  1, 0x1p-149f};
  CheckFma(x, y, z);
}

// The matrix product against plain loops, in all orientations.
TEST(Matmul, EqualsLoops) {
  const int64_t m = 300, n = 33, k = 70;
  for (bool trans_a : {false, true}) {
    for (bool trans_b : {false, true}) {
      for (bool accumulate : {false, true}) {
        const auto a = Random(m * k, 1), b = Random(k * n, 2);
        auto c = Random(m * n, 3);
        auto want = c;
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < n; ++j) {
            double sum = accumulate ? static_cast<double>(c[static_cast<size_t>(i * n + j)]) : 0.0;
            for (int64_t t = 0; t < k; ++t) {
              sum += static_cast<double>(a[static_cast<size_t>(trans_a ? t * m + i : i * k + t)]) *
                     static_cast<double>(b[static_cast<size_t>(trans_b ? j * k + t : t * n + j)]);
            }
            want[static_cast<size_t>(i * n + j)] = static_cast<float>(sum);
          }
        }
        ExecContext exec(2);
        const MatmulShape shape{m, n,       k,       trans_a ? m : k, trans_b ? k : n,
                                n, trans_a, trans_b, accumulate};
        ParallelMatmul(&exec, shape, a.data(), b.data(), c.data());
        for (size_t i = 0; i < c.size(); ++i) ASSERT_NEAR(c[i], want[i], 1e-4) << i;
      }
    }
  }
}

TEST(Matmul, ThreadsDoNotChangeBits) {
  const int64_t m = 1000, n = 96, k = 200;
  const auto a = Random(m * k, 4), b = Random(k * n, 5);
  std::vector<uint16_t> a16(a.size()), b16(b.size());
  Kernels().to_bf16(a.data(), m * k, a16.data());
  Kernels().to_bf16(b.data(), k * n, b16.data());
  std::vector<float> f32[2], bf16[2];
  for (int threads : {1, 2}) {
    ExecContext exec(threads);
    const MatmulShape shape{m, n, k, k, n, n};
    const auto t = static_cast<size_t>(threads - 1);
    f32[t].resize(static_cast<size_t>(m * n));
    bf16[t].resize(static_cast<size_t>(m * n));
    ParallelMatmul(&exec, shape, a.data(), b.data(), f32[t].data());
    ParallelMatmulBf16(&exec, shape, a16.data(), b16.data(), bf16[t].data());
  }
  EXPECT_EQ(std::memcmp(f32[0].data(), f32[1].data(), f32[0].size() * 4), 0);
  EXPECT_EQ(std::memcmp(bf16[0].data(), bf16[1].data(), bf16[0].size() * 4), 0);
}

TEST(Kernels, SoftmaxAgainstDoubles) {
  const auto x = Random(37, 6);
  double sum = 0.0;
  for (float v : x) sum += std::exp(static_cast<double>(v));
  const float lse = Kernels().log_sum_exp(x.data(), 37);
  EXPECT_NEAR(lse, std::log(sum), 1e-6);
  std::vector<float> grad(37);
  Kernels().softmax_grad(x.data(), 37, lse, 5, 0.5f, grad.data());
  for (size_t i = 0; i < grad.size(); ++i) {
    const double p = std::exp(static_cast<double>(x[i])) / sum;
    EXPECT_NEAR(grad[i], 0.5 * (p - (i == 5 ? 1.0 : 0.0)), 1e-6);
  }
}

TEST(Kernels, EveryIsaGivesTheSameBits) {
  const auto x = Random(1003, 8);
  const auto g = Random(1003, 9);
  std::vector<float> reference;
  for (Isa isa : RunnableIsas()) {
    const TensorKernels& k = KernelsFor(isa);
    std::vector<float> w = x, m(1003, 0.1f), v(1003, 0.2f), s(1003);
    k.adamw({1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 2.0f, 3.0f, 0.7f}, 1003, w.data(), g.data(), m.data(),
            v.data());
    k.softmax_grad(x.data(), 1003, k.log_sum_exp(x.data(), 1003), 1, 1.0f, s.data());
    std::vector<float> all = w;
    all.insert(all.end(), m.begin(), m.end());
    all.insert(all.end(), v.begin(), v.end());
    all.insert(all.end(), s.begin(), s.end());
    all.push_back(static_cast<float>(k.sum_squares(x.data(), 1003)));
    if (reference.empty()) reference = all;
    EXPECT_EQ(std::memcmp(all.data(), reference.data(), all.size() * 4), 0) << IsaName(isa);
  }
}

TEST(Tape, RunsClosuresBackwardsAndSharesGradients) {
  ExecContext exec(1);
  Tape tape(&exec);
  Var* x = tape.New(2, 3);
  Var* y = tape.New(2, 3);
  std::vector<int> order;
  tape.OnBackward([&] { order.push_back(1); });
  tape.OnBackward([&] { order.push_back(2); });
  bool accumulate = true;
  float* grad = tape.GradTarget(y, &accumulate);
  EXPECT_FALSE(accumulate);
  for (int i = 0; i < 6; ++i) grad[i] = 1.0f;
  tape.PassGrad(y, x);
  EXPECT_EQ(x->grad, y->grad);
  tape.Backward();
  EXPECT_EQ(order, (std::vector<int>{2, 1}));
  tape.Reset();
  EXPECT_GT(tape.arena().reserved_bytes(), 0u);
}

// An op for the tests below: z = x * y element by element, with a buffer of its own.
Var* Multiply(Tape* tape, Var* x, Var* y) {
  Var* z = tape->New(x->rows, x->cols);
  float* saved = tape->arena().New<float>(2 * x->size());
  for (int64_t i = 0; i < x->size(); ++i) {
    saved[2 * i] = x->value[i];
    saved[2 * i + 1] = y->value[i];
    z->value[i] = x->value[i] * y->value[i];
  }
  tape->OnBackward([tape, x, y, z, saved] {
    for (const auto& [var, other] : {std::pair(x, 1), std::pair(y, 0)}) {
      bool accumulate = false;
      float* grad = tape->GradTarget(var, &accumulate);
      for (int64_t i = 0; i < z->size(); ++i) {
        const float d = z->grad[i] * saved[2 * i + other];
        grad[i] = accumulate ? grad[i] + d : d;
      }
    }
  });
  return z;
}

// Two inputs of the outside, one used twice and outside too, blocks in a block: the gradients are
// those of the ops run in place, and outlive the blocks they come from.
TEST(Tape, CheckpointsGiveTheSameGradients) {
  constexpr int64_t kCols = 1000;
  const auto a = Random(kCols, 21), b = Random(kCols, 22);
  std::vector<float> grads[2];
  int runs = 0;
  for (int checkpointed : {0, 1}) {
    ExecContext exec(1);
    Tape tape(&exec);
    Var* x = tape.New(1, kCols);
    Var* y = tape.New(1, kCols);
    std::copy(a.begin(), a.end(), x->value);
    std::copy(b.begin(), b.end(), y->value);
    const auto inner = [&tape, y](Var* at) {
      for (int i = 0; i < 8; ++i) at = Multiply(&tape, at, y);
      return at;
    };
    const auto outer = [&, checkpointed](Var* at) {
      ++runs;
      Var* first = Multiply(&tape, at, at);
      Var* second = checkpointed == 0
                        ? inner(first)
                        : tape.Checkpoint({first, y}, [inner, first] { return inner(first); });
      return Multiply(&tape, second, y);
    };
    Var* z = checkpointed == 0 ? outer(x) : tape.Checkpoint({x, y}, [&] { return outer(x); });
    Var* top = Multiply(&tape, z, y);  // y has a gradient already when the block adds to it
    bool unused = false;
    std::fill_n(tape.GradTarget(top, &unused), kCols, 1.0f);
    tape.Backward();
    grads[checkpointed].assign(x->grad, x->grad + kCols);
    grads[checkpointed].insert(grads[checkpointed].end(), y->grad, y->grad + kCols);
    // What is allocated next does not overwrite them.
    std::memset(tape.arena().Allocate(1 << 20), 0xff, 1 << 20);
    EXPECT_EQ(std::memcmp(grads[checkpointed].data(), x->grad, kCols * sizeof(float)), 0);
  }
  EXPECT_EQ(runs, 3) << "once in place; once forward and once backward as a block";
  EXPECT_EQ(std::memcmp(grads[0].data(), grads[1].data(), grads[0].size() * sizeof(float)), 0);
}

// A result that nobody's loss depends on is not run again.
TEST(Tape, CheckpointsWithoutAGradientAreSkipped) {
  ExecContext exec(1);
  Tape tape(&exec);
  Var* x = tape.New(1, 16);
  std::fill_n(x->value, 16, 2.0f);
  int runs = 0;
  Var* y = tape.Checkpoint({x}, [&] {
    ++runs;
    return Multiply(&tape, x, x);
  });
  EXPECT_EQ(y->value[3], 4.0f);
  tape.Backward();
  EXPECT_EQ(runs, 1);
  EXPECT_FALSE(x->has_grad);
}

TEST(Arena, RewindsToAMark) {
  Arena arena;
  void* before = arena.Allocate(100);
  const Arena::Mark mark = arena.Here();
  void* after = arena.Allocate(100);
  void* far = arena.Allocate(size_t{70} << 20);  // a chunk of its own
  EXPECT_FALSE(arena.IsAfter(mark, before));
  EXPECT_TRUE(arena.IsAfter(mark, after));
  EXPECT_TRUE(arena.IsAfter(mark, far));
  EXPECT_FALSE(arena.IsAfter(mark, &mark));
  EXPECT_FALSE(arena.IsAfter(mark, nullptr));
  const size_t peak = arena.peak_bytes();
  EXPECT_GT(peak, size_t{70} << 20);
  arena.Rewind(mark);
  EXPECT_EQ(arena.Allocate(64), after);
  EXPECT_EQ(arena.peak_bytes(), peak);
}

}  // namespace
}  // namespace chimera
