// A stream decoded through windows of drafts, good, bad and none, must be the stream decoded token
// by token: outputs and states, bit for bit, over ten thousand tokens (math-inference-training
// A.8 ii; windows without drafts after windows with accepted ones have read stale states
// elsewhere).
#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "layers/kernel_testing.h"
#include "layers/short_conv.h"
#include "layers/tree_testing.h"
#include "layers/tree_walk.h"

namespace chimera {
namespace {

constexpr int kD = kHeadDim, kHeads = 2, kWide = kHeads * kD, kChannels = 3 * kWide;
constexpr int kTokens = 10'000, kVocab = 6;

// What a token projects to: the rows of a layer that do not depend on the state.
struct Vocabulary {
  Floats qkv = Noise(kVocab * kChannels, 1, 0.05f, 1);
  Floats g = Noise(kVocab * kHeads, 0.2f, -0.2f, 2), beta = Noise(kVocab * kHeads, 0.5f, 0.5f, 3);
  Floats i = Noise(kVocab * kHeads, 4, 0, 4), f = Noise(kVocab * kHeads, 4, 2, 5);
  Floats taps = Noise(kChannels * kConvWidth, 0.5f, 0, 6);
};

struct State {
  Floats taps = Floats(kConvState * kChannels), s = Floats(kHeads * kHeadState);
  Floats c = Floats(kHeads * kHeadState), n = Floats(kWide), m = Floats(kHeads);
  MlstmState mlstm() { return {c.data(), n.data(), m.data()}; }
};

// Outputs of both layers for one token.
using Out = std::vector<float>;

Out PlainStep(const Vocabulary& x, int token, State* state) {
  Floats qkv(&x.qkv[token * kChannels], &x.qkv[token * kChannels] + kChannels);
  Out out(2 * kWide);
  for (int h = 0; h < kHeads; ++h) {
    const float* at = &qkv[h * kD];
    const int gate = token * kHeads + h;
    Mlstm().step(&state->c[h * kHeadState], &state->n[h * kD], &state->m[h], at, at + kWide,
                 at + 2 * kWide, x.i[gate], x.f[gate], &out[kWide + h * kD]);
  }
  ShortConv().steps(qkv.data(), 0, 1, x.taps.data(), state->taps.data(), kChannels, kChannels,
                    qkv.data());
  GatedDelta().l2norm(qkv.data(), 2 * kHeads, qkv.data(), nullptr);
  for (int h = 0; h < kHeads; ++h) {
    const float* at = &qkv[h * kD];
    const int gate = token * kHeads + h;
    GatedDelta().step(&state->s[h * kHeadState], at, at + kWide, at + 2 * kWide, x.g[gate],
                      x.beta[gate], &out[h * kD]);
  }
  return out;
}

// A window over both layers. Memory is allocated once, as a server would.
class WindowPass {
 public:
  explicit WindowPass(const Vocabulary& x) : x_(x) {}

  // Outputs of all nodes; the state is only read.
  const Floats& Run(const TokenTree& tree, const std::vector<int>& tokens, State* state) {
    const int n = tree.n_nodes();
    for (int i = 0; i < n; ++i) {
      std::copy_n(&x_.qkv[tokens[i] * kChannels], kChannels, &in_[i * kChannels]);
      for (int h = 0; h < kHeads; ++h) {
        const int from = tokens[i] * kHeads + h, to = i * kHeads + h;
        g_[to] = x_.g[from], beta_[to] = x_.beta[from], i_[to] = x_.i[from], f_[to] = x_.f[from];
      }
    }
    const float* at = in_.data();
    MlstmTreeWalk(Mlstm(), tree, mlstm_factors_.data())
        .Run({at, at + kWide, at + 2 * kWide, kChannels, i_.data(), f_.data(), kHeads}, 0, kHeads,
             state->mlstm(), &out_[kWide], 2 * kWide, scratch_.data());
    ShortConv().tree(at, kChannels, x_.taps.data(), state->taps.data(), kChannels, tree.parents(),
                     n, kChannels, conv_.data(), kChannels);
    for (int i = 0; i < n; ++i) {
      float* row = &conv_[i * kChannels];
      GatedDelta().l2norm(row, 2 * kHeads, row, nullptr);
    }
    at = conv_.data();
    GatedDeltaTreeWalk(GatedDelta(), tree, factors_.data())
        .Run({at, at + kWide, at + 2 * kWide, kChannels, g_.data(), beta_.data(), kHeads}, 0,
             kHeads, state->s.data(), out_.data(), 2 * kWide, scratch_.data());
    return out_;
  }

