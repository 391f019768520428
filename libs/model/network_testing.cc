#include "model/network_testing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "base/philox.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

// Loops of every token, when the model has a loop.
void SetDepths(const ModelConfig& config, size_t length, DepthOf depth, NaiveText* text) {
  text->loops.clear();
  if (!config.loop.enabled) return;
  for (size_t t = 0; t < text->tokens.size(); ++t) text->loops.push_back(depth(t, length));
}

// The first, the middle, the last and the largest element.
std::set<int64_t> Picks(const float* grads, int64_t size) {
  const auto* largest = std::max_element(
      grads, grads + size, [](float a, float b) { return std::abs(a) < std::abs(b); });
  return {0, (size - 1) / 2, size - 1, largest - grads};
}

Parameters MovedParameters(const ModelConfig& config) {
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  // Gate weights start at zero: move everything off its special values.
  const PhiloxStream rng(9, RngPurpose::kWeightInit, 77);
  for (size_t i = 0; i < parameters.values().size(); ++i) {
    parameters.values()[i] += 0.05f * (rng.Uniform(i) - 0.5f);
  }
  return parameters;
}

// What NaiveNetwork::Loss wants to know of a tensor that moves.
int LayerOf(const ModelConfig& config, const std::string& name) {
  if (name == "final_norm") return config.n_layers;
  if (name.starts_with("loop.")) return config.loop.first_layer;
  return name.starts_with("layers.") ? std::stoi(name.substr(7)) : -1;
}

// Elements of a part of one tensor, which begins at `at` of the buffers.
void CheckSlopes(Parameters& parameters, const Parameters::Entry& e, int64_t at, int64_t size,
                 int layer, bool still, NaiveNetwork<double>* naive) {
  const float* grads = parameters.grads().data() + at;
  double norm = 0.0;
  for (int64_t i = 0; i < size; ++i) norm += std::pow(grads[i], 2);
  norm = std::sqrt(norm);
  if (still) {
    EXPECT_EQ(norm, 0.0) << e.spec.name;
  } else {
    EXPECT_GT(norm, 0.0) << e.spec.name;
  }
  for (const int64_t pick : Picks(grads, size)) {
    double& moved = naive->values()[static_cast<size_t>(at + pick)];
    const double eps = 1e-5, value = moved;
    moved = value + eps;
    const double up = naive->Loss(layer);
    moved = value - eps;
    const double down = naive->Loss(layer);
    moved = value;
    EXPECT_NEAR(grads[pick], (up - down) / (2 * eps), 1e-6 + 2e-4 * norm)
        << e.spec.name << " element " << at - e.offset + pick;
  }
}

}  // namespace

NaiveText RandomText(int n, int vocab, uint32_t stream) {
  const PhiloxStream rng(3, RngPurpose::kDataShuffle, stream);
  NaiveText text;
  for (int i = 0; i < n; ++i) {
    text.tokens.push_back(static_cast<int32_t>(rng.Word(uint64_t(i)) % uint32_t(vocab)));
    text.targets.push_back(static_cast<int32_t>(rng.Word(uint64_t(1000 + i)) % uint32_t(vocab)));
    text.reset.push_back(i == 0 || i == n / 3 ? 1 : 0);
  }
  return text;
}

NetworkPass::NetworkPass(const ModelConfig& config, Parameters* parameters, int threads)
    : exec(threads), tape(&exec), network(config, parameters) {
  network.Prepare(&exec);
}

double NetworkPass::Run(const NaiveText& text, int n_seqs) {
  const size_t rows = text.tokens.size();
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
  batch.fields = text.fields;
  return network.Forward(&tape, batch, start.data(), end.data(), nll.data());
}

double NetworkPass::Continue(const NaiveText& text, int begin, int n) {
  tape.Reset();
  start.resize(size_t(network.StateFloats()));
  end.resize(start.size());
  nll.assign(size_t(n), 0.0f);
  TrainBatch batch;
  batch.n_seqs = 1;
  batch.seq_len = n;
  batch.tokens = text.tokens.data() + begin;
  batch.targets = text.targets.data() + begin;
  batch.reset = text.reset.data() + begin;
  batch.loops = text.loops.empty() ? nullptr : text.loops.data() + begin;
  const double loss = network.Forward(&tape, batch, start.data(), end.data(), nll.data());
  start.swap(end);
  return loss;
}

