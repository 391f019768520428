#include "train/router_fit.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/status_macros.h"
#include "layers/loop.h"

namespace chimera {
namespace {

constexpr int64_t kTokensPerPass = 2048;

// Features and labels of the tokens of a text.
struct Examples {
  std::vector<float> features;
  std::vector<uint8_t> labels;
};

Examples Observe(const ModelConfig& c, std::span<const int32_t> text, Network* network,
                 Tape* tape) {
  const auto d = static_cast<size_t>(c.d_model);
  const int loops = std::min(c.loop.loops_max, kDepthRouterDepths);
  const auto n = static_cast<int64_t>(text.size()) - 1;
  Examples examples;
  std::vector<float> state(static_cast<size_t>(network->StateFloats())), next = state, nll;
  std::vector<float> changes;  // [tokens of the pass][loops]
  network->set_loop_observer([&](const LoopIteration& pass) {
    std::vector<float> change(static_cast<size_t>(pass.n_rows));
    Loop().relative_change(pass.after, pass.before, pass.n_rows, c.d_model, change.data());
    for (int64_t i = 0; i < pass.n_rows; ++i) {
      changes[static_cast<size_t>(pass.rows[i]) * static_cast<size_t>(loops) +
              static_cast<size_t>(pass.iteration - 1)] = change[static_cast<size_t>(i)];
    }
    if (pass.iteration == 1) {
      examples.features.insert(examples.features.end(), pass.e,
                               pass.e + static_cast<size_t>(pass.n_rows) * d);
    }
  });
  tape->set_recording(false);
  for (int64_t begin = 0; begin < n; begin += kTokensPerPass) {
    const int64_t count = std::min(kTokensPerPass, n - begin);
    const std::vector<uint8_t> reset(static_cast<size_t>(count));
    const std::vector<uint8_t> depth(static_cast<size_t>(count), static_cast<uint8_t>(loops));
    changes.assign(static_cast<size_t>(count * loops), 0.0f);
    nll.resize(static_cast<size_t>(count));
    TrainBatch batch;
    batch.n_seqs = 1;
    batch.seq_len = static_cast<int>(count);
    batch.tokens = text.data() + begin;
    batch.targets = text.data() + begin + 1;
    batch.reset = reset.data();
    batch.loops = depth.data();
    tape->Reset();
    network->Forward(tape, batch, state.data(), next.data(), nll.data());
    state.swap(next);
    for (int64_t t = 0; t < count; ++t) {
      examples.labels.push_back(static_cast<uint8_t>(
          OracleDepth(changes.data() + t * loops, loops, c.loop.exit_threshold)));
    }
  }
  tape->set_recording(true);
  tape->Reset();
  network->set_loop_observer(nullptr);
  return examples;
}

void Store(Parameters* parameters, const char* name, const std::vector<float>& values) {
  const Parameters::Entry& e = parameters->entry(name);
  std::copy(values.begin(), values.end(), parameters->values().begin() + e.offset);
}

}  // namespace

absl::StatusOr<DepthRouterReport> FitDepthRouter(const ModelConfig& config,
                                                 std::span<const int32_t> text, uint64_t seed,
                                                 Network* network, Tape* tape,
                                                 Parameters* parameters) {
  text = text.first(std::min<size_t>(text.size(), kRouterTokens + 1));
  const Examples examples = Observe(config, text, network, tape);
  CHIMERA_ASSIGN_OR_RETURN(DepthRouterReport report,
                           TrainDepthRouter(examples.features, config.d_model, examples.labels,
                                            seed, DepthRouterOptions{}, tape->exec()));
  Store(parameters, "router.hidden", report.params.hidden);
  Store(parameters, "router.hidden_bias", report.params.hidden_bias);
  Store(parameters, "router.out", report.params.out);
  Store(parameters, "router.out_bias", report.params.out_bias);
  return report;
}

std::string RouterReportJson(const DepthRouterReport& r) {
  const nlohmann::ordered_json json = {{"held_out_rows", r.held_out_rows},
                                       {"accuracy", r.accuracy},
                                       {"majority", r.majority},
                                       {"collapsed_accuracy", r.collapsed_accuracy},
                                       {"collapsed_majority", r.collapsed_majority},
                                       {"float_accuracy", r.float_accuracy},
                                       {"confusion", r.confusion}};
  return json.dump(1) + "\n";
}

}  // namespace chimera
