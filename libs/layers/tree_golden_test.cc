// Tree forms against the oracle: the algebraic twins in double, the walks in float.
#include <cmath>

#include "gtest/gtest.h"
#include "layers/gated_delta_tree_naive.h"
#include "layers/kernel_testing.h"
#include "layers/mlstm_tree_naive.h"
#include "layers/short_conv.h"
#include "layers/tree_walk.h"

namespace chimera {
namespace {

constexpr int kNodes = 11, kHeads = 2, kSmall = 8;
constexpr int kWidth = kHeads * kHeadDim;
constexpr int kLeaves[] = {9, 10};

TokenTree GoldenTree(const char* file, const char* golden_case) {
  const Doubles data = Golden(file, golden_case, "parent", "");
  const std::vector<int32_t> parents(data.begin(), data.end());
  return {parents.data(), static_cast<int>(parents.size())};
}

// Heads of 8 inside heads of 64: rows x [outer][kHeads][8], and matrices [kHeads][8][8].
Floats Widen(const Doubles& x, double scale) {
  Floats out(x.size() / kSmall * kHeadDim);
  for (size_t i = 0; i < x.size(); ++i) {
    out[i / kSmall * kHeadDim + i % kSmall] = static_cast<float>(x[i] * scale);
  }
  return out;
}
Floats WidenState(const Doubles& x) {
  Floats out(x.size() / (kSmall * kSmall) * kHeadState);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t head = i / (kSmall * kSmall), row = i / kSmall % kSmall;
    out[head * kHeadState + row * kHeadDim + i % kSmall] = static_cast<float>(x[i]);
  }
  return out;
}
Doubles Narrow(const Floats& x) {
  Doubles out;
  for (size_t at = 0; at < x.size(); at += kHeadDim) {
    out.insert(out.end(), x.begin() + at, x.begin() + at + kSmall);
  }
  return out;
}
Doubles NarrowState(const Floats& x) {
  Doubles out;
  for (size_t at = 0; at < x.size(); at += kHeadState) {
    for (int row = 0; row < kSmall; ++row) {
      const auto from = x.begin() + at + row * kHeadDim;
      out.insert(out.end(), from, from + kSmall);
    }
  }
  return out;
}

TEST(TreeGoldenTest, GatedDelta) {
  const TokenTree tree = GoldenTree("gated_delta", "tree_d8");
  ASSERT_EQ(tree.n_nodes(), kNodes);
  const auto in = [](const char* name) { return Golden("gated_delta", "tree_d8", "in", name); };
  const Doubles o = Golden("gated_delta", "tree_d8", "out", "o");
  const Doubles end = Golden("gated_delta", "tree_d8", "out", "S");
  const int matrices = kHeads * kSmall * kSmall;
  for (int h = 0; h < kHeads; ++h) {
    const auto head = [&](const char* name, int inner) {
      return Slice(in(name), kHeads, h, inner);
    };
    const Doubles q = head("q", kSmall), k = head("k", kSmall), v = head("v", kSmall);
    const Doubles g = head("g", 1), beta = head("beta", 1), start = head("S0", kSmall * kSmall);
    const NaiveGatedDeltaTree<double> naive = {tree,     kSmall,   q.data(),   k.data(),
                                               v.data(), g.data(), beta.data()};
    Doubles got(q.size()), u(q.size());
    naive.Forward(start.data(), got.data(), u.data());
    ExpectClose(got, Slice(o, kHeads, h, kSmall), 1e-10, "naive o");
    for (int leaf = 0; leaf < 2; ++leaf) {
      Doubles state = start;
      naive.Commit(kLeaves[leaf], u.data(), state.data());
      const auto want = end.begin() + leaf * matrices + h * kSmall * kSmall;
      ExpectClose(state, Doubles(want, want + kSmall * kSmall), 1e-10, "naive S");
    }
  }
  const Floats q = Widen(in("q"), std::sqrt(8.0)), k = Widen(in("k"), 1), v = Widen(in("v"), 1);
  const Floats g = ToFloats(in("g")), beta = ToFloats(in("beta")), start = WidenState(in("S0"));
  for (const Isa isa : RunnableIsas()) {
    Floats got(q.size()), scratch(GatedDeltaTreeWalk::kScratchFloats);
    Floats factors(GatedDeltaTreeWalk::FactorFloats(kNodes, kHeads));
    const GatedDeltaTreeWalk walk(GatedDeltaFor(isa), tree, factors.data());
    walk.Run({q.data(), k.data(), v.data(), kWidth, g.data(), beta.data(), kHeads}, 0, kHeads,
             start.data(), got.data(), kWidth, scratch.data());
    ExpectClose(Narrow(got), o, 1e-5, "walk o");
    for (int leaf = 0; leaf < 2; ++leaf) {
      Floats state = start;
      walk.Commit(kLeaves[leaf], 0, kHeads, state.data());
      const auto want = end.begin() + leaf * matrices;
      ExpectClose(NarrowState(state), Doubles(want, want + matrices), 1e-5, "walk S");
    }
  }
}

struct MlstmLeaf {
  Doubles c, n, m;
};

// Leaf `leaf` of the golden file, all heads.
MlstmLeaf GoldenMlstmLeaf(int leaf) {
  const auto part = [&](const char* name, int size) {
    const Doubles all = Golden("mlstm", "tree_d8", "out", name);
    return Doubles(all.begin() + leaf * size, all.begin() + (leaf + 1) * size);
  };
  return {part("C", kHeads * kSmall * kSmall), part("n", kHeads * kSmall), part("m_last", kHeads)};
}

TEST(TreeGoldenTest, MlstmTwin) {
  const TokenTree tree = GoldenTree("mlstm", "tree_d8");
  const auto in = [](const char* name) { return Golden("mlstm", "tree_d8", "in", name); };
  const auto out = [](const char* name) { return Golden("mlstm", "tree_d8", "out", name); };
  for (int h = 0; h < kHeads; ++h) {
    const auto head = [&](const char* name, int inner) {
      return Slice(in(name), kHeads, h, inner);
    };
    const Doubles q = head("q", kSmall), k = head("k", kSmall), v = head("v", kSmall);
    const Doubles i = head("i", 1), f = head("f", 1), c0 = head("C0", kSmall * kSmall);
    const Doubles n0 = head("n0", kSmall), m0 = head("m0", 1);
    const NaiveMlstmTree<double> naive = {tree,     kSmall,   q.data(), k.data(),
                                          v.data(), i.data(), f.data()};
    Doubles got(q.size()), m(kNodes);
    naive.Forward(c0.data(), n0.data(), m0[0], got.data(), m.data());
    ExpectClose(got, Slice(out("h"), kHeads, h, kSmall), 1e-10, "h");
    ExpectClose(m, Slice(out("m"), kHeads, h, 1), 1e-10, "m");
    for (int leaf = 0; leaf < 2; ++leaf) {
      const MlstmLeaf want = GoldenMlstmLeaf(leaf);
      Doubles c = c0, n = n0, frame = m0;
      naive.Commit(kLeaves[leaf], c.data(), n.data(), frame.data());
      ExpectClose(c, Slice(want.c, kHeads, h, kSmall * kSmall), 1e-10, "C");
      ExpectClose(n, Slice(want.n, kHeads, h, kSmall), 1e-10, "n");
      ExpectClose(frame, Slice(want.m, kHeads, h, 1), 1e-10, "m");
    }
  }
}

TEST(TreeGoldenTest, MlstmWalk) {
  const TokenTree tree = GoldenTree("mlstm", "tree_d8");
  const auto in = [](const char* name) { return Golden("mlstm", "tree_d8", "in", name); };
  const Floats q = Widen(in("q"), std::sqrt(8.0)), k = Widen(in("k"), 1), v = Widen(in("v"), 1);
  const Floats i = ToFloats(in("i")), f = ToFloats(in("f"));
  for (const Isa isa : RunnableIsas()) {
    Floats c0 = WidenState(in("C0")), n0 = Widen(in("n0"), 1), m0 = ToFloats(in("m0"));
    Floats got(q.size()), scratch(MlstmTreeWalk::kScratchFloats);
    Floats factors(MlstmTreeWalk::FactorFloats(kNodes, kHeads));
    const MlstmTreeWalk walk(MlstmFor(isa), tree, factors.data());
    walk.Run({q.data(), k.data(), v.data(), kWidth, i.data(), f.data(), kHeads}, 0, kHeads,
             {c0.data(), n0.data(), m0.data()}, got.data(), kWidth, scratch.data());
    ExpectClose(Narrow(got), Golden("mlstm", "tree_d8", "out", "h"), 1e-5, "h");
    for (int leaf = 0; leaf < 2; ++leaf) {
      const MlstmLeaf want = GoldenMlstmLeaf(leaf);
      Floats c = c0, n = n0, m = m0;
      walk.Commit(kLeaves[leaf], 0, kHeads, {c.data(), n.data(), m.data()});
      ExpectClose(NarrowState(c), want.c, 1e-5, "C");
      ExpectClose(Narrow(n), want.n, 1e-5, "n");
      ExpectClose(m, want.m, 1e-5, "m");
    }
  }
}

TEST(TreeGoldenTest, ShortConvolution) {
  const TokenTree tree = GoldenTree("gated_delta", "tree_conv4");
  const int channels = 6;
  const auto in = [](const char* name) {
    return ToFloats(Golden("gated_delta", "tree_conv4", "in", name));
  };
  const Floats x = in("x"), w = in("w"), start = in("state");
  const Doubles end = Golden("gated_delta", "tree_conv4", "out", "state");
  for (const Isa isa : RunnableIsas()) {
    Floats y(x.size());
    ShortConvFor(isa).tree(x.data(), channels, w.data(), start.data(), channels, tree.parents(),
                           kNodes, channels, y.data(), channels);
    ExpectClose(y, Golden("gated_delta", "tree_conv4", "out", "y"), 1e-5, "y");
    for (int leaf = 0; leaf < 2; ++leaf) {
      Floats state = start;
      CommitShortConv(tree, kLeaves[leaf], x.data(), channels, channels, state.data(), channels);
      const auto want = end.begin() + leaf * kConvState * channels;
      ExpectClose(state, Doubles(want, want + kConvState * channels), 0, "state");
    }
  }
}

}  // namespace
}  // namespace chimera
