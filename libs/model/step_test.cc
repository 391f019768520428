#include "model/step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/philox.h"
#include "model/model_testing.h"
#include "model/network.h"
#include "tensor/kernels.h"

namespace chimera {
namespace {

std::vector<int32_t> RandomTokens(int n, int vocab) {
  const PhiloxStream rng(11, RngPurpose::kDataShuffle, 0);
  std::vector<int32_t> tokens;
  for (int i = 0; i < n; ++i) {
    tokens.push_back(static_cast<int32_t>(rng.Word(uint64_t(i)) % uint32_t(vocab)));
  }
  return tokens;
}

// Negative log-likelihood of each next token, `block` tokens a pass.
std::vector<float> ServeNll(const Model& model, const std::vector<int32_t>& tokens, size_t block,
                            int threads) {
  ExecContext exec(threads);
  Stepper stepper(model, &exec);
  BraidState state(model.shape());
  const auto vocab = static_cast<size_t>(model.shape().vocab_size);
  std::vector<float> logits(vocab * block), nll;
  for (size_t at = 0; at + 1 < tokens.size(); at += block) {
    const size_t n = std::min(block, tokens.size() - 1 - at);
    const auto hidden = stepper.Prefill(&state, std::span(tokens).subspan(at, n));
    stepper.Logits(hidden, static_cast<int>(n), std::span(logits).first(n * vocab));
    for (size_t i = 0; i < n; ++i) {
      const float* row = logits.data() + i * vocab;
      nll.push_back(Kernels().log_sum_exp(row, int64_t(vocab)) - row[tokens[at + i + 1]]);
    }
  }
  return nll;
}

// The training plane over the same tokens.
std::vector<float> TrainNll(const Config& config, uint64_t seed,
                            const std::vector<int32_t>& tokens) {
  Parameters parameters(config.model);
  parameters.Initialize(config.model, seed);
  ExecContext exec(1);
  Tape tape(&exec);
  tape.set_recording(false);
  Network network(config.model, &parameters);
  network.Prepare(&exec);
  const size_t n = tokens.size() - 1;
  std::vector<float> start(size_t(network.StateFloats())), end = start, nll(n);
  std::vector<uint8_t> reset(n);
  TrainBatch batch;
  batch.n_seqs = 1;
  batch.seq_len = static_cast<int>(n);
  batch.tokens = tokens.data();
  batch.targets = tokens.data() + 1;
  batch.reset = reset.data();
  network.Forward(&tape, batch, start.data(), end.data(), nll.data());
  return nll;
}

class StepTest : public testing::TestWithParam<bool> {
 protected:
  std::shared_ptr<const Model> Load() {
    auto model = Model::Load(TestModelFolder("step", GetParam()));
    EXPECT_TRUE(model.ok()) << model.status();
    return *model;
  }
};

TEST_P(StepTest, PrefillAndThreadsEqualPlainDecode) {
  const auto model = Load();
  const auto tokens = RandomTokens(200, 1024);
  const auto plain = ServeNll(*model, tokens, 1, 1);
  for (const auto& other : {ServeNll(*model, tokens, 64, 1), ServeNll(*model, tokens, 7, 2),
                            ServeNll(*model, tokens, 33, 1)}) {
    ASSERT_EQ(other.size(), plain.size());
    EXPECT_EQ(std::memcmp(other.data(), plain.data(), plain.size() * 4), 0);
  }
}

// DESIGN D1: what the trainer reports is what the server reproduces.
TEST_P(StepTest, ServingEqualsTraining) {
  const auto model = Load();
  const auto tokens = RandomTokens(300, 1024);
  const auto serve = ServeNll(*model, tokens, 64, 1);
  const auto train = TrainNll(TestConfig(GetParam()), 1, tokens);
  ASSERT_EQ(serve.size(), train.size());
  double difference = 0.0, largest = 0.0, serve_sum = 0.0, train_sum = 0.0;
  for (size_t i = 0; i < serve.size(); ++i) {
    const double d = std::abs(double(serve[i]) - double(train[i]));
    difference += d;
    largest = std::max(largest, d);
    serve_sum += serve[i];
    train_sum += train[i];
  }
  EXPECT_LE(difference / double(serve.size()), 5e-3);
  EXPECT_NEAR(serve_sum / train_sum, 1.0, 1e-3);
  if (!GetParam()) {
    EXPECT_LE(largest, 1e-3);
  }
}

TEST_P(StepTest, CopiedStateContinuesBitForBit) {
  const auto model = Load();
  const auto tokens = RandomTokens(60, 1024);
  ExecContext exec(1);
  Stepper stepper(*model, &exec);
  BraidState state(model->shape());
  for (size_t i = 0; i < 30; ++i) stepper.Step(&state, tokens[i]);
  BraidState fork = state;
  std::vector<float> first;
  for (size_t i = 30; i < 60; ++i) {
    const auto hidden = stepper.Step(&state, tokens[i]);
    first.insert(first.end(), hidden.begin(), hidden.end());
  }
  std::vector<float> second;
  for (size_t i = 30; i < 60; ++i) {
    const auto hidden = stepper.Step(&fork, tokens[i]);
    second.insert(second.end(), hidden.begin(), hidden.end());
  }
  EXPECT_EQ(std::memcmp(first.data(), second.data(), first.size() * 4), 0);
  EXPECT_EQ(int64_t(state.floats().size_bytes()), BraidState::Bytes(model->shape()));
}

INSTANTIATE_TEST_SUITE_P(Quantized, StepTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "On" : "Off"; });

}  // namespace
}  // namespace chimera
