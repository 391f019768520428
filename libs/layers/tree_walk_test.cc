// Tree walks against plain decoding, bit for bit, and against the algebraic one-pass forms.
#include "layers/tree_walk.h"

#include <cmath>
#include <limits>
#include <string>

#include "gtest/gtest.h"
#include "layers/gated_delta_naive.h"
#include "layers/gated_delta_tree_naive.h"
#include "layers/kernel_testing.h"
#include "layers/mlstm_tree_naive.h"
#include "layers/short_conv.h"
#include "layers/tree_testing.h"

namespace chimera {
namespace {

constexpr int kD = kHeadDim, kHeads = 3, kWide = kHeads * kD;
constexpr int kStride = 4 * kWide + 5;  // rows of q, k, v, an output gate and padding
constexpr int kGateStride = 2 * kHeads + 1;
constexpr float kCanary = 3e33f;

TokenTree Make(const Parents& parents) {
  return {parents.data(), static_cast<int>(parents.size())};
}

// Rows of a window, q and k normalised, NaN wherever nobody may read; gates in a and b.
struct Window {
  explicit Window(int n, uint32_t seed)
      : rows(n * kStride, std::numeric_limits<float>::quiet_NaN()),
        gates(n * kGateStride, std::numeric_limits<float>::quiet_NaN()) {
    const Floats x = Noise(n * 3 * kWide, 1, 0.05f, seed), a = Noise(n * kHeads, 1, 0, seed + 1);
    const Floats b = Noise(n * kHeads, 0.5f, 0.5f, seed + 2);
    for (int i = 0; i < n; ++i) {
      for (int head = 0; head < 3 * kHeads; ++head) {
        const Doubles row(&x[(i * 3 * kHeads + head) * kD], &x[(i * 3 * kHeads + head + 1) * kD]);
        Doubles unit = row;
        if (head < 2 * kHeads) NaiveL2Norm(row.data(), kD, unit.data());
        std::copy(unit.begin(), unit.end(), &rows[i * kStride + head * kD]);
      }
      std::copy(&a[i * kHeads], &a[(i + 1) * kHeads], &gates[i * kGateStride]);
      std::copy(&b[i * kHeads], &b[(i + 1) * kHeads], &gates[i * kGateStride + kHeads]);
    }
  }
  // g = a - 1 in [-2, 0), beta = b in [0, 1).
  GatedDeltaNodes Delta() {
    for (size_t at = 0; at < gates.size(); at += kGateStride) {
      for (int h = 0; h < kHeads; ++h) gates[at + h] -= 1;
    }
    return {rows.data(), rows.data() + kWide, rows.data() + 2 * kWide,
            kStride,     gates.data(),        gates.data() + kHeads,
            kGateStride};
  }
  MlstmNodes Mlstm() {
    for (size_t at = 0; at < gates.size(); at += kGateStride) {
      for (int h = 0; h < 2 * kHeads; ++h) gates[at + h] *= 5;
    }
    return {rows.data(), rows.data() + kWide, rows.data() + 2 * kWide,
            kStride,     gates.data(),        gates.data() + kHeads,
            kGateStride};
  }
  Floats rows, gates;
};

struct MlstmSlab {
  MlstmSlab() : c(Noise(kHeads * kHeadState, 1, 0, 7)), n(Noise(kWide, 1, 0, 8)), m(kHeads, 0.5f) {}
  MlstmState view() { return {c.data(), n.data(), m.data()}; }
  Floats c, n, m;
};

Floats Delta0() { return Noise(kHeads * kHeadState, 1, 0, 6); }

// One token of plain decoding, all heads; returns its output.
Floats StepDelta(Isa isa, const GatedDeltaNodes& x, int node, Floats* states) {
  Floats o(kWide);
  for (int h = 0; h < kHeads; ++h) {
    const int64_t at = node * x.stride + h * kD, gate = node * x.gate_stride + h;
    GatedDeltaFor(isa).step(&(*states)[h * kHeadState], x.q + at, x.k + at, x.v + at, x.g[gate],
                            x.beta[gate], &o[h * kD]);
  }
  return o;
}
Floats StepMlstm(Isa isa, const MlstmNodes& x, int node, MlstmSlab* s) {
  Floats out(kWide);
  for (int h = 0; h < kHeads; ++h) {
    const int64_t at = node * x.stride + h * kD, gate = node * x.gate_stride + h;
    MlstmFor(isa).step(&s->c[h * kHeadState], &s->n[h * kD], &s->m[h], x.q + at, x.k + at, x.v + at,
                       x.i[gate], x.f[gate], &out[h * kD]);
  }
  return out;
}

// Outputs of a walk: rows of kWide inside rows of kStride, canaries between and one row behind.
Floats Unpack(const Floats& out, int n) {
  Floats rows;
  for (int i = 0; i < n; ++i) {
    rows.insert(rows.end(), &out[i * kStride], &out[i * kStride] + kWide);
    for (int j = kWide; j < kStride; ++j) EXPECT_EQ(out[i * kStride + j], kCanary);
  }
  for (size_t at = size_t(n) * kStride; at < out.size(); ++at) EXPECT_EQ(out[at], kCanary);
  return rows;
}

Floats RunDelta(const GatedDeltaTreeWalk& walk, const TokenTree& tree, const GatedDeltaNodes& x,
                const Floats& states) {
  Floats out((tree.n_nodes() + 1) * kStride, kCanary), scratch(GatedDeltaTreeWalk::kScratchFloats);
  walk.Run(x, 1, kHeads, states.data(), out.data(), kStride, scratch.data());  // heads in any order
  walk.Run(x, 0, 1, states.data(), out.data(), kStride, scratch.data());
  return Unpack(out, tree.n_nodes());
}
Floats RunMlstm(const MlstmTreeWalk& walk, const TokenTree& tree, const MlstmNodes& x,
                MlstmSlab* s) {
  Floats out((tree.n_nodes() + 1) * kStride, kCanary), scratch(MlstmTreeWalk::kScratchFloats);
  walk.Run(x, 1, kHeads, s->view(), out.data(), kStride, scratch.data());
  walk.Run(x, 0, 1, s->view(), out.data(), kStride, scratch.data());
  return Unpack(out, tree.n_nodes());
}

Floats Row(const Floats& rows, int i) { return Floats(&rows[i * kWide], &rows[i * kWide] + kWide); }

TEST(GatedDeltaTreeTest, EveryPathOfEveryTreeIsPlainDecoding) {
  Window window(kTreeNodesMax, 1);
  const GatedDeltaNodes x = window.Delta();
  for (const Parents& parents : SampleTrees()) {
    const TokenTree tree = Make(parents);
    const std::string what = std::to_string(tree.n_nodes()) + " nodes";
    for (const Isa isa : RunnableIsas()) {
      Floats factors(GatedDeltaTreeWalk::FactorFloats(tree.n_nodes(), kHeads) + 1, kCanary);
      const GatedDeltaTreeWalk walk(GatedDeltaFor(isa), tree, factors.data());
      const Floats states = Delta0();
      const Floats o = RunDelta(walk, tree, x, states);
      ExpectSame(states, Delta0(), "the committed state is only read");
      EXPECT_EQ(factors.back(), kCanary);
      for (int node = 0; node < tree.n_nodes(); ++node) {
        int8_t path[kTreeNodesMax];
        const int length = tree.Path(node, path);
        Floats plain = states, want, committed = states;
        for (int j = 0; j < length; ++j) want = StepDelta(isa, x, path[j], &plain);
        ExpectSame(Row(o, node), want, what + " o");
        walk.Commit(node, 0, 2, committed.data());
        walk.Commit(node, 2, kHeads, committed.data());
        ExpectSame(committed, plain, what + " S");
      }
    }
  }
}

TEST(MlstmTreeTest, EveryPathOfEveryTreeIsPlainDecoding) {
  Window window(kTreeNodesMax, 2);
  const MlstmNodes x = window.Mlstm();
  for (const Parents& parents : SampleTrees()) {
    const TokenTree tree = Make(parents);
    const std::string what = std::to_string(tree.n_nodes()) + " nodes";
    for (const Isa isa : RunnableIsas()) {
      Floats factors(MlstmTreeWalk::FactorFloats(tree.n_nodes(), kHeads) + 1, kCanary);
      const MlstmTreeWalk walk(MlstmFor(isa), tree, factors.data());
      MlstmSlab states;
      const Floats h = RunMlstm(walk, tree, x, &states);
      ExpectSame(states.c, MlstmSlab().c, "the committed state is only read");
      ExpectSame(states.n, MlstmSlab().n, "the committed state is only read");
      ExpectSame(states.m, MlstmSlab().m, "the committed state is only read");
      EXPECT_EQ(factors.back(), kCanary);
      for (int node = 0; node < tree.n_nodes(); ++node) {
        int8_t path[kTreeNodesMax];
        const int length = tree.Path(node, path);
        MlstmSlab plain, committed;
        Floats want;
        for (int j = 0; j < length; ++j) want = StepMlstm(isa, x, path[j], &plain);
        ExpectSame(Row(h, node), want, what + " h");
        walk.Commit(node, 0, 2, committed.view());
        walk.Commit(node, 2, kHeads, committed.view());
        ExpectSame(committed.c, plain.c, what + " C");
        ExpectSame(committed.n, plain.n, what + " n");
        ExpectSame(committed.m, plain.m, what + " m");
      }
    }
  }
}

TEST(ShortConvTreeTest, EveryPathOfEveryTreeIsPlainDecoding) {
  const int n = 37, x_stride = 40, y_stride = 50;
  const Floats x = Noise(kTreeNodesMax * x_stride, 1, 0, 1), w = Noise(4 * n, 1, 0, 2);
  const Floats start = Noise(3 * x_stride, 1, 0, 3);
  for (const Parents& parents : SampleTrees()) {
    const TokenTree tree = Make(parents);
    for (const Isa isa : RunnableIsas()) {
      Floats y((tree.n_nodes() + 1) * y_stride, kCanary);
      ShortConvFor(isa).tree(x.data(), x_stride, w.data(), start.data(), x_stride, tree.parents(),
                             tree.n_nodes(), n, y.data(), y_stride);
      for (int node = 0; node < tree.n_nodes(); ++node) {
        int8_t path[kTreeNodesMax];
        const int length = tree.Path(node, path);
        Floats plain = start, committed = start, want(y_stride, kCanary);
        for (int j = 0; j < length; ++j) {
          ShortConvFor(isa).steps(&x[path[j] * x_stride], 0, 1, w.data(), plain.data(), x_stride, n,
                                  want.data());
        }
        ExpectSame(Floats(&y[node * y_stride], &y[(node + 1) * y_stride]), want, "y and padding");
        CommitShortConv(tree, node, x.data(), x_stride, n, committed.data(), x_stride);
        ExpectSame(committed, plain, "state and padding");
      }
      EXPECT_EQ(y[tree.n_nodes() * y_stride], kCanary);
    }
  }
}

TEST(TreeWalkTest, OutputsMayReplaceTheInputs) {
  const TokenTree tree = Make(LevelParents(4, 5, 3));
  for (const int part : {0, 1, 2}) {  // over q, k, v
    Window delta(tree.n_nodes(), 3), mlstm(tree.n_nodes(), 4);
    const GatedDeltaNodes x = delta.Delta();
    const MlstmNodes y = mlstm.Mlstm();
    Floats factors(MlstmTreeWalk::FactorFloats(tree.n_nodes(), kHeads));
    Floats scratch(MlstmTreeWalk::kScratchFloats);
    const GatedDeltaTreeWalk walk(GatedDelta(), tree, factors.data());
    const MlstmTreeWalk mlstm_walk(Mlstm(), tree, factors.data());
    const Floats states = Delta0(), want = RunDelta(walk, tree, x, states);
    MlstmSlab slab;
    const Floats h_want = RunMlstm(mlstm_walk, tree, y, &slab);
    walk.Run(x, 0, kHeads, states.data(), &delta.rows[part * kWide], kStride, scratch.data());
    mlstm_walk.Run(y, 0, kHeads, slab.view(), &mlstm.rows[part * kWide], kStride, scratch.data());
    for (int i = 0; i < tree.n_nodes(); ++i) {
      const float* o = &delta.rows[i * kStride + part * kWide];
      const float* h = &mlstm.rows[i * kStride + part * kWide];
      ExpectSame(Floats(o, o + kWide), Row(want, i), "o");
      ExpectSame(Floats(h, h + kWide), Row(h_want, i), "h");
    }
  }
}

// Verifying a tree as if it were a chain, and the other way round, must show.
TEST(TreeWalkTest, AChainIsATreeButATreeIsNoChain) {
  const int n = 12;
  Window window(n, 4);
  const GatedDeltaNodes x = window.Delta();
  const auto run = [&](const Parents& parents) {
    const TokenTree tree = Make(parents);
    Floats factors(GatedDeltaTreeWalk::FactorFloats(n, kHeads));
    return RunDelta({GatedDelta(), tree, factors.data()}, tree, x, Delta0());
  };
  const Floats chain = run(ChainParents(n));
  Floats plain = Delta0();
  for (int i = 0; i < n; ++i) {
    ExpectSame(Row(chain, i), StepDelta(BestIsa(), x, i, &plain), "chain");
  }
  Parents parents = ChainParents(n);
  parents[6] = 2;
  const Floats tree = run(parents);
  for (int i = 0; i < n; ++i) {
    EXPECT_EQ(Row(tree, i) == Row(chain, i), i < 6) << i;
  }
}

int g_reads = 0, g_writes = 0;

TEST(TreeWalkTest, PaysWhatTheTreeCountsAndNothingExtraForAChain) {
  GatedDeltaKernels counting = GatedDelta();
  counting.read = [](const float* state, const float* q, const float* k, const float* v, float g,
                     float beta, float* o, float* u) {
    ++g_reads;
    GatedDelta().read(state, q, k, v, g, beta, o, u);
  };
  counting.write = [](float* state, const float* k, const float* u, float g) {
    ++g_writes;
    GatedDelta().write(state, k, u, g);
  };
  Window window(kTreeNodesMax, 5);
  const GatedDeltaNodes x = window.Delta();
  for (const Parents& parents : SampleTrees()) {
    const TokenTree tree = Make(parents);
    Floats factors(GatedDeltaTreeWalk::FactorFloats(tree.n_nodes(), kHeads));
    const GatedDeltaTreeWalk walk(counting, tree, factors.data());
    g_reads = g_writes = 0;
    RunDelta(walk, tree, x, Delta0());
    EXPECT_EQ(g_reads, kHeads * tree.n_nodes());
    EXPECT_EQ(g_writes, kHeads * tree.walk_writes());
    if (tree.is_chain()) {
      EXPECT_EQ(g_writes, kHeads * (tree.n_nodes() - 1));
    }
  }
}

// The algebraic form and the walk are two evaluations of one thing.
TEST(TreeWalkTest, AgreesWithTheOnePassFormsInDouble) {
  for (const Parents& parents : SampleTrees()) {
    const TokenTree tree = Make(parents);
    const int n = tree.n_nodes();
    Window delta(n, 6), mlstm(n, 7);
    const GatedDeltaNodes x = delta.Delta();
    const MlstmNodes y = mlstm.Mlstm();
    const Floats states = Delta0();
    MlstmSlab slab;
    Floats factors(GatedDeltaTreeWalk::FactorFloats(n, kHeads));
    Floats mlstm_factors(MlstmTreeWalk::FactorFloats(n, kHeads));
    const GatedDeltaTreeWalk walk(GatedDelta(), tree, factors.data());
    const MlstmTreeWalk mlstm_walk(Mlstm(), tree, mlstm_factors.data());
    const Doubles o = ToDoubles(RunDelta(walk, tree, x, states));
    const Doubles h = ToDoubles(RunMlstm(mlstm_walk, tree, y, &slab));
    const auto rows = [&](const float* from, int64_t stride, int size) {
      Doubles out;
      for (int i = 0; i < n; ++i)
        out.insert(out.end(), from + i * stride, from + i * stride + size);
      return out;
    };
    for (int head = 0; head < kHeads; ++head) {
      const int at = head * kD;
      const Doubles q = rows(x.q + at, kStride, kD), k = rows(x.k + at, kStride, kD);
      const Doubles v = rows(x.v + at, kStride, kD), g = rows(x.g + head, kGateStride, 1);
      const Doubles beta = rows(x.beta + head, kGateStride, 1);
      const NaiveGatedDeltaTree<double> twin = {tree,     kD,       q.data(),   k.data(),
                                                v.data(), g.data(), beta.data()};
      const Doubles start(&states[head * kHeadState], &states[head * kHeadState] + kHeadState);
      Doubles want(q.size()), u(q.size());
      twin.Forward(start.data(), want.data(), u.data());
      ExpectClose(Slice(o, kHeads, head, kD), want, 1e-5, "gated delta");

      const Doubles mq = rows(y.q + at, kStride, kD), mk = rows(y.k + at, kStride, kD);
      const Doubles mv = rows(y.v + at, kStride, kD), i = rows(y.i + head, kGateStride, 1);
      const Doubles f = rows(y.f + head, kGateStride, 1);
      const NaiveMlstmTree<double> mlstm_twin = {tree,      kD,       mq.data(), mk.data(),
                                                 mv.data(), i.data(), f.data()};
      const Doubles c(&slab.c[head * kHeadState], &slab.c[head * kHeadState] + kHeadState);
      const Doubles vector(&slab.n[at], &slab.n[at] + kD);
      Doubles m(n);
      mlstm_twin.Forward(c.data(), vector.data(), slab.m[head], want.data(), m.data());
      ExpectClose(Slice(h, kHeads, head, kD), want, 1e-5, "mlstm");
    }
  }
}

// A.8 i: the algebraic forms against the recurrence along each path, any precision.
template <typename T>
void ExpectOnePassEqualsRecurrence(const Parents& parents, double tol) {
  const int d = 6, n = static_cast<int>(parents.size());
  const TokenTree tree = Make(parents);
  const auto noise = [](int64_t size, float scale, float offset, uint32_t seed) {
    const Floats x = Noise(size, scale, offset, seed);
    return std::vector<T>(x.begin(), x.end());
  };
  const auto q = noise(n * d, 0.4f, 0, 1), k = noise(n * d, 0.4f, 0, 2), v = noise(n * d, 1, 0, 3);
  const auto g = noise(n, 1, -1, 4), beta = noise(n, 0.5f, 0.5f, 5);
  const auto i = noise(n, 5, 0, 6), f = noise(n, 5, 0, 7);
  const auto start = noise(d * d, 1, 0, 8), vector = noise(d, 1, 0, 9);
  std::vector<T> o(n * d), u(n * d), h(n * d), m(n);
  const NaiveGatedDeltaTree<T> delta = {tree,     d,        q.data(),   k.data(),
                                        v.data(), g.data(), beta.data()};
  delta.Forward(start.data(), o.data(), u.data());
  const NaiveMlstmTree<T> mlstm = {tree, d, q.data(), k.data(), v.data(), i.data(), f.data()};
  mlstm.Forward(start.data(), vector.data(), T(0.5), h.data(), m.data());
  const auto as_double = [](const std::vector<T>& x) { return Doubles(x.begin(), x.end()); };
  for (int node = 0; node < n; ++node) {
    auto delta_state = start, c = start, nv = vector, want = std::vector<T>(d), hw = want;
    T frame = T(0.5);
    int8_t path[kTreeNodesMax];
    const int length = tree.Path(node, path);
    for (int j = 0; j < length; ++j) {
      const int at = path[j] * d;
      NaiveGatedDelta<T>{1, d, &q[at], &k[at], &v[at], &g[path[j]], &beta[path[j]]}.Forward(
          delta_state.data(), want.data());
      NaiveMlstm<T>{1, d, &q[at], &k[at], &v[at], &i[path[j]], &f[path[j]]}.Forward(
          c.data(), nv.data(), &frame, hw.data());
    }
    const auto row = [&](const std::vector<T>& x) {
      return as_double({x.begin() + node * d, x.begin() + (node + 1) * d});
    };
    ExpectClose(row(o), as_double(want), tol, "gated delta o");
    ExpectClose(row(h), as_double(hw), tol, "mlstm h");
    EXPECT_NEAR(m[node], frame, tol * (1 + std::abs(frame)));
    auto s1 = start, c1 = start, n1 = vector;
    T m1 = T(0.5);
    delta.Commit(node, u.data(), s1.data());
    mlstm.Commit(node, c1.data(), n1.data(), &m1);
    ExpectClose(as_double(s1), as_double(delta_state), tol, "gated delta S");
    ExpectClose(as_double(c1), as_double(c), tol, "mlstm C");
    ExpectClose(as_double(n1), as_double(nv), tol, "mlstm n");
  }
}

TEST(TreeOnePassTest, EqualsTheRecurrenceAlongEachPath) {
  for (const Parents& parents : SampleTrees()) {
    ExpectOnePassEqualsRecurrence<double>(parents, 1e-12);
    ExpectOnePassEqualsRecurrence<float>(parents, 1e-4);
  }
}

}  // namespace
}  // namespace chimera
