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

// GD, then XM looped with experts, then GD: 1 to 3 iterations.
ModelConfig Looped(bool quantized) {
  ModelConfig c = Micro(quantized);
  c.n_layers = 4;
  c.layers = {LayerKind::kGatedDelta, LayerKind::kMlstm, LayerKind::kGatedDelta,
              LayerKind::kGatedDelta};
  c.ffn = {FfnKind::kDense, FfnKind::kMoe, FfnKind::kDense, FfnKind::kDense};
  c.moe = {.n_routed = 4, .n_shared = 1, .top_k = 2, .d_expert = 64};
  c.loop = {.enabled = true,
            .first_layer = 1,
            .last_layer = 2,
            .loops_min = 1,
            .loops_max = 4,
            .loops_default = 2};
  return c;
}

struct Text {
  std::vector<int32_t> tokens, targets;
  std::vector<uint8_t> reset;
  std::vector<uint8_t> loops;  // of each token; empty: the default
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
    batch.loops = text.loops.empty() ? nullptr : text.loops.data();
    return network.Forward(&tape, batch, start.data(), end.data(), nll.data());
  }
  ExecContext exec;
  Tape tape;
  Network network;
  std::vector<float> start, end, nll;
};

// Loss and every kind of parameter's gradient against central differences of the double twin.
void CheckGradients(const ModelConfig& config, const Text& text) {
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  // Gate weights start at zero: move everything off its special values.
  const PhiloxStream rng(9, RngPurpose::kWeightInit, 77);
  for (size_t i = 0; i < parameters.values().size(); ++i) {
    parameters.values()[i] += 0.05f * (rng.Uniform(i) - 0.5f);
  }
  Pass pass(config, &parameters, 2);
  const double loss = pass.Run(text, 1);
  pass.tape.Backward();

  NaiveNetwork<double> naive(config, parameters);
  auto naive_loss = [&] { return naive.Loss(text.tokens, text.targets, text.reset, text.loops); };
  EXPECT_NEAR(loss, naive_loss(), 1e-5);
  for (const Parameters::Entry& e : parameters.entries()) {
    if (!e.spec.trainable) continue;
    double norm = 0.0;
    for (int64_t i = 0; i < e.size; ++i)
      norm += std::pow(parameters.grads()[size_t(e.offset + i)], 2);
    norm = std::sqrt(norm);
    EXPECT_GT(norm, 0.0) << e.spec.name;
    for (int64_t pick = 0; pick < 3; ++pick) {
      const auto at = size_t(e.offset + (e.size - 1) * pick / 2);
      const double eps = 1e-5, value = naive.values()[at];
      naive.values()[at] = value + eps;
      const double up = naive_loss();
      naive.values()[at] = value - eps;
      const double down = naive_loss();
      naive.values()[at] = value;
      EXPECT_NEAR(parameters.grads()[at], (up - down) / (2 * eps), 1e-6 + 2e-4 * norm)
          << e.spec.name << " element " << at - size_t(e.offset);
    }
  }
}

TEST(Network, GradientsEqualDifferencesOfTheNaiveTwin) {
  const ModelConfig config = Micro(false);
  CheckGradients(config, RandomText(70, config.vocab_size, 1));  // crosses a chunk border
}

// One depth for all: 1 (every gradient whole) to 4 (the first two iterations send none).
TEST(Network, LoopGradientsEqualDifferencesOfTheNaiveTwin) {
  const ModelConfig config = Looped(false);
  for (uint8_t loops : {1, 3, 4}) {
    Text text = RandomText(40, config.vocab_size, 1);
    text.loops.assign(text.tokens.size(), loops);
    CheckGradients(config, text);
  }
}

// Depths that change inside a sequence: held states, resets at tokens an iteration skips.
TEST(Network, RaggedLoopGradientsEqualDifferencesOfTheNaiveTwin) {
  const ModelConfig config = Looped(false);
  Text text = RandomText(45, config.vocab_size, 1);
  for (size_t t = 0; t < text.tokens.size(); ++t) text.loops.push_back(1 + t / 10 % 4);
  CheckGradients(config, text);
}

// Same bits with one thread and two, loss and gradients, quantised.
void CheckThreads(const ModelConfig& config) {
  std::vector<float> grads[2];
  double loss[2];
  for (int threads : {1, 2}) {
    Parameters parameters(config);
    parameters.Initialize(config, 5);
    Pass pass(config, &parameters, threads);
    Text text = RandomText(4 * 130, config.vocab_size, 2);
    for (size_t t = 0; t < text.tokens.size(); ++t) text.loops.push_back(1 + t / 64 % 4);
    if (!config.loop.enabled) text.loops.clear();
    loss[threads - 1] = pass.Run(text, 4);
    pass.tape.Backward();
    grads[threads - 1].assign(parameters.grads().begin(), parameters.grads().end());
  }
  EXPECT_EQ(loss[0], loss[1]);
  EXPECT_EQ(std::memcmp(grads[0].data(), grads[1].data(), grads[0].size() * 4), 0);
}

TEST(Network, ThreadsDoNotChangeBits) {
  CheckThreads(Micro(true));
  CheckThreads(Looped(true));
}

// Changing a token changes nothing before it, in its own sequence or in the others.
TEST(Network, TheFutureDoesNotLeak) {
  for (const ModelConfig& config : {Micro(false), Micro(true), Looped(false), Looped(true)}) {
    Parameters parameters(config);
    parameters.Initialize(config, 5);
    Pass pass(config, &parameters, 1);
    Text text = RandomText(2 * 100, config.vocab_size, 3);
    for (size_t t = 0; t < text.tokens.size(); ++t) text.loops.push_back(1 + t / 30 % 3);
    if (!config.loop.enabled) text.loops.clear();
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
void CheckAblations(const ModelConfig& config) {
  const Text text = RandomText(90, config.vocab_size, 6);
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  Pass whole(config, &parameters, 1);
  const double loss = whole.Run(text, 1);
  for (const Parameters::Entry& e : parameters.entries()) {
    if (e.spec.name.starts_with("router.")) continue;  // chooses depths, which are given here
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

TEST(Network, EveryTensorChangesTheLoss) {
  CheckAblations(Micro(true));
  CheckAblations(Looped(true));
}

// State carried from step to step, depths changing in between, equals one long step: a token that
// an iteration skips holds that iteration's state.
TEST(Network, HeldStatesCarryOverSteps) {
  const ModelConfig config = Looped(false);
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  Text text = RandomText(120, config.vocab_size, 4);
  for (size_t t = 0; t < 120; ++t) text.loops.push_back(1 + t / 20 % 4);
  text.reset[85] = 1;  // a document starts where iterations 2 to 4 pause
  Pass whole(config, &parameters, 1);
  whole.Run(text, 1);
  Pass parts(config, &parameters, 1);
  parts.tape.set_recording(false);
  std::vector<float> start(size_t(parts.network.StateFloats())), end = start, nll(120);
  for (int begin : {0, 20, 60, 80, 100}) {
    const int length = begin == 20 ? 40 : 20;
    parts.tape.Reset();
    TrainBatch batch;
    batch.n_seqs = 1;
    batch.seq_len = length;
    batch.tokens = text.tokens.data() + begin;
    batch.targets = text.targets.data() + begin;
    batch.reset = text.reset.data() + begin;
    batch.loops = text.loops.data() + begin;
    parts.network.Forward(&parts.tape, batch, start.data(), end.data(), nll.data() + begin);
    start.swap(end);
  }
  for (size_t t = 0; t < 120; ++t) EXPECT_NEAR(nll[t], whole.nll[t], 1e-4) << t;
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
