// Times the recurrent kernels on one core: chunk forms forward and backward, decode steps, and
// windows of a token tree with their commit.
// Prints the fastest of several runs, in microseconds a token for six heads.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "base/cpu.h"
#include "layers/gated_delta.h"
#include "layers/mlstm.h"
#include "layers/tree_testing.h"
#include "layers/tree_walk.h"

namespace chimera {
namespace {

constexpr int kTokens = 1024;
constexpr int kHeads = 6;
constexpr int kStride = kHeads * kHeadDim;

std::vector<float> Noise(size_t n, float scale, float offset) {
  std::vector<float> x(n);
  uint32_t state = 12345;
  for (float& value : x) {
    state = state * 1664525u + 1013904223u;
    value = offset + scale * (static_cast<float>(state >> 8) / 8388608.0f - 1.0f);
  }
  return x;
}

// The fastest of several runs, in microseconds a token.
template <typename Work>
double MicrosPerToken(const Work& work) {
  double best = 1e30;
  for (int run = 0; run < 15; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::micro> spent =
        std::chrono::steady_clock::now() - begin;
    best = std::fmin(best, spent.count() / kTokens);
  }
  return best;
}

struct Activations {
  std::vector<float> q = Noise(kTokens * kStride, 0.2f, 0.0f);
  std::vector<float> k = Noise(kTokens * kStride, 0.2f, 0.01f);
  std::vector<float> v = Noise(kTokens * kStride, 1.0f, 0.0f);
  std::vector<float> d_out = Noise(kTokens * kStride, 1.0f, 0.0f);
  std::vector<float> g = Noise(kTokens * kHeads, 0.1f, -0.1f);
  std::vector<float> beta = Noise(kTokens * kHeads, 0.5f, 0.5f);
  std::vector<float> out = Noise(kTokens * kStride, 0.0f, 0.0f);
  std::vector<float> dq = out, dk = out, dv = out;
  std::vector<float> dg = g, dbeta = beta;
};

void BenchGatedDelta(Isa isa) {
  Activations x;
  std::vector<float> saved(size_t{kHeads} * MaxChunks(kTokens, 0) * kHeadState);
  const GatedDeltaKernels& serve = GatedDeltaFor(isa);
  const GatedDeltaTrainKernels& train = GatedDeltaTrainFor(isa);
  const auto sequence = [&](int h) {
    const int at = h * kHeadDim;
    return GatedDeltaSequence{x.q.data() + at, x.k.data() + at,   x.v.data() + at,
                              kStride,         x.g.data() + h,    x.beta.data() + h,
                              kHeads,          /*reset=*/nullptr, kTokens};
  };
  const auto saved_of = [&](int h) { return saved.data() + saved.size() / kHeads * h; };
  const double forward = MicrosPerToken([&] {
    for (int h = 0; h < kHeads; ++h) {
      const GatedDeltaSequence s = sequence(h);
      train.forward(&s, nullptr, x.out.data() + h * kHeadDim, nullptr, saved_of(h));
    }
  });
  const double backward = MicrosPerToken([&] {
    for (int h = 0; h < kHeads; ++h) {
      const GatedDeltaSequence s = sequence(h);
      const int at = h * kHeadDim;
      train.backward(&s, saved_of(h), x.d_out.data() + at, nullptr, x.dq.data() + at,
                     x.dk.data() + at, x.dv.data() + at, x.dg.data() + h, x.dbeta.data() + h,
                     nullptr);
    }
  });
  std::vector<float> state(size_t{kHeads} * kHeadState);
  const double step = MicrosPerToken([&] {
    for (int t = 0; t < kTokens; ++t) {
      for (int h = 0; h < kHeads; ++h) {
        const int at = t * kStride + h * kHeadDim;
        serve.step(state.data() + h * kHeadState, x.q.data() + at, x.k.data() + at, x.v.data() + at,
                   x.g[t * kHeads + h], x.beta[t * kHeads + h], x.out.data() + at);
      }
    }
  });
  std::printf("gated delta %-8s  forward %6.2f  backward %6.2f  both %6.2f  step %6.2f\n",
              IsaName(isa), forward, backward, forward + backward, step);
}

void BenchMlstm(Isa isa) {
  Activations x;
  std::vector<float> saved(size_t{kHeads} * MaxChunks(kTokens, 0) * kMlstmSaved);
  const MlstmKernels& serve = MlstmFor(isa);
  const MlstmTrainKernels& train = MlstmTrainFor(isa);
  const MlstmState none = {};
  const auto sequence = [&](int h) {
    const int at = h * kHeadDim;
    return MlstmSequence{x.q.data() + at, x.k.data() + at,   x.v.data() + at,
                         kStride,         x.g.data() + h,    x.beta.data() + h,
                         kHeads,          /*reset=*/nullptr, kTokens};
  };
  const auto saved_of = [&](int h) { return saved.data() + saved.size() / kHeads * h; };
  const double forward = MicrosPerToken([&] {
    for (int h = 0; h < kHeads; ++h) {
      const MlstmSequence s = sequence(h);
      train.forward(&s, &none, x.out.data() + h * kHeadDim, &none, saved_of(h));
    }
  });
  const double backward = MicrosPerToken([&] {
    for (int h = 0; h < kHeads; ++h) {
      const MlstmSequence s = sequence(h);
      const int at = h * kHeadDim;
      train.backward(&s, saved_of(h), x.out.data() + at, x.d_out.data() + at, &none,
                     x.dq.data() + at, x.dk.data() + at, x.dv.data() + at, x.dg.data() + h,
                     x.dbeta.data() + h, &none);
    }
  });
  std::vector<float> c(size_t{kHeads} * kHeadState), n(kStride), m(kHeads);
  const double step = MicrosPerToken([&] {
    for (int t = 0; t < kTokens; ++t) {
      for (int h = 0; h < kHeads; ++h) {
        const int at = t * kStride + h * kHeadDim;
        serve.step(c.data() + h * kHeadState, n.data() + h * kHeadDim, m.data() + h,
                   x.q.data() + at, x.k.data() + at, x.v.data() + at, x.g[t * kHeads + h],
                   x.beta[t * kHeads + h], x.out.data() + at);
      }
    }
  });
  std::printf("mlstm       %-8s  forward %6.2f  backward %6.2f  both %6.2f  step %6.2f\n",
              IsaName(isa), forward, backward, forward + backward, step);
}

// A window and the commit of its deepest path, in microseconds a node; six heads.
void BenchTree(Isa isa, const char* name, const Parents& parents) {
  Activations x;
  const TokenTree tree(parents.data(), static_cast<int>(parents.size()));
  const int n = tree.n_nodes();
  std::vector<float> states(size_t{kHeads} * kHeadState), vectors(kStride), frames(kHeads);
  std::vector<float> factors(static_cast<size_t>(MlstmTreeWalk::FactorFloats(n, kHeads)));
  std::vector<float> scratch(MlstmTreeWalk::kScratchFloats);
  int leaf = 0;
  for (int i = 0; i < n; ++i) leaf = tree.depth(i) > tree.depth(leaf) ? i : leaf;
  const GatedDeltaTreeWalk delta(GatedDeltaFor(isa), tree, factors.data());
  const MlstmTreeWalk mlstm(MlstmFor(isa), tree, factors.data());
  const double gd = MicrosPerToken([&] {
    for (int i = 0; i + n <= kTokens; i += n) {
      delta.Run({x.q.data(), x.k.data(), x.v.data(), kStride, x.g.data(), x.beta.data(), kHeads}, 0,
                kHeads, states.data(), x.out.data(), kStride, scratch.data());
      delta.Commit(leaf, 0, kHeads, states.data());
    }
  });
  std::fill(states.begin(), states.end(), 0.0f);
  const MlstmState state = {states.data(), vectors.data(), frames.data()};
  const double xm = MicrosPerToken([&] {
    for (int i = 0; i + n <= kTokens; i += n) {
      mlstm.Run({x.q.data(), x.k.data(), x.v.data(), kStride, x.beta.data(), x.g.data(), kHeads}, 0,
                kHeads, state, x.out.data(), kStride, scratch.data());
      mlstm.Commit(leaf, 0, kHeads, state);
    }
  });
  std::printf("tree %-12s %-8s  nodes %2d  writes %3d  gated delta %6.2f  mlstm %6.2f\n", name,
              IsaName(isa), n, tree.walk_writes(), gd, xm);
}

}  // namespace
}  // namespace chimera

int main() {
  using chimera::Isa;
  std::printf("microseconds per token and %d heads, one core, %d tokens\n", chimera::kHeads,
              chimera::kTokens);
  for (const Isa isa : chimera::kEveryIsa) {
    if (!chimera::Runs(isa)) continue;
    chimera::BenchGatedDelta(isa);
    chimera::BenchMlstm(isa);
    chimera::BenchTree(isa, "one node", chimera::ChainParents(1));
    chimera::BenchTree(isa, "chain", chimera::ChainParents(16));
    chimera::BenchTree(isa, "star", {-1, 0, 0, 0, 0, 0, 0, 0});
    chimera::BenchTree(isa, "four by five", chimera::LevelParents(4, 5, 1));
  }
  return 0;
}
