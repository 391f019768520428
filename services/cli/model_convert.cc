// chimera model convert: makes a model folder of a configuration.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "config/inspect.h"
#include "model/braid_state.h"
#include "model/model.h"
#include "model/random_model.h"
#include "services/cli/commands.h"
#include "services/cli/model_commands.h"
#include "services/cli/progress_line.h"
#include "train/jobs_tokenizer.h"

namespace chimera {
namespace {

struct ConvertFlags {
  InspectFlags what;
  bool random = false;
  uint64_t seed = 1;
  std::string out;
  std::string ranks;
};

absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerFor(const ConvertFlags& flags,
                                                              const Config& config) {
  if (!flags.ranks.empty()) return LoadTokenizerFile(flags.ranks, config.tokens.n_ranks);
  std::vector<std::string> places = RankFilePlaces();
  for (const std::string& place : PlacesAbove("models/nano/tokenizer.model")) {
    places.push_back(place);
  }
  return FindTokenizer(places, config.tokens.n_ranks);
}

absl::Status RunConvert(const ConvertFlags& flags) {
  CHIMERA_ASSIGN_OR_RETURN(const Config config, LoadInspected(flags.what));
  CHIMERA_RETURN_IF_ERROR(CheckTrainable(config));
  CHIMERA_ASSIGN_OR_RETURN(const ModelReport report, BuildReport(config));
  CHIMERA_ASSIGN_OR_RETURN(const auto tokenizer, TokenizerFor(flags, config));
  CHIMERA_ASSIGN_OR_RETURN(const std::string id,
                           WriteRandomModel(config, *tokenizer, flags.seed, flags.out));
  CHIMERA_ASSIGN_OR_RETURN(const auto model, Model::Load(flags.out));
  const int64_t state = BraidState::Bytes(config.model);
  if (flags.what.json) {
    const nlohmann::ordered_json out = {{"model_id", id},
                                        {"folder", flags.out},
                                        {"parameters", report.parameters.total},
                                        {"weight_bytes", model->weight_bytes()},
                                        {"state_bytes", state}};
    std::printf("%s\n", out.dump().c_str());
    return absl::OkStatus();
  }
  const std::string text = RenderReport(report);
  std::printf("%s%s", text.c_str(), text.ends_with('\n') ? "" : "\n");
  std::printf("\n%s: %s parameters, %s bytes of weights, %s bytes of state a stream at %d loops\n",
              flags.out.c_str(), CountText(report.parameters.total).c_str(),
              CountText(model->weight_bytes()).c_str(), CountText(state).c_str(),
              config.model.loop.loops_default);
  return absl::OkStatus();
}

}  // namespace

void AddConvert(CLI::App& model, Command* run) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* sub = model.add_subcommand("convert", "Make a model folder of a configuration");
  sub->add_flag("--random", flags->random, "With fresh random weights")->required();
  sub->add_option("--config", flags->what.config, "Model configuration file")->required();
  sub->add_option("--scale", flags->what.scale, "scales/NAME.json beside the configuration");
  sub->add_option("--overlay", flags->what.overlays, "JSON merge patches on top");
  sub->add_option("--out", flags->out, "Folder to write")->required();
  sub->add_option("--seed", flags->seed, "Seed of the weights (1)");
  sub->add_option("--ranks", flags->ranks,
                  "Rank file o200k_base.tiktoken; looked up in .cache/tokenizer by default");
  sub->add_flag("--json", flags->what.json, "One JSON object: model_id, parameters, weight_bytes");
  sub->footer(
      "For trying out and timing a shape before it is trained: the model says nonsense at the\n"
      "speed and in the memory of the real one.\n\n"
      "Examples:\n"
      "  chimera model convert --random --config configs/chimera-5.3.json --scale tiny --out DIR\n"
      "  chimera model convert --random --config configs/chimera-5.3.json --out DIR\n"
      "The second is the full shape: a few minutes, 2 GB on disk.");
  sub->callback([flags, run] { *run = [flags] { return RunConvert(*flags); }; });
}

}  // namespace chimera
