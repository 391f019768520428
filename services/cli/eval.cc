// chimera eval: bits per byte of a model over a text, by the plane that serves (DESIGN D7).
#include "train/eval.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/exec_context.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cluster/signals.h"
#include "model/model.h"
#include "services/cli/commands.h"
#include "services/cli/progress_line.h"

namespace chimera {
namespace {

constexpr size_t kTextBytesMax = size_t{1} << 30;

struct EvalFlags {
  std::string model;
  std::string text;
  int threads = 0;
  bool json = false;
};

absl::Status RunEval(const EvalFlags& flags) {
  const SignalWatch interrupted([] { ::_exit(130); });
  CHIMERA_ASSIGN_OR_RETURN(const std::string text, ReadFile(flags.text, kTextBytesMax));
  if (text.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(flags.text, ": is empty, nothing to evaluate"));
  }
  CHIMERA_ASSIGN_OR_RETURN(const auto model, Model::Load(flags.model));
  ExecContext exec(flags.threads > 0 ? flags.threads : UsableCpus());
  const int64_t start_ns = Clock::Real().NowNs();
  absl::StatusOr<EvalResult> result;
  {
    ProgressLine line(flags.json);
    result = EvaluateText(*model, text, &exec, [&](int64_t done, int64_t total) {
      const double seconds = static_cast<double>(Clock::Real().NowNs() - start_ns) * 1e-9;
      const double fraction = static_cast<double>(done) / static_cast<double>(total);
      line.ShowBar(fraction, absl::StrCat(CountText(done), "/", CountText(total), " tokens, eta ",
                                          DurationText(seconds / fraction - seconds)));
    });
  }
  CHIMERA_RETURN_IF_ERROR(result.status());
  if (flags.json) {
    const nlohmann::ordered_json out = {{"bpb", result->bpb},
                                        {"bytes", result->bytes},
                                        {"tokens", result->tokens},
                                        {"seconds", result->seconds},
                                        {"model_id", model->id()}};
    std::printf("%s\n", out.dump().c_str());
    return absl::OkStatus();
  }
  std::printf("%.4f bits per byte over %s bytes, %s tokens, in %.1f s (%s tokens/s)\n", result->bpb,
              CountText(result->bytes).c_str(), CountText(result->tokens).c_str(), result->seconds,
              CountText(static_cast<int64_t>(static_cast<double>(result->tokens) /
                                             std::max(result->seconds, 1e-9)))
                  .c_str());
  return absl::OkStatus();
}

}  // namespace

void AddEval(CLI::App& app, Command* run) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* sub = app.add_subcommand("eval", "Bits per byte of a model over a text");
  sub->add_option("--model", flags->model, "Model folder")->required();
  sub->add_option("--text", flags->text, "Text file; every byte counts once")->required();
  sub->add_option("--threads", flags->threads, "Threads; 0 is every usable CPU")
      ->check(CLI::Range(0, 1024));
  sub->add_flag("--json", flags->json, "One JSON object: bpb, bytes, tokens, seconds, model_id");
  sub->footer(
      "One pass, state carried from byte to byte; the result is the same for any thread count.\n"
      "Lower is better: 8 is no model at all, 2 reads like English.\n\n"
      "Example:\n"
      "  chimera eval --model models/nano --text notes.txt --json");
  sub->callback([flags, run] { *run = [flags] { return RunEval(*flags); }; });
}

}  // namespace chimera
