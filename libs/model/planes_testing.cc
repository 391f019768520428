#include "model/planes_testing.h"

#include <algorithm>

#include "base/check.h"
#include "base/philox.h"
#include "layers/span_knot_op.h"
#include "model/step.h"
#include "tensor/kernels.h"

namespace chimera {
namespace {

// The same fields for each row of a batch.
struct ConstantFields {
  ConstantFields(const SpanFields& fields, int words, size_t rows) {
    const SpanField* all[] = {&fields.memory, &fields.grammar, &fields.debt};
    for (int f = 0; f < 3; ++f) {
      if (all[f]->bits == nullptr) continue;
      index[f].assign(rows, static_cast<int32_t>(table.size()) / words);
      weight[f].assign(rows, all[f]->weight);
      table.insert(table.end(), all[f]->bits, all[f]->bits + words);
      view.index[f] = index[f].data();
      view.weight[f] = weight[f].data();
    }
    view.bits = table.data();
  }

  std::vector<uint64_t> table;
  std::vector<int32_t> index[3];
  std::vector<float> weight[3];
  SketchFields view;
};

}  // namespace

std::vector<int32_t> RandomTokens(int n, int vocab, uint64_t seed) {
  const PhiloxStream rng(seed, RngPurpose::kDataShuffle, 0);
  std::vector<int32_t> tokens;
  for (int i = 0; i < n; ++i) {
    tokens.push_back(static_cast<int32_t>(rng.Word(uint64_t(i)) % uint32_t(vocab)));
  }
  return tokens;
}

TextBatch::TextBatch(std::span<const int32_t> tokens, int n_seqs) : reset_(tokens.size() - 1) {
  CHIMERA_CHECK((tokens.size() - 1) % size_t(n_seqs) == 0);
  view_.n_seqs = n_seqs;
  view_.seq_len = static_cast<int>(tokens.size() - 1) / n_seqs;
  view_.tokens = tokens.data();
  view_.targets = tokens.data() + 1;
  view_.reset = reset_.data();
}

std::vector<float> TrainNll(const ModelConfig& config, Parameters* parameters,
                            std::span<const int32_t> tokens, const PlaneRun& run, bool backward) {
  ExecContext exec(run.threads);
  Tape tape(&exec);
  tape.set_recording(backward);
  Network network(config, parameters);
  network.Prepare(&exec);
  const TextBatch text(tokens);
  TrainBatch batch = text.view();
  if (!run.loops.empty()) batch.loops = run.loops.data();
  const ConstantFields fields(run.fields, config.sk.sketch_bits / 64, tokens.size() - 1);
  batch.fields = &fields.view;
  std::vector<float> start(size_t(network.StateFloats())), end = start, nll(tokens.size() - 1);
  network.Forward(&tape, batch, start.data(), end.data(), nll.data());
  if (backward) tape.Backward();
  return nll;
}

std::vector<float> ServeNll(const Model& model, std::span<const int32_t> tokens, size_t block,
                            const PlaneRun& run) {
  ExecContext exec(run.threads);
  Stepper stepper(model, &exec, Stepper::kPrefillMax);
  BraidState state(model.shape(), model.shape().loop.loops_max);
  const std::vector<uint8_t> usual(tokens.size(), uint8_t(model.shape().loop.loops_default));
  const std::span<const uint8_t> loops = run.loops.empty() ? std::span(usual) : run.loops;
  const auto vocab = static_cast<size_t>(model.shape().vocab_size);
  std::vector<float> logits(vocab * block), nll;
  std::vector<Stepper::Row> rows;
  for (size_t at = 0; at + 1 < tokens.size(); at += block) {
    const size_t n = std::min(block, tokens.size() - 1 - at);
    rows.clear();
    for (size_t t = at; t < at + n; ++t) {
      rows.push_back(
          {.state = &state, .token = tokens[t], .loops = loops[t], .fields = &run.fields});
    }
    const auto hidden = stepper.Batch(rows);
    stepper.Logits(hidden, static_cast<int>(n), std::span(logits).first(n * vocab));
    for (size_t i = 0; i < n; ++i) {
      const float* row = logits.data() + i * vocab;
      nll.push_back(Kernels().log_sum_exp(row, int64_t(vocab)) - row[tokens[at + i + 1]]);
    }
  }
  return nll;
}

}  // namespace chimera
