#include "model/network.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/philox.h"
#include "model/network_naive.h"

namespace chimera {
namespace {

ModelConfig Micro(bool quantized) {
  ModelConfig c;
  c.d_model = 64;
  c.n_heads = 1;
  c.d_ff = 128;
  c.n_layers = 2;
  c.vocab_size = 48;
  c.init_std = 0.08f;
  c.layers = {LayerKind::kGatedDelta, LayerKind::kMlstm};
  c.ffn = {FfnKind::kDense, FfnKind::kDense};
  c.quant.enabled = quantized;
  return c;
}

struct Text {
  std::vector<int32_t> tokens, targets;
  std::vector<uint8_t> reset;
};

Text RandomText(int n, int vocab, uint32_t stream) {
  const PhiloxStream rng(3, RngPurpose::kDataShuffle, stream);
  Text text;
  for (int i = 0; i < n; ++i) {
    text.tokens.push_back(static_cast<int32_t>(rng.Word(uint64_t(i)) % uint32_t(vocab)));
    text.targets.push_back(static_cast<int32_t>(rng.Word(uint64_t(1000 + i)) % uint32_t(vocab)));
    text.reset.push_back(i == 0 || i == n / 3 ? 1 : 0);
  }
  return text;
}

// One forward (and backward) pass over sequences of equal length laid end to end.
struct Pass {
  Pass(const ModelConfig& config, Parameters* parameters, int threads)
      : exec(threads), tape(&exec), network(config, parameters) {
    network.Prepare(&exec);
  }
  double Run(const Text& text, int n_seqs) {
    const auto rows = text.tokens.size();
    start.assign(size_t(network.StateFloats()) * size_t(n_seqs), 0.0f);
    end = start;
    nll.assign(rows, 0.0f);
    TrainBatch batch;
    batch.n_seqs = n_seqs;
    batch.seq_len = static_cast<int>(rows) / n_seqs;
    batch.tokens = text.tokens.data();
    batch.targets = text.targets.data();
    batch.reset = text.reset.data();
    return network.Forward(&tape, batch, start.data(), end.data(), nll.data());
  }
  ExecContext exec;
  Tape tape;
  Network network;
  std::vector<float> start, end, nll;
};

// Loss and every kind of parameter's gradient against central differences of the double twin.
TEST(Network, GradientsEqualDifferencesOfTheNaiveTwin) {
  const ModelConfig config = Micro(false);
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  // The mLSTM gate weights start at zero: move everything off its special values.
  const PhiloxStream rng(9, RngPurpose::kWeightInit, 77);
  for (size_t i = 0; i < parameters.values().size(); ++i) {
    parameters.values()[i] += 0.05f * (rng.Uniform(i) - 0.5f);
  }
  const Text text = RandomText(70, config.vocab_size, 1);  // crosses a chunk border
  Pass pass(config, &parameters, 2);
  const double loss = pass.Run(text, 1);
  pass.tape.Backward();

  NaiveNetwork<double> naive(config, parameters);
  EXPECT_NEAR(loss, naive.Loss(text.tokens, text.targets, text.reset), 1e-5);
  for (const Parameters::Entry& e : parameters.entries()) {
    double norm = 0.0;
    for (int64_t i = 0; i < e.size; ++i)
      norm += std::pow(parameters.grads()[size_t(e.offset + i)], 2);
    norm = std::sqrt(norm);
    for (int64_t pick = 0; pick < 3; ++pick) {
      const auto at = size_t(e.offset + (e.size - 1) * pick / 2);
      const double eps = 1e-5, value = naive.values()[at];
      naive.values()[at] = value + eps;
      const double up = naive.Loss(text.tokens, text.targets, text.reset);
      naive.values()[at] = value - eps;
      const double down = naive.Loss(text.tokens, text.targets, text.reset);
      naive.values()[at] = value;
      EXPECT_NEAR(parameters.grads()[at], (up - down) / (2 * eps), 1e-6 + 2e-4 * norm)
          << e.spec.name << " element " << at - size_t(e.offset);
    }
  }
}

// Same bits with one thread and two, loss and gradients, quantised.
TEST(Network, ThreadsDoNotChangeBits) {
  const ModelConfig config = Micro(true);
  std::vector<float> grads[2];
  double loss[2];
  for (int threads : {1, 2}) {
    Parameters parameters(config);
    parameters.Initialize(config, 5);
    Pass pass(config, &parameters, threads);
    const Text text = RandomText(4 * 130, config.vocab_size, 2);
    loss[threads - 1] = pass.Run(text, 4);
    pass.tape.Backward();
    grads[threads - 1].assign(parameters.grads().begin(), parameters.grads().end());
  }
  EXPECT_EQ(loss[0], loss[1]);
  EXPECT_EQ(std::memcmp(grads[0].data(), grads[1].data(), grads[0].size() * 4), 0);
}

// Changing a token changes nothing before it, in its own sequence or in the others.
TEST(Network, TheFutureDoesNotLeak) {
  for (bool quantized : {false, true}) {
    const ModelConfig config = Micro(quantized);
    Parameters parameters(config);
    parameters.Initialize(config, 5);
    Pass pass(config, &parameters, 1);
    Text text = RandomText(2 * 100, config.vocab_size, 3);
    pass.Run(text, 2);
    const std::vector<float> before = pass.nll;
    text.tokens[70] = (text.tokens[70] + 1) % config.vocab_size;
    pass.tape.Reset();
    pass.Run(text, 2);
    for (size_t i = 0; i < before.size(); ++i) {
      if (i < 70 || i >= 100) {
        ASSERT_EQ(before[i], pass.nll[i]) << i;
      }
    }
    EXPECT_NE(before[70], pass.nll[70]);
    EXPECT_NE(before[75], pass.nll[75]) << "a token must influence what follows";
  }
}

// Ablation: every tensor acts. Without it, or with it moved where zero is its start, the loss
// changes.
TEST(Network, EveryTensorChangesTheLoss) {
  const ModelConfig config = Micro(true);
  const Text text = RandomText(90, config.vocab_size, 6);
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  Pass whole(config, &parameters, 1);
  const double loss = whole.Run(text, 1);
  for (const Parameters::Entry& e : parameters.entries()) {
    Parameters ablated(config);
    ablated.Initialize(config, 5);
    const PhiloxStream rng(8, RngPurpose::kWeightInit, 1);
    for (int64_t i = 0; i < e.size; ++i) {
      ablated.values()[size_t(e.offset + i)] = rng.Uniform(uint64_t(i)) - 0.5f;
    }
    Pass pass(config, &ablated, 1);
    EXPECT_NE(pass.Run(text, 1), loss) << e.spec.name;
  }
}

// A document border makes what stands before it invisible.
TEST(Network, ResetForgets) {
  const ModelConfig config = Micro(true);
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  Pass pass(config, &parameters, 1);
  Text text = RandomText(99, config.vocab_size, 4);
  pass.Run(text, 1);
  const std::vector<float> before = pass.nll;
  text.tokens[20] = (text.tokens[20] + 1) % config.vocab_size;
  pass.tape.Reset();
  pass.Run(text, 1);
  for (size_t i = 33; i < before.size(); ++i) ASSERT_EQ(before[i], pass.nll[i]) << i;
}

ModelConfig FourLayers() {
  ModelConfig c = Micro(true);
  c.n_layers = 4;
  c.layers = {LayerKind::kGatedDelta, LayerKind::kMlstm, LayerKind::kGatedDelta, LayerKind::kMlstm};
  c.ffn.assign(4, FfnKind::kDense);
  return c;
}

// Loss, token losses, end states and every gradient to the bit, over steps that reuse the arena and
// carry their states; with a good deal less memory.
TEST(Network, CheckpointingChangesNoBit) {
  for (bool quantized : {true, false}) {
    ModelConfig config = FourLayers();
    config.quant.enabled = quantized;
    struct Outcome {
      std::vector<double> losses;
      std::vector<float> bits;
      size_t peak = 0;
    } outcomes[2];
    for (int threads : {1, 2}) {
      Outcome& out = outcomes[threads - 1];
      Parameters parameters(config);
      parameters.Initialize(config, 5);
      Pass pass(config, &parameters, threads);
      pass.network.set_checkpointing(threads == 2);
      for (uint32_t step = 0; step < 2; ++step) {
        pass.tape.Reset();
        const Text text = RandomText(4 * 200, config.vocab_size, 2 + step);
        out.losses.push_back(pass.Run(text, 4));
        pass.tape.Backward();
        out.bits.insert(out.bits.end(), pass.nll.begin(), pass.nll.end());
        out.bits.insert(out.bits.end(), pass.end.begin(), pass.end.end());
        out.bits.insert(out.bits.end(), parameters.grads().begin(), parameters.grads().end());
      }
      out.peak = pass.tape.arena().peak_bytes();
    }
    EXPECT_EQ(outcomes[0].losses, outcomes[1].losses);
    ASSERT_EQ(outcomes[0].bits.size(), outcomes[1].bits.size());
    EXPECT_EQ(std::memcmp(outcomes[0].bits.data(), outcomes[1].bits.data(),
                          outcomes[0].bits.size() * sizeof(float)),
              0);
    EXPECT_LT(outcomes[1].peak * 2, outcomes[0].peak);
    RecordProperty(quantized ? "peak_bytes" : "float_peak_bytes",
                   std::to_string(outcomes[0].peak) + " " + std::to_string(outcomes[1].peak));
  }
}

// A pass that does not record holds one layer at a time, whatever the depth.
TEST(Network, UnrecordedPassesHoldOneLayer) {
  size_t peaks[2];
  std::vector<float> nll[2];
  for (int records : {0, 1}) {
    const ModelConfig config = FourLayers();
    Parameters parameters(config);
    parameters.Initialize(config, 5);
    Pass pass(config, &parameters, 1);
    pass.tape.set_recording(records == 1);
    const Text text = RandomText(4 * 200, config.vocab_size, 2);
    pass.Run(text, 4);
    peaks[records] = pass.tape.arena().peak_bytes();
    nll[records] = pass.nll;
  }
  EXPECT_EQ(nll[0], nll[1]);
  EXPECT_LT(peaks[0] * 2, peaks[1]);
}

}  // namespace
}  // namespace chimera
