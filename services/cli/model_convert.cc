// chimera model convert: a model folder in another packing, or one of a configuration.
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
#include "model/repack.h"
#include "services/cli/commands.h"
#include "services/cli/model_commands.h"
#include "services/cli/progress_line.h"
#include "train/jobs_tokenizer.h"

namespace chimera {
namespace {

struct ConvertFlags {
  InspectFlags what;    // with --random, else what.model is the folder to copy
  std::string packing;  // of the copy; empty: as it is
  bool random = false;
  uint64_t seed = 1;
  std::string out;
  std::string ranks;
};

absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerFor(const std::string& ranks,
                                                              const Config& config) {
  if (!ranks.empty()) return LoadTokenizerFile(ranks, config.tokens.n_ranks);
  std::vector<std::string> places = RankFilePlaces();
  for (const std::string& place : PlacesAbove("models/nano/tokenizer.model")) {
    places.push_back(place);
  }
  return FindTokenizer(places, config.tokens.n_ranks);
}

absl::Status Repack(const ConvertFlags& flags) {
  if (flags.packing.empty() && flags.what.head_bits == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(flags.what.model, ": --packing or --head-bits says what to change"));
  }
  RepackOptions options;
  if (!flags.packing.empty()) {
    options.packing =
        flags.packing == "base3" ? TernaryPacking::kBase3 : TernaryPacking::kRowsInLanes;
  }
  if (flags.what.head_bits != 0) options.head_bits = flags.what.head_bits;
  CHIMERA_ASSIGN_OR_RETURN(const auto before, Model::Load(flags.what.model));
  CHIMERA_RETURN_IF_ERROR(RepackModel(flags.what.model, options, flags.out).status());
  CHIMERA_ASSIGN_OR_RETURN(const auto after, Model::Load(flags.out));
  const HeadView &head = after->weights().head(), &head_before = before->weights().head();
  if (flags.what.json) {
    const nlohmann::ordered_json out = {{"model_id", after->id()},
                                        {"weight_bytes", after->weight_bytes()},
                                        {"weight_bytes_before", before->weight_bytes()},
                                        {"head_packing", HeadPacking(head)},
                                        {"head_bytes", HeadBytes(head)},
                                        {"head_bytes_before", HeadBytes(head_before)}};
    std::printf("%s\n", out.dump().c_str());
    return absl::OkStatus();
  }
  std::printf("model %s in %s: %s bytes of weights, %s before\n", after->id().c_str(),
              flags.out.c_str(), CountText(after->weight_bytes()).c_str(),
              CountText(before->weight_bytes()).c_str());
  std::printf("embedding and head: %s bytes as %s, %s as %s before\n",
              CountText(HeadBytes(head)).c_str(), HeadPacking(head),
              CountText(HeadBytes(head_before)).c_str(), HeadPacking(head_before));
  return absl::OkStatus();
}

absl::Status MakeRandom(const ConvertFlags& flags) {
  CHIMERA_ASSIGN_OR_RETURN(const Config config, LoadInspected(flags.what));
  CHIMERA_ASSIGN_OR_RETURN(const ModelReport report, BuildReport(config));
  CHIMERA_ASSIGN_OR_RETURN(const std::string id,
                           MakeRandomFolder(flags.what, flags.seed, flags.ranks, flags.out));
  CHIMERA_ASSIGN_OR_RETURN(const auto model, Model::Load(flags.out));
  const int64_t state = BraidState::Bytes(config.model);
  if (flags.what.json) {
    const nlohmann::ordered_json out = {{"model_id", id},
                                        {"folder", flags.out},
                                        {"parameters", report.parameters.total},
                                        {"weight_bytes", model->weight_bytes()},
                                        {"head_packing", HeadPacking(model->weights().head())},
                                        {"head_bytes", HeadBytes(model->weights().head())},
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
  std::printf("embedding and head: %s bytes as %s\n",
              CountText(HeadBytes(model->weights().head())).c_str(),
              HeadPacking(model->weights().head()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> MakeRandomFolder(const InspectFlags& what, uint64_t seed,
                                             const std::string& ranks, const std::string& folder) {
  CHIMERA_ASSIGN_OR_RETURN(const Config config, LoadInspected(what));
  CHIMERA_RETURN_IF_ERROR(CheckTrainable(config));
  CHIMERA_ASSIGN_OR_RETURN(const auto tokenizer, TokenizerFor(ranks, config));
  return WriteRandomModel(config, *tokenizer, seed, folder);
}

void AddConvert(CLI::App& model, Command* run) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* sub = model.add_subcommand(
      "convert", "Copy a model folder in another packing, or make a random one");
  CLI::Option_group* which = sub->add_option_group("What to make");
  CLI::Option* folder = which->add_option("folder", flags->what.model, "Model folder to copy");
  CLI::Option* packing =
      sub->add_option("--packing", flags->packing, "How ternary weights lie in the copy's file")
          ->check(CLI::IsMember({"rows_in_lanes", "base3"}));
  sub->add_option("--head-bits", flags->what.head_bits,
                  "Bits of a weight of the embedding and head: 8, 6 or 4")
      ->check(CLI::IsMember({8, 6, 4}));
  CLI::Option* random =
      which->add_flag("--random", flags->random, "Fresh random weights for --config instead");
  which->require_option(1);
  CLI::Option* config = sub->add_option("--config", flags->what.config, "Model configuration file");
  packing->needs(folder);
  random->needs(config);
  config->needs(random);
  sub->add_option("--scale", flags->what.scale, "scales/NAME.json beside the configuration")
      ->needs(config);
  sub->add_option("--overlay", flags->what.overlays, "JSON merge patches on top")->needs(config);
  sub->add_option("--seed", flags->seed, "Seed of random weights (1)")->needs(random);
  sub->add_option("--ranks", flags->ranks,
                  "Rank file o200k_base.tiktoken; looked up in .cache/tokenizer by default")
      ->needs(random);
  sub->add_option("--out", flags->out, "Folder to write")->required();
  sub->add_flag("--json", flags->what.json, "One JSON object: model_id, weight_bytes, ...");
  sub->footer(
      "base3 takes 1.6 bits a weight instead of 2, on disk and in memory; what the model says\n"
      "stays the same to the bit. It is the quicker one where memory is the limit: `chimera bench\n"
      "kernels` tells. A head of 6 or 4 bits is smaller and rounds: `chimera eval` says what that\n"
      "costs, and bits that are gone do not come back. A random model says nonsense at the speed\n"
      "and in the memory of a trained one: for trying out a shape before it is trained.\n\n"
      "Examples:\n"
      "  chimera model convert models/nano --packing base3 --out /tmp/nano-small\n"
      "  chimera model convert models/nano --head-bits 4 --out /tmp/nano-4\n"
      "  chimera model convert --random --config configs/chimera-5.3.json --scale tiny --out DIR\n"
      "  chimera model convert --random --config configs/chimera-5.3.json --out DIR\n"
      "The last is the full shape: a few minutes, 2 GB on disk.");
  sub->callback([flags, run] {
    *run = [flags] { return flags->random ? MakeRandom(*flags) : Repack(*flags); };
  });
}

}  // namespace chimera
