#include "model/network.h"

#include <gtest/gtest.h>

#include "model/network_testing.h"

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

TEST(Network, GradientsEqualDifferencesOfTheNaiveTwin) {
  const ModelConfig config = Micro(false);
  CheckGradients(config, RandomText(70, config.vocab_size, 1), 1e-5,
                 NoTensor);  // crosses a chunk border
}

// One depth for all: 1 (every gradient whole) to 4 (the first two iterations send none).
TEST(Network, LoopGradientsEqualDifferencesOfTheNaiveTwin) {
  const ModelConfig config = Looped(false);
  for (uint8_t loops : {1, 3, 4}) {
    NaiveText text = RandomText(40, config.vocab_size, 1);
    text.loops.assign(text.tokens.size(), loops);
    CheckGradients(config, text, 1e-5, NoTensor);
  }
}

// Depths that change inside a sequence: held states, resets at tokens an iteration skips.
TEST(Network, RaggedLoopGradientsEqualDifferencesOfTheNaiveTwin) {
  const ModelConfig config = Looped(false);
  NaiveText text = RandomText(45, config.vocab_size, 1);
  for (size_t t = 0; t < text.tokens.size(); ++t) text.loops.push_back(1 + t / 10 % 4);
  CheckGradients(config, text, 1e-5, NoTensor);
}

TEST(Network, ThreadsDoNotChangeBits) {
  CheckThreads(Micro(true), RaggedDepth);
  CheckThreads(Looped(true), RaggedDepth);
}

TEST(Network, TheFutureDoesNotLeak) {
  for (const ModelConfig& config : {Micro(false), Micro(true), Looped(false), Looped(true)}) {
    CheckCausality(config, [](size_t t, size_t) { return static_cast<uint8_t>(1 + t / 30 % 3); });
  }
}

TEST(Network, EveryTensorChangesTheLoss) {
  CheckAblations(Micro(true), NoTensor);
  CheckAblations(Looped(true), NoTensor);
}

// State carried from step to step, depths changing in between, equals one long step: a token that
// an iteration skips holds that iteration's state.
TEST(Network, HeldStatesCarryOverSteps) {
  const ModelConfig config = Looped(false);
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  NaiveText text = RandomText(120, config.vocab_size, 4);
  for (size_t t = 0; t < 120; ++t) text.loops.push_back(1 + t / 20 % 4);
  text.reset[85] = 1;  // a document starts where iterations 2 to 4 pause
  NetworkPass whole(config, &parameters, 1);
  whole.Run(text, 1);
  NetworkPass parts(config, &parameters, 1);
  parts.tape.set_recording(false);
  std::vector<float> nll;
  for (int begin : {0, 20, 60, 80, 100}) {
    parts.Continue(text, begin, begin == 20 ? 40 : 20);
    nll.insert(nll.end(), parts.nll.begin(), parts.nll.end());
  }
  ASSERT_EQ(nll.size(), 120u);
  for (size_t t = 0; t < 120; ++t) EXPECT_NEAR(nll[t], whole.nll[t], 1e-4) << t;
}

// A document border makes what stands before it invisible.
TEST(Network, ResetForgets) {
  const ModelConfig config = Micro(true);
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  NetworkPass pass(config, &parameters, 1);
  NaiveText text = RandomText(99, config.vocab_size, 4);
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

TEST(Network, CheckpointingChangesNoBit) {
  for (bool quantized : {true, false}) {
    ModelConfig config = FourLayers();
    config.quant.enabled = quantized;
    CheckCheckpointing(config, RaggedDepth, 0.5);
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
    NetworkPass pass(config, &parameters, 1);
    pass.tape.set_recording(records == 1);
    const NaiveText text = RandomText(4 * 200, config.vocab_size, 2);
    pass.Run(text, 4);
    peaks[records] = pass.tape.arena().peak_bytes();
    nll[records] = pass.nll;
  }
  EXPECT_EQ(nll[0], nll[1]);
  EXPECT_LT(peaks[0] * 2, peaks[1]);
}

}  // namespace
}  // namespace chimera
