// chimera model: what a configuration or a model folder really holds.
#include "model/model.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/exec_context.h"
#include "base/status_macros.h"
#include "cluster/signals.h"
#include "config/config.h"
#include "config/inspect.h"
#include "services/cli/commands.h"
#include "services/cli/model_commands.h"
#include "services/cli/progress_line.h"
#include "train/eval.h"

namespace chimera {

absl::StatusOr<Config> LoadInspected(const InspectFlags& flags) {
  if (!flags.model.empty()) return LoadConfig(absl::StrCat(flags.model, "/", kConfigFile));
  std::vector<std::string> overlays;
  if (!flags.scale.empty()) {
    if (flags.scale.find('/') != std::string::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("scale \"", flags.scale, "\" must be a name, such as nano"));
    }
    const std::filesystem::path folder = std::filesystem::path(flags.config).parent_path();
    overlays.push_back((folder / "scales" / (flags.scale + ".json")).string());
  }
  overlays.insert(overlays.end(), flags.overlays.begin(), flags.overlays.end());
  CHIMERA_ASSIGN_OR_RETURN(const Config config, LoadConfig(flags.config, overlays));
  if (flags.head_bits == 0) return config;
  return ParseConfig(ConfigJson(config),
                     {absl::StrCat("{\"quantization\": {\"head_bits\": ", flags.head_bits, "}}")});
}

namespace {

struct VerifyFlags {
  std::string model;
  bool json = false;
};

absl::Status RunInspect(const InspectFlags& flags) {
  CHIMERA_ASSIGN_OR_RETURN(const Config config, LoadInspected(flags));
  CHIMERA_ASSIGN_OR_RETURN(const ModelReport report, BuildReport(config));
  const std::string text = flags.json ? RenderReportJson(report) : RenderReport(report);
  std::printf("%s%s", text.c_str(), text.ends_with('\n') ? "" : "\n");
  return absl::OkStatus();
}

absl::Status RunVerify(const VerifyFlags& flags) {
  const SignalWatch interrupted([] { ::_exit(130); });
  CHIMERA_ASSIGN_OR_RETURN(const auto model, Model::Load(flags.model));
  ExecContext exec(1);
  const std::string signature = ModelSignature(*model, &exec);
  if (flags.json) {
    const nlohmann::ordered_json out = {{"ok", true},
                                        {"signature", signature},
                                        {"model_id", model->id()},
                                        {"name", model->shape().name},
                                        {"vocab_size", model->shape().vocab_size},
                                        {"weight_bytes", model->weight_bytes()}};
    std::printf("%s\n", out.dump().c_str());
    return absl::OkStatus();
  }
  std::printf("%s is whole: model %s (%s), %s bytes of weights, %s ids, signature %s\n",
              flags.model.c_str(), model->id().c_str(), model->shape().name.c_str(),
              CountText(model->weight_bytes()).c_str(),
              CountText(model->shape().vocab_size).c_str(), signature.c_str());
  return absl::OkStatus();
}

void AddInspect(CLI::App& model, Command* run) {
  auto flags = std::make_shared<InspectFlags>();
  CLI::App* sub = model.add_subcommand("inspect", "Layers, parameters and bytes, counted");
  CLI::Option_group* what = sub->add_option_group("What to inspect");
  what->add_option("--config", flags->config, "Model configuration file");
  CLI::Option* folder = what->add_option("--model", flags->model, "Model folder");
  what->require_option(1);
  sub->add_option("--scale", flags->scale, "scales/NAME.json beside the configuration")
      ->excludes(folder);
  sub->add_option("--overlay", flags->overlays, "JSON merge patches on top")->excludes(folder);
  sub->add_flag("--json", flags->json, "One JSON object: parameters, bytes, pending_keys, ...");
  sub->footer(
      "Counts follow from the dimensions, never from the labels in the file; both are shown.\n\n"
      "Examples:\n"
      "  chimera model inspect --config configs/chimera-5.3.json --scale nano\n"
      "  chimera model inspect --model models/nano --json");
  sub->callback([flags, run] { *run = [flags] { return RunInspect(*flags); }; });
}

void AddVerify(CLI::App& model, Command* run) {
  auto flags = std::make_shared<VerifyFlags>();
  CLI::App* sub = model.add_subcommand("verify", "Check every byte of a model folder");
  sub->add_option("folder", flags->model, "Model folder")->required();
  sub->add_flag("--json", flags->json, "One JSON object: ok, model_id, name, vocab_size, ...");
  sub->footer(
      "Sizes and digests against the manifest, weights against the configuration, tokenizer\n"
      "against the vocabulary. The id is the SHA-256 of manifest.json; the signature is a hash of\n"
      "what the model says greedily, the same on every machine.\n\n"
      "Example:\n"
      "  chimera model verify models/nano");
  sub->callback([flags, run] { *run = [flags] { return RunVerify(*flags); }; });
}

}  // namespace

void AddModel(CLI::App& app, Command* run) {
  CLI::App* sub = app.add_subcommand("model", "Look into configurations and model folders");
  sub->require_subcommand(1);
  AddInspect(*sub, run);
  AddVerify(*sub, run);
  AddConvert(*sub, run);
}

}  // namespace chimera