  void Commit(const TokenTree& tree, int leaf, State* state) {
    GatedDeltaTreeWalk(GatedDelta(), tree, factors_.data())
        .Commit(leaf, 0, kHeads, state->s.data());
    MlstmTreeWalk(Mlstm(), tree, mlstm_factors_.data()).Commit(leaf, 0, kHeads, state->mlstm());
    CommitShortConv(tree, leaf, in_.data(), kChannels, kChannels, state->taps.data(), kChannels);
  }

 private:
  const Vocabulary& x_;
  Floats in_ = Floats(kTreeNodesMax * kChannels), conv_ = in_;
  Floats g_ = Floats(kTreeNodesMax * kHeads), beta_ = g_, i_ = g_, f_ = g_;
  Floats out_ = Floats(kTreeNodesMax * 2 * kWide);
  Floats scratch_ = Floats(MlstmTreeWalk::kScratchFloats);
  Floats factors_ = Floats(GatedDeltaTreeWalk::FactorFloats(kTreeNodesMax, kHeads));
  Floats mlstm_factors_ = Floats(MlstmTreeWalk::FactorFloats(kTreeNodesMax, kHeads));
};

class Dice {
 public:
  int Below(int n) {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<int>((state_ >> 16) % static_cast<uint32_t>(n));
  }

 private:
  uint32_t state_ = 2024;
};

TEST(TreeStreamTest, TenThousandTokensThroughWindowsArePlainDecoding) {
  const Vocabulary x;
  Dice dice;
  std::vector<int> text;
  for (int t = 0; t < kTokens + kTreeNodesMax; ++t) text.push_back(dice.Below(kVocab));
  State plain, state;
  WindowPass pass(x);
  int after_accepted = 0, longest = 0, windows = 0, accepted = 0;
  for (int t = 0; t < kTokens; ++windows) {
    // One window in three has no drafts; others are trees of up to 16 nodes, right or wrong.
    const int n = dice.Below(3) == 0 ? 1 : 2 + dice.Below(15);
    const Parents parents = RandomParents(n, 1 + dice.Below(4), static_cast<uint32_t>(t));
    const TokenTree tree(parents.data(), n);
    std::vector<int> tokens = {text[t]};
    for (int i = 1; i < n; ++i) {
      const bool right = tree.parent(i) >= 0 && dice.Below(10) < 6;
      tokens.push_back(right ? text[t + tree.depth(i)] : dice.Below(kVocab));
    }
    if (n == 1 && accepted > 1) ++after_accepted;
    const State before = state;
    const Floats& out = pass.Run(tree, tokens, &state);
    ASSERT_EQ(before.s, state.s);
    ASSERT_EQ(before.c, state.c);
    int leaf = 0;
    accepted = 0;
    for (int node = 0; node >= 0; ++accepted) {
      leaf = node;
      const Out want = PlainStep(x, text[t + accepted], &plain);
      ExpectSame(Floats(&out[node * 2 * kWide], &out[node * 2 * kWide] + 2 * kWide), want, "out");
      if (HasFatalFailure()) return;
      node = -1;
      for (int i = n - 1; i > leaf; --i) {
        if (tree.parent(i) == leaf && tokens[i] == text[t + accepted + 1]) node = i;
      }
    }
    pass.Commit(tree, leaf, &state);
    t += accepted;
    longest = std::max(longest, accepted);
  }
  ExpectSame(state.s, plain.s, "S");
  ExpectSame(state.c, plain.c, "C");
  ExpectSame(state.n, plain.n, "n");
  ExpectSame(state.m, plain.m, "m");
  ExpectSame(state.taps, plain.taps, "taps");
  // The mix holds what it is meant to hold.
  EXPECT_GT(after_accepted, 200);
  EXPECT_GT(longest, 6);
  EXPECT_GT(windows, 2000);
}

TEST(TreeStreamTest, AWindowThatIsNeverCommittedLeavesNothing) {
  const Vocabulary x;
  State state, plain;
  WindowPass pass(x);
  for (int t = 0; t < 20; ++t) PlainStep(x, t % kVocab, &state), PlainStep(x, t % kVocab, &plain);
  const Parents parents = LevelParents(4, 5, 8);
  const TokenTree tree(parents.data(), static_cast<int>(parents.size()));
  pass.Run(tree, std::vector<int>(parents.size(), 3), &state);
  ExpectSame(state.s, plain.s, "S");
  ExpectSame(state.c, plain.c, "C");
  ExpectSame(state.n, plain.n, "n");
  ExpectSame(state.m, plain.m, "m");
  ExpectSame(state.taps, plain.taps, "taps");
  ExpectSame(PlainStep(x, 1, &state), PlainStep(x, 1, &plain), "the next token");
}

}  // namespace
}  // namespace chimera
