// chimera eval: bits per byte of a model over a text, by the plane that serves (DESIGN D7); with
// parts removed, by the plane that trains (train/ablation.h).
#include "train/eval.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/exec_context.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cluster/signals.h"
#include "model/model.h"
#include "services/cli/commands.h"
#include "services/cli/progress_line.h"
#include "train/ablation.h"
#include "train/validation.h"

namespace chimera {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kTextBytesMax = size_t{1} << 30;

struct EvalFlags {
  std::string model;
  std::string text;
  int64_t bytes = 0;  // 0: all
  int loops = 0;      // 0: the model's default
  std::vector<std::string> ablate;
  bool ablations = false;
  int threads = 0;
  bool json = false;
};

// One measurement of a table.
struct Row {
  std::string parts;
  std::string help;
  double bpb = 0;
};

absl::StatusOr<std::string> TextOf(const EvalFlags& flags) {
  CHIMERA_ASSIGN_OR_RETURN(std::string text, ReadFile(flags.text, kTextBytesMax));
  if (text.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(flags.text, ": is empty, nothing to evaluate"));
  }
  if (flags.bytes == 0) return text;
  text.resize(WholeCharacters(text, flags.bytes).size());
  if (!text.empty()) return text;
  return absl::InvalidArgumentError(
      absl::StrCat("--bytes ", flags.bytes, ": less than the first character of ", flags.text));
}

absl::Status RunServing(const EvalFlags& flags, const Model& model, const std::string& text,
                        ExecContext* exec) {
  const int64_t start_ns = Clock::Real().NowNs();
  absl::StatusOr<EvalResult> result;
  {
    ProgressLine line(flags.json);
    const auto show = [&](int64_t done, int64_t total) {
      const double seconds = static_cast<double>(Clock::Real().NowNs() - start_ns) * 1e-9;
      const double fraction = static_cast<double>(done) / static_cast<double>(total);
      line.ShowBar(fraction, absl::StrCat(CountText(done), "/", CountText(total), " tokens, eta ",
                                          DurationText(seconds / fraction - seconds)));
    };
    result = EvaluateText(model, text, exec, show, nullptr, flags.loops);
  }
  CHIMERA_RETURN_IF_ERROR(result.status());
  if (flags.json) {
    const Json out = {{"bpb", result->bpb},         {"bytes", result->bytes},
                      {"tokens", result->tokens},   {"loops", result->loops},
                      {"seconds", result->seconds}, {"model_id", model.id()}};
    std::printf("%s\n", out.dump().c_str());
    return absl::OkStatus();
  }
  const double rate = static_cast<double>(result->tokens) / std::max(result->seconds, 1e-9);
  std::printf("%.4f bits per byte over %s bytes, %s tokens, loops %d, in %.1f s (%s tokens/s)\n",
              result->bpb, CountText(result->bytes).c_str(), CountText(result->tokens).c_str(),
              result->loops, result->seconds, CountText(static_cast<int64_t>(rate)).c_str());
  return absl::OkStatus();
}

void PrintAblations(const std::vector<Row>& rows, const AblationResult& whole, int64_t bytes,
                    int loops) {
  std::printf("%-20s %8.4f           bits per byte over %s bytes, loops %d\n", "whole model",
              whole.bpb, CountText(bytes).c_str(), loops);
  for (const Row& row : rows) {
    std::printf("%-20s %8.4f %+9.4f %s\n", row.parts.c_str(), row.bpb, row.bpb - whole.bpb,
                row.help.c_str());
  }
  for (const ExpertImbalance& layer : whole.experts) {
    std::printf("experts of layer %d: imbalance %.3f over %s picks\n", layer.layer, layer.imbalance,
                CountText(layer.picks).c_str());
  }
}

Json AblationsJson(const std::vector<Row>& rows, const AblationResult& whole) {
  Json parts = Json::array(), experts = Json::array();
  for (const Row& row : rows) {
    parts.push_back({{"part", row.parts}, {"bpb", row.bpb}, {"change", row.bpb - whole.bpb}});
  }
  for (const ExpertImbalance& layer : whole.experts) {
    experts.push_back(
        {{"layer", layer.layer}, {"picks", layer.picks}, {"imbalance", layer.imbalance}});
  }
  return {{"bpb", whole.bpb}, {"ablations", parts}, {"expert_imbalance", experts}};
}

