#include "train/batch_draws.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/model_testing.h"
#include "train/expert_balance.h"

namespace chimera {
namespace {

struct Rows {
  explicit Rows(int n_seqs, int seq_len)
      : tokens(size_t(n_seqs * seq_len), 5), reset(tokens.size()) {
    batch.n_seqs = n_seqs;
    batch.seq_len = seq_len;
    batch.tokens = tokens.data();
    batch.reset = reset.data();
  }
  std::vector<int32_t> tokens;
  std::vector<uint8_t> reset;
  TrainBatch batch;
};

TEST(BatchDraws, AStepDrawsTheSameAgain) {
  const ModelConfig c = TestConfig(true, TestShape::kLooped).model;
  ExecContext exec(1);
  BatchDraws first(c, 7), second(c, 7), other(c, 8);
  Rows a(8, 256), b(8, 256), d(8, 256);
  int different = 0;
  for (int64_t step : {0, 5, 6}) {
    first.Draw(&exec, step, &a.batch);
    other.Draw(&exec, step, &d.batch);
    for (size_t i = 0; i < a.tokens.size(); ++i) different += a.batch.loops[i] != d.batch.loops[i];
  }
  second.Draw(&exec, 6, &b.batch);
  EXPECT_EQ(std::vector<uint8_t>(a.batch.loops, a.batch.loops + a.tokens.size()),
            std::vector<uint8_t>(b.batch.loops, b.batch.loops + b.tokens.size()));
  EXPECT_GT(different, 0);
}

// Blocks of a sequence differ in some sequences, and never where a TM layer loops.
TEST(BatchDraws, BlocksDifferOnlyWhereTheyMay) {
  ExecContext exec(1);
  for (TestShape shape : {TestShape::kLooped, TestShape::kFull}) {
    const ModelConfig c = TestConfig(true, shape).model;
    BatchDraws draws(c, 7);
    Rows rows(16, 256);
    int mixed = 0;
    double mean = 0;
    for (int64_t step = 0; step < 40; ++step) {
      draws.Draw(&exec, step, &rows.batch);
      mean += draws.mean_loops() / 40;
      for (int s = 0; s < 16; ++s) {
        for (int t = 1; t < 256; ++t) {
          const uint8_t depth = rows.batch.loops[s * 256 + t];
          ASSERT_TRUE(depth >= 1 && depth <= 4);
          if (t % 64 != 0) {
            ASSERT_EQ(depth, rows.batch.loops[s * 256 + t - 1]);
          }
        }
        mixed += rows.batch.loops[s * 256] != rows.batch.loops[s * 256 + 255];
      }
    }
    EXPECT_EQ(mixed > 0, shape == TestShape::kLooped);
    EXPECT_NEAR(mean, 2.1, 0.15);  // clamp(Poisson(2), 1, 4) and a tenth uniform
  }
}

TEST(BatchDraws, FieldsOnlyWithSketches) {
  ExecContext exec(1);
  Rows rows(4, 64);
  BatchDraws plain(TestConfig(true).model, 1);
  plain.Draw(&exec, 0, &rows.batch);
  EXPECT_EQ(rows.batch.loops, nullptr);
  EXPECT_EQ(rows.batch.fields, nullptr);
  EXPECT_EQ(plain.mean_loops(), 1.0);
  BatchDraws full(TestConfig(true, TestShape::kFull).model, 1);
  full.Draw(&exec, 0, &rows.batch);
  EXPECT_NE(rows.batch.fields, nullptr);
}

// Picks of a step move the biases, picks of validation do not, and the state resumes.
TEST(ExpertBalance, MovesBiasesByWhatTrainingPicked) {
  const ModelConfig c = TestConfig(true, TestShape::kLooped).model;
  Parameters parameters(c);
  parameters.Initialize(c, 3);
  Network network(c, &parameters);
  ExecContext exec(1);
  Tape tape(&exec);
  network.Prepare(&exec);
  ExpertBalance balance(c, &network, &parameters), resumed(c, &network, &parameters);
  Rows rows(1, 200);
  std::vector<int32_t> targets(200, 6);
  for (size_t i = 0; i < 200; ++i) rows.tokens[i] = static_cast<int32_t>(i * 5);
  rows.batch.targets = targets.data();
  std::vector<float> start(size_t(network.StateFloats())), end = start, nll(200);
  const auto run = [&] {
    tape.Reset();
    network.Forward(&tape, rows.batch, start.data(), end.data(), nll.data());
  };
  const auto biases = [&] {
    const auto value = parameters.value("layers.1.moe.bias");
    return std::vector<float>(value.begin(), value.end());
  };
  const auto before = biases();
  run();
  balance.Discard();
  balance.Update(1, 100, 1e-3);
  EXPECT_EQ(biases(), before);
  run();
  balance.Update(2, 100, 1e-3);
  const auto moved = biases();
  EXPECT_NE(moved, before);
  // Four learning rates from the most to the least picked, however few were picked in between.
  const auto [low, high] = std::minmax_element(moved.begin(), moved.end());
  EXPECT_NEAR(*high - *low, 8e-3, 1e-6);
  EXPECT_GT(balance.Violation(), 0.0);
  ASSERT_TRUE(resumed.Restore(balance.State()));
  EXPECT_EQ(resumed.State(), balance.State());
  EXPECT_FALSE(resumed.Restore(std::vector<double>(3)));
  run();
  const auto late = biases();
  balance.Update(99, 100, 1e-3);  // the last steps only measure
  EXPECT_EQ(biases(), late);
}

}  // namespace
}  // namespace chimera