double LossGap(const ModelConfig& config, const NaiveText& text) {
  Parameters parameters = MovedParameters(config);
  NetworkPass pass(config, &parameters, 1);
  pass.tape.set_recording(false);
  const double loss = pass.Run(text, 1);
  return loss - NaiveNetwork<double>(config, parameters, text).Loss();
}

void CheckGradients(const ModelConfig& config, const NaiveText& text, double loss_bound,
                    const TensorPredicate& still) {
  Parameters parameters = MovedParameters(config);
  NetworkPass pass(config, &parameters, 2);
  const double loss = pass.Run(text, 1);
  pass.tape.Backward();

  NaiveNetwork<double> naive(config, parameters, text);
  EXPECT_NEAR(loss, naive.Loss(), loss_bound);
  for (const Parameters::Entry& e : parameters.entries()) {
    if (!e.spec.trainable) continue;
    // Candidate and role of a sketch learn from flipped bits only: their gradients are small beside
    // those of the state, so that each has its own norm.
    const int64_t parts = e.spec.name.ends_with("sk.w_sketch") ? 3 : 1;
    for (int64_t part = 0; part < parts; ++part) {
      CheckSlopes(parameters, e, e.offset + part * (e.size / parts), e.size / parts,
                  LayerOf(config, e.spec.name), still(e.spec.name), &naive);
    }
  }
}

void CheckThreads(const ModelConfig& config, DepthOf depth) {
  std::vector<float> grads[2];
  double loss[2];
  for (int threads : {1, 2}) {
    Parameters parameters(config);
    parameters.Initialize(config, 5);
    NetworkPass pass(config, &parameters, threads);
    NaiveText text = RandomText(4 * 130, config.vocab_size, 2);
    SetDepths(config, 130, depth, &text);
    loss[threads - 1] = pass.Run(text, 4);
    pass.tape.Backward();
    grads[threads - 1].assign(parameters.grads().begin(), parameters.grads().end());
  }
  EXPECT_EQ(loss[0], loss[1]);
  EXPECT_EQ(std::memcmp(grads[0].data(), grads[1].data(), grads[0].size() * 4), 0);
}

void CheckCausality(const ModelConfig& config, DepthOf depth) {
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  NetworkPass pass(config, &parameters, 1);
  NaiveText text = RandomText(2 * 100, config.vocab_size, 3);
  SetDepths(config, 100, depth, &text);
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

void CheckAblations(const ModelConfig& config, const TensorPredicate& idle) {
  const NaiveText text = RandomText(90, config.vocab_size, 6);
  Parameters parameters(config);
  parameters.Initialize(config, 5);
  NetworkPass whole(config, &parameters, 1);
  const double loss = whole.Run(text, 1);
  for (const Parameters::Entry& e : parameters.entries()) {
    if (e.spec.name.starts_with("router.")) continue;  // chooses depths, which are given here
    Parameters ablated(config);
    ablated.Initialize(config, 5);
    const PhiloxStream rng(8, RngPurpose::kWeightInit, 1);
    for (int64_t i = 0; i < e.size; ++i) {
      ablated.values()[size_t(e.offset + i)] = rng.Uniform(uint64_t(i)) - 0.5f;
    }
    NetworkPass pass(config, &ablated, 1);
    if (idle(e.spec.name)) {
      EXPECT_EQ(pass.Run(text, 1), loss) << e.spec.name;
    } else {
      EXPECT_NE(pass.Run(text, 1), loss) << e.spec.name;
    }
  }
}

void CheckCheckpointing(const ModelConfig& config, DepthOf depth, double share) {
  struct Outcome {
    std::vector<double> losses;
    std::vector<float> bits;
    size_t peak = 0;
  } outcomes[2];
  for (int threads : {1, 2}) {
    Outcome& out = outcomes[threads - 1];
    Parameters parameters(config);
    parameters.Initialize(config, 5);
    NetworkPass pass(config, &parameters, threads);
    pass.network.set_checkpointing(threads == 2);
    for (uint32_t step = 0; step < 2; ++step) {
      pass.tape.Reset();
      NaiveText text = RandomText(4 * 200, config.vocab_size, 2 + step);
      SetDepths(config, 200, depth, &text);
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
  EXPECT_LT(static_cast<double>(outcomes[1].peak), share * static_cast<double>(outcomes[0].peak));
  testing::Test::RecordProperty(
      config.quant.enabled ? "peak_bytes" : "float_peak_bytes",
      std::to_string(outcomes[0].peak) + " " + std::to_string(outcomes[1].peak));
}

}  // namespace chimera