absl::Status RunAblations(const EvalFlags& flags, const Model& model, const std::string& text,
                          ExecContext* exec) {
  const int64_t start_ns = Clock::Real().NowNs();
  Ablation ablation(model, flags.loops, exec);
  if (const absl::Status known = CheckAblation(ablation.config(), flags.ablate); !known.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--ablate: ", known.message()));
  }
  std::vector<std::vector<std::string>> removed;
  std::vector<Row> rows;
  if (flags.ablations) {
    for (const AblationPart& part : AblationParts(ablation.config())) {
      removed.push_back({part.name});
      rows.push_back({part.name, part.help});
    }
  } else {
    removed.push_back(flags.ablate);
    rows.push_back({absl::StrJoin(flags.ablate, ","), "removed"});
  }
  AblationResult whole;
  {
    ProgressLine line(flags.json);
    const auto show = [&](size_t done) {
      line.ShowBar(static_cast<double>(done) / static_cast<double>(rows.size() + 1),
                   absl::StrCat(done, "/", rows.size() + 1, " passes over the text"));
    };
    show(0);
    whole = ablation.Measure(text, {});
    for (size_t i = 0; i < rows.size(); ++i) {
      show(i + 1);
      rows[i].bpb = ablation.Measure(text, removed[i]).bpb;
    }
  }
  const auto bytes = static_cast<int64_t>(text.size());
  const int loops = ablation.config().loop.loops_default;
  if (!flags.json) {
    PrintAblations(rows, whole, bytes, loops);
    return absl::OkStatus();
  }
  Json out = AblationsJson(rows, whole);
  out["bytes"] = bytes;
  out["loops"] = loops;
  out["seconds"] = static_cast<double>(Clock::Real().NowNs() - start_ns) * 1e-9;
  out["model_id"] = model.id();
  std::printf("%s\n", out.dump().c_str());
  return absl::OkStatus();
}

absl::Status RunEval(const EvalFlags& flags) {
  const SignalWatch interrupted([] { ::_exit(130); });
  CHIMERA_ASSIGN_OR_RETURN(const std::string text, TextOf(flags));
  CHIMERA_ASSIGN_OR_RETURN(const auto model, Model::Load(flags.model));
  if (const absl::Status loops = CheckLoops(model->shape(), flags.loops); !loops.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--", loops.message()));
  }
  ExecContext exec(flags.threads > 0 ? flags.threads : UsableCpus());
  if (flags.ablations || !flags.ablate.empty()) return RunAblations(flags, *model, text, &exec);
  return RunServing(flags, *model, text, &exec);
}

std::string Footer() {
  std::string text =
      "One pass, state carried from byte to byte; the result is the same for any thread count.\n"
      "Lower is better: 8 is no model at all, 2 reads like English.\n\n"
      "Parts (a model has those of its layers):\n";
  for (const AblationPart& part : AllAblationParts()) {
    absl::StrAppendFormat(&text, "  %-18s %s\n", part.name, part.help);
  }
  return text +
         "\nExamples:\n"
         "  chimera eval --model models/nano --text notes.txt --json\n"
         "  chimera eval --model models/nano --text notes.txt --bytes 20000 --ablations";
}

}  // namespace

void AddEval(CLI::App& app, Command* run) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* sub = app.add_subcommand("eval", "Bits per byte of a model over a text");
  sub->add_option("--model", flags->model, "Model folder")->required();
  sub->add_option("--text", flags->text, "Text file; every byte counts once")->required();
  sub->add_option("--bytes", flags->bytes, "Only the text's first bytes, whole characters")
      ->check(CLI::Range(int64_t{1}, static_cast<int64_t>(kTextBytesMax)));
  sub->add_option("--loops", flags->loops,
                  "Iterations of the looped block for every token; default: the model's")
      ->check(CLI::PositiveNumber);
  CLI::Option* ablate =
      sub->add_option("--ablate", flags->ablate, "Also measure without these parts: tm,sk.sketch")
          ->delimiter(',');
  sub->add_flag("--ablations", flags->ablations, "A table: the model without each of its parts")
      ->excludes(ablate);
  sub->add_option("--threads", flags->threads, "Threads; 0 is every usable CPU")
      ->check(CLI::Range(0, 1024));
  sub->add_flag("--json", flags->json,
                "One JSON object: bpb, bytes, loops, seconds, model_id and tokens; with parts "
                "removed ablations and expert_imbalance in place of tokens");
  sub->footer(Footer());
  sub->callback([flags, run] { *run = [flags] { return RunEval(*flags); }; });
}

}  // namespace chimera
