#include "train/expert_settle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "model/layout.h"
#include "model/model_testing.h"

namespace chimera {
namespace {

// A network whose experts are unevenly loaded, and a text.
struct Fixture {
  explicit Fixture(int threads, uint64_t seed = 5)
      : c(TestConfig(true, TestShape::kLooped).model),
        exec(threads),
        tape(&exec),
        parameters(c),
        network(c, &parameters),
        balance(c, &network, &parameters) {
    parameters.Initialize(c, seed);
    for (int layer = 0; layer < c.n_layers; ++layer) {  // everybody's first choice is expert 0
      if (c.ffn[static_cast<size_t>(layer)] != FfnKind::kMoe) continue;
      const Parameters::Entry& bias = parameters.entry(LayerTensor(layer, "moe.bias"));
      parameters.values()[static_cast<size_t>(bias.offset)] = 0.04f;
    }
    network.Prepare(&exec);
    uint32_t x = 1;
    for (int i = 0; i < 4000; ++i) {
      x = x * 1664525u + 1013904223u;
      // The second half speaks of other things than the first.
      stream.push_back(static_cast<int32_t>((x >> 24) + (i < 2000 ? 0u : 400u)));
    }
  }

  void Settle(int64_t passes) { SettleExperts(stream, 1024, passes, &network, &tape, &balance); }

  // Busiest over mean, minus 1, of the worst layer over the whole text.
  double Imbalance() {
    ExpertBalance fresh(c, &network, &parameters);
    fresh.Discard();
    std::vector<float> state(static_cast<size_t>(network.StateFloats())), end = state;
    std::vector<float> nll(500);
    const std::vector<uint8_t> reset(500);
    tape.set_recording(false);
    for (size_t begin = 0; begin + 500 < stream.size(); begin += 500) {
      TrainBatch batch;
      batch.n_seqs = 1;
      batch.seq_len = 500;
      batch.tokens = stream.data() + begin;
      batch.targets = stream.data() + begin + 1;
      batch.reset = reset.data();
      tape.Reset();
      network.Forward(&tape, batch, state.data(), end.data(), nll.data());
      state.swap(end);
    }
    fresh.Settle(0);
    return fresh.Violation();
  }

  std::vector<float> Values() const {
    return {parameters.values().begin(), parameters.values().end()};
  }

  const ModelConfig c;
  ExecContext exec;
  Tape tape;
  Parameters parameters;
  Network network;
  ExpertBalance balance;
  std::vector<int32_t> stream;
};

TEST(SettleExperts, EvensTheLoadOverTheWholeText) {
  Fixture f(1);
  const double before = f.Imbalance();
  f.Settle(160);
  const double after = f.Imbalance();
  EXPECT_GT(before, 0.25) << "nothing to settle";
  EXPECT_LT(after, 0.1);
}

TEST(SettleExperts, MovesNothingButBiasesAndTheSameOnEveryThreadCount) {
  Fixture one(1), two(2);
  const std::vector<float> before = one.Values();
  one.Settle(3);
  two.Settle(3);
  const std::vector<float> after = one.Values();
  EXPECT_EQ(after, two.Values());
  size_t moved = 0;
  for (size_t i = 0; i < before.size(); ++i) moved += before[i] != after[i];
  size_t biases = 0;
  for (int layer = 0; layer < one.c.n_layers; ++layer) {
    if (one.c.ffn[static_cast<size_t>(layer)] != FfnKind::kMoe) continue;
    biases += static_cast<size_t>(one.c.moe.n_routed);
  }
  EXPECT_GT(moved, 0u);
  EXPECT_LE(moved, biases);
}

TEST(SettleExperts, WithoutPassesTextOrExpertsNothingHappens) {
  Fixture f(1);
  const std::vector<float> before = f.Values();
  f.Settle(0);
  f.stream.resize(1);
  f.Settle(5);
  EXPECT_EQ(f.Values(), before);

  const ModelConfig plain = TestConfig(true).model;
  Parameters parameters(plain);
  Network network(plain, &parameters);
  ExpertBalance none(plain, &network, &parameters);
  EXPECT_TRUE(none.empty());
}

}  // namespace
}  // namespace chimera
