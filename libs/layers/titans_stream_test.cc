// One stream, token by token: against the naive twin, as a token tree, in a loop, frozen, and for
// as long as you like.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>

#include "gtest/gtest.h"
#include "layers/titans.h"
#include "layers/titans_slab.h"
#include "layers/titans_testing.h"

namespace chimera {
namespace {

TitansShape Shape(int heads, int kv_heads, int slots, int window, bool decay = false) {
  return {.n_heads = heads,
          .kv_heads = kv_heads,
          .persistent_slots = slots,
          .window_len = window,
          .decay_linear = decay};
}

double Cosine(const Floats& a, const Doubles& b) {
  const Doubles x = ToDoubles(a);
  return Inner(x, b) / std::sqrt(Inner(x, x) * Inner(b, b));
}

TEST(TitansStreamTest, EqualsTheNaiveTwinWithAndWithoutTheRoundingOfItsRing) {
  for (const TitansShape& shape :
       {Shape(2, 1, 5, 32), Shape(3, 3, 64, 16), Shape(4, 2, 17, 1024), Shape(1, 1, 0, 16)}) {
    const TitansFixture fixture(shape, 1);
    const int n = 90;
    const Floats in = fixture.In(n, 50), gates = fixture.Gates(n, 51);
    TitansStream stream(fixture);
    const Floats y = stream.Run(in, gates);
    auto naive = fixture.Naive(in, gates);
    naive.Forward();
    EXPECT_GT(Cosine(y, naive.y), 0.999) << "int8 ring against float ring";
    AdoptRounding(stream, &naive);
    ExpectClose(y, naive.y, 1e-5, "heads " + std::to_string(shape.n_heads));
    EXPECT_EQ(TitansPosition(stream.memory()), n);
  }
}

TEST(TitansStreamTest, DecayedLinearCoreEqualsTheNaiveTwin) {
  const TitansFixture fixture(Shape(4, 2, 9, 16, true), 2);
  const int n = 70;
  const Floats in = fixture.In(n, 52), gates = fixture.Gates(n, 53);
  TitansStream stream(fixture);
  const Floats y = stream.Run(in, gates);
  auto naive = fixture.Naive(in, gates);
  naive.Forward();
  ExpectClose(y, naive.y, 1e-5, "y");
  auto without = fixture;
  std::fill(without.slot_v.begin(), without.slot_v.end(), 0.0f);
  EXPECT_NE(TitansStream(without).Run(in, gates), y) << "the slots are the first state";
}

// Off changes the result: memory, window, block tokens, slots.
TEST(TitansStreamTest, EveryPartActs) {
  const TitansFixture fixture(Shape(2, 1, 8, 16), 3);
  const int n = 80;
  const Floats in = fixture.In(n, 54), gates = fixture.Gates(n, 55);
  const Floats y = TitansStream(fixture).Run(in, gates);
  const auto differs_from = [&](const Floats& other, int token, const char* what) {
    const int at = token * fixture.shape.width();
    EXPECT_TRUE(std::equal(y.begin(), y.begin() + at, other.begin())) << what;
    EXPECT_FALSE(std::equal(y.begin() + at, y.end(), other.begin() + at)) << what;
  };
  differs_from(TitansStream(fixture, TitansUse::kFrozen).Run(in, gates), kTitansChunk, "memory");
  TitansFixture changed = fixture;
  changed.shape.window_len = 32;
  differs_from(TitansStream(changed).Run(in, gates), 16, "window");
  changed = fixture;
  std::fill(changed.w_kv.begin(), changed.w_kv.end(), 0.0f);
  differs_from(TitansStream(changed).Run(in, gates), kTitansChunk, "block tokens");
  changed = fixture;
  changed.shape.persistent_slots = 7;
  differs_from(TitansStream(changed).Run(in, gates), 0, "slots");
  changed = fixture;
  changed.shape.momentum_guard = false;
  differs_from(TitansStream(changed).Run(in, gates), kTitansChunk, "guard");
}

TEST(TitansStreamTest, FrozenMemoryKeepsItsFirstWeights) {
  const TitansFixture fixture(Shape(2, 2, 4, 16), 4);
  TitansStream stream(fixture, TitansUse::kFrozen);
  stream.Run(fixture.In(50, 56), fixture.Gates(50, 57));
  for (int h = 0; h < 2; ++h) {
    const float* fast = stream.memory() + TitansFastAt(h);
    ExpectSame(Floats(fast, fast + kHeadState),
               Floats(&fixture.w1[h * kHeadState], &fixture.w1[h * kHeadState] + kHeadState), "W1");
  }
  EXPECT_EQ(TitansPosition(stream.memory()), 50);
}

// A tree of nodes over one block: parents[i] < i, -1 for a child of the last committed token.
TEST(TitansTreeTest, NodesEqualTheStepsOfTheirPathBitForBitAndLeaveTheStateAlone) {
  for (const bool decay : {false, true}) {
    const TitansFixture fixture(Shape(4, 2, 6, 32, decay), 5);
    const TitansLayer layer = fixture.layer();
    const TitansShape& s = fixture.shape;
    for (const int start : {0, 5, 48, 51, 70}) {
      TitansStream trunk(fixture);
      trunk.Run(fixture.In(start, 60), fixture.Gates(start, 61));
      const std::vector<int> parents = {-1, 0, 1, 1, 0, 4, -1, 6, 3};
      const int nodes = static_cast<int>(parents.size());
      const Floats in = fixture.In(nodes, 62), gates = fixture.Gates(nodes, 63);

      // The boundary work of the window, then every node.
      TitansStream tree = trunk;
      TitansBegin(layer, TitansUse::kWrite, start, tree.memory(), tree.ring());
      Floats mean(s.width()), k(s.kv_width()), v(s.kv_width());
      if (TitansBlockDue(s, start, tree.ring(), mean.data())) {
        fixture.ProjectKv(mean.data(), k.data(), v.data());
        TitansPutBlock(s, k.data(), v.data(), tree.ring());
      }
      const Floats before = tree.state();
      std::vector<Floats> records(nodes, Floats(TitansNodeFloats(s))), y(nodes, Floats(s.width()));
      std::vector<std::vector<int>> paths(nodes);
      for (int i = 0; i < nodes; ++i) {
        if (parents[i] >= 0) {
          paths[i] = paths[parents[i]];
          paths[i].push_back(parents[i]);
        }
        const int depth = static_cast<int>(paths[i].size());
        std::vector<const float*> ancestors;
        for (const int a : paths[i]) ancestors.push_back(records[a].data());
        const float* own = &in[i * s.in_width()];
        TitansPrepare(layer, start + depth, own, &gates[i * 3 * s.n_heads], records[i].data());
        const TitansQuery query = {.position = start + depth,
                                   .in = own,
                                   .memory = tree.memory(),
                                   .ring = tree.ring(),
                                   .path = ancestors.data(),
                                   .n_path = depth};
        for (int kv = s.kv_heads - 1; kv >= 0; --kv) {
          TitansAttend(layer, query, kv, 1, records[i].data(), y[i].data());
        }
      }
      ExpectSame(tree.state(), before, "the state of a tree pass");
      for (int i = 0; i < nodes; ++i) {
        TitansStream steps = trunk, replay = tree;
        std::vector<int> path = paths[i];
        path.push_back(i);
        Floats last;
        for (size_t j = 0; j < path.size(); ++j) {
          last = steps.Step(&in[path[j] * s.in_width()], &gates[path[j] * 3 * s.n_heads]);
          TitansCommit(layer, TitansUse::kWrite, start + static_cast<int>(j),
                       records[path[j]].data(), replay.memory(), replay.ring());
        }
        ExpectSame(y[i], last, "node " + std::to_string(i));
        ExpectSame(replay.state(), steps.state(), "commit of node " + std::to_string(i));
      }
    }
  }
}

// Iteration 2 reads the memory as it stood when the write chunk began, has a ring of its own, and
// may miss tokens.
TEST(TitansLoopTest, LaterIterationsReadTheMemoryOfTheFirstAndMayHold) {
  const TitansFixture fixture(Shape(2, 1, 4, 32), 6);
  const TitansLayer layer = fixture.layer();
  const TitansShape& s = fixture.shape;
  const int n = 70;
  const Floats in = fixture.In(n, 70), gates = fixture.Gates(n, 71);
  const Floats in2 = fixture.In(n, 72), gates2 = fixture.Gates(n, 73);
  TitansStream first(fixture);
  Floats ring(TitansRingFloats(s)), block(3 * s.width()), node(TitansNodeFloats(s)), y(s.width());
  auto naive = fixture.Naive(in, gates);
  naive.Forward();
  int64_t ran = 0;
  for (int t = 0; t < n; ++t) {
    first.Step(&in[t * s.in_width()], &gates[t * 3 * s.n_heads]);
    if (t % 7 == 3 || (t >= 32 && t < 48)) continue;  // held; one whole block as well
    const Floats memory = first.state();
    TitansStep(
        layer, TitansUse::kReadOnly, t, &in2[t * s.in_width()], &gates2[t * 3 * s.n_heads],
        [&](const float* mean, float* k, float* v) { fixture.ProjectKv(mean, k, v); }, block.data(),
        node.data(), first.memory(), ring.data(), y.data());
    ExpectSame(first.state(), memory, "memory of iteration 1");
    ++ran;
    // r stands at the front of the node: M(qm) with the weights of the chunk's start.
    const NaiveTitansMemory<double> twin{kHeadDim, kHeadDim};
    for (int h = 0; h < 2; ++h) {
      const Floats raw(&in2[t * s.in_width() + 3 * s.width() + h * kHeadDim],
                       &in2[t * s.in_width() + 3 * s.width() + h * kHeadDim] + kHeadDim);
      Doubles unit(kHeadDim), r(kHeadDim);
      NaiveL2Norm(ToDoubles(raw).data(), kHeadDim, unit.data());
      twin.Read(naive.states[t / kTitansChunk * 2 + h], unit.data(), r.data());
      ExpectClose(Floats(&node[h * kHeadDim], &node[h * kHeadDim] + kHeadDim), r, 1e-5, "r");
    }
  }
  int64_t held = 0;
  const TitansBank tokens = TitansTokenBank(s, ring.data());
  for (int at = 0; at < tokens.size(); ++at) held += tokens.number(at) > n - tokens.size();
  EXPECT_LT(held, 32);
  EXPECT_GT(ran, 40);
  ExpectFinite(y, "y");
  EXPECT_EQ(TitansBlockBank(s, ring.data()).number(2), 0) << "a block nobody ran is no block token";
  EXPECT_EQ(TitansBlockBank(s, ring.data()).number(1), 2);
}

TEST(TitansStreamTest, SurpriseIsTheGradientNormAndFiresOnTheUnexpected) {
  const TitansFixture fixture(Shape(2, 1, 4, 16), 7);
  const TitansShape& s = fixture.shape;
  const int n = 120;
  Floats in = fixture.In(n, 80);
  const Floats gates = fixture.Gates(n, 81);
  // Nearly the same token over and over, but for one.
  for (int t = 1; t < n; ++t) {
    for (int i = 0; i < s.in_width(); ++i) {
      in[t * s.in_width() + i] = in[i] + 0.05f * in[t * s.in_width() + i];
    }
  }
  for (int i = 0; i < s.width(); ++i) in[100 * s.in_width() + 2 * s.width() + i] *= -3;
  auto naive = fixture.Naive(in, gates);
  naive.Forward();
  TitansStream stream(fixture);
  double mean = 0, variance = 0;
  int fired = 0;
  for (int t = 0; t < n; ++t) {
    stream.Step(&in[t * s.in_width()], &gates[t * 3 * s.n_heads]);
    const TitansSurprise got = TitansSurpriseOf(stream.memory());
    double squares = 0;
    const NaiveTitansMemory<double> twin{kHeadDim, kHeadDim};
    for (int h = 0; h < 2; ++h) {
      squares += std::pow(twin.Surprise(naive.states[t / kTitansChunk * 2 + h],
                                        &naive.km[t * s.width() + h * kHeadDim],
                                        naive.At(t, 2 * s.width() + h * kHeadDim)),
                          2);
    }
    const double want = std::sqrt(squares), off = want - mean;
    EXPECT_NEAR(got.last, want, 1e-4 * (1 + want)) << t;
    EXPECT_EQ(got.fired, t >= 16 && off > 2 * std::sqrt(variance)) << t;
    fired += got.fired;
    if (t == 100) {
      EXPECT_TRUE(got.fired);
    }
    mean = t == 0 ? want : mean + 0.01 * off;
    variance = t == 0 ? 0 : 0.99 * (variance + 0.01 * off * off);
    EXPECT_NEAR(got.mean, mean, 1e-4 * (1 + mean));
    EXPECT_NEAR(got.variance, variance, 1e-3 * (1 + variance));
  }
  EXPECT_LE(fired, 6);
}

TEST(TitansStreamTest, TenThousandTokensKeepTimeAndStateConstant) {
  const TitansFixture fixture(Shape(2, 1, 64, 128), 8);
  const TitansShape& s = fixture.shape;
  const int n = 10 * 1024, period = 1024;
  const Floats in = fixture.In(period, 90), gates = fixture.Gates(period, 91);
  TitansStream stream(fixture);
  stream.state().resize(stream.state().size() + 64, 7.0f);  // nothing may be written there
  std::vector<std::vector<double>> spent(n / period);
  for (int t = 0; t < n; ++t) {
    stream.Forget();
    const int at = t * 7 % period;
    const auto begin = std::chrono::steady_clock::now();
    const Floats y = stream.Step(&in[at * s.in_width()], &gates[at * 3 * s.n_heads]);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    spent[t / period].push_back(time.count());
    if (t % 97 == 0) ExpectFinite(y, "y");
  }
  ExpectFinite(Floats(stream.memory(), stream.ring()), "memory");
  EXPECT_TRUE(std::all_of(stream.state().end() - 64, stream.state().end(),
                          [](float x) { return x == 7.0f; }));
  const auto median = [](std::vector<double> x) {
    std::nth_element(x.begin(), x.begin() + x.size() / 2, x.end());
    return x[x.size() / 2];
  };
  // The first 1,024 tokens fill the ring and the block tokens; from then on every token costs the
  // same. The bound allows for a busy machine.
  EXPECT_LT(median(spent.back()), 2 * median(spent[1]));
}

}  // namespace
}  // namespace chimera
