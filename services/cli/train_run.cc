// chimera train run: a recipe and a folder of text become a model folder, in this process.
#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cluster/signals.h"
#include "config/recipe.h"
#include "model/model.h"
#include "services/cli/progress_line.h"
#include "services/cli/train.h"
#include "train/init_model.h"
#include "train/jobs_spec.h"
#include "train/jobs_tokenizer.h"
#include "train/trainer.h"

namespace chimera {
namespace {

struct RunFlags {
  std::string recipe;
  std::string data;
  std::string work;
  std::string valid;
  std::string tokenizer;
  std::string ranks;
  std::string init_model;
  int threads = 0;
  int64_t steps = 0;
  double minutes = 0;
  uint64_t seed = 0;
  bool seed_given = false;
  bool json = false;
};

nlohmann::json ProgressJson(const TrainProgress& p) {
  return {{"step", p.step},
          {"steps_total", p.steps_total},
          {"tokens", p.tokens},
          {"train_loss_nats", p.train_loss_nats},
          {"valid_bpb", p.valid_bpb},
          {"tokens_per_second", p.tokens_per_s},
          {"eta_seconds", p.eta_s},
          {"learning_rate", p.learning_rate},
          {"gradient_norm", p.gradient_norm},
          {"projected_gradient", p.projected_gradient},
          {"mean_loops", p.mean_loops},
          {"expert_imbalance", p.expert_imbalance},
          {"checkpoint_step", p.checkpoint_step}};
}

std::string ProgressText(const TrainRecipe& recipe, const TrainProgress& p) {
  std::string text =
      absl::StrFormat("step %s/%s  loss %.4f  bpb %s  grad %.3g  %s tok/s  lr %.2e  eta %s",
                      CountText(p.step), CountText(p.steps_total), p.train_loss_nats,
                      p.valid_bpb > 0 ? absl::StrFormat("%.4f", p.valid_bpb) : "-", p.gradient_norm,
                      CountText(static_cast<int64_t>(p.tokens_per_s)), p.learning_rate,
                      DurationText(RemainingSeconds(recipe, p)));
  if (p.expert_imbalance > 0) absl::StrAppendFormat(&text, "  experts %.2f", p.expert_imbalance);
  if (p.checkpoint_step > 0) absl::StrAppend(&text, "  saved ", CountText(p.checkpoint_step));
  return text;
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> ChooseTokenizer(const RunFlags& flags,
                                                                 const TrainRecipe& recipe) {
  const int n_ranks = recipe.config.tokens.n_ranks;
  if (!flags.tokenizer.empty()) return LoadTokenizerFile(flags.tokenizer, n_ranks);
  if (!flags.ranks.empty()) return LoadTokenizerFile(flags.ranks, n_ranks);
  if (!recipe.init_model.empty()) {
    return LoadTokenizerFile(recipe.init_model + "/" + kTokenizerFile, n_ranks);
  }
  // The shipped model's tokenizer serves every recipe with its vocabulary.
  std::vector<std::string> places = RankFilePlaces();
  for (std::string& place : PlacesAbove("models/nano/tokenizer.model")) {
    places.push_back(std::move(place));
  }
  return FindTokenizer(places, n_ranks);
}

void PrintResult(const RunFlags& flags, const TrainResult& result) {
  if (flags.json) {
    nlohmann::json out = ProgressJson(result.progress);
    out["finished"] = result.finished;
    out["model_folder"] = result.model_folder;
    out["model_id"] = result.model_id;
    std::printf("%s\n", out.dump().c_str());
    return;
  }
  std::printf("model %s in %s, %.4f bits per byte on the held-out text\n", result.model_id.c_str(),
              result.model_folder.c_str(), result.progress.valid_bpb);
}

absl::Status RunTrain(const RunFlags& flags) {
  CHIMERA_ASSIGN_OR_RETURN(TrainRecipe recipe, LoadRecipe(flags.recipe));
  if (flags.threads > 0) recipe.threads = flags.threads;
  if (flags.steps > 0) {
    recipe.steps = flags.steps;
    if (recipe.warmup_steps >= flags.steps) recipe.warmup_steps = WarmupFor(flags.steps);
  }
  if (flags.minutes > 0) recipe.max_minutes = flags.minutes;
  if (flags.seed_given) recipe.seed = flags.seed;
  if (!flags.init_model.empty()) recipe.init_model = flags.init_model;
  if (!recipe.init_model.empty()) CHIMERA_RETURN_IF_ERROR(CheckInitModel(recipe));
  TrainOptions options;
  options.data_path = flags.data;
  options.valid_path = flags.valid;
  options.work_folder = flags.work;
  CHIMERA_ASSIGN_OR_RETURN(options.tokenizer, ChooseTokenizer(flags, recipe));
  std::atomic<bool> stop = false;
  const SignalWatch interrupted([&stop] { stop = true; });
  options.should_stop = [&stop] { return stop.load(); };

  absl::StatusOr<TrainResult> result;
  {
    ProgressLine line(flags.json);
    options.on_progress = [&](const TrainProgress& p) {
      line.Show(ProgressText(recipe, p));
      if (!flags.json) return;
      std::printf("%s\n", ProgressJson(p).dump().c_str());
      std::fflush(stdout);
    };
    result = RunTraining(recipe, options);
  }
  CHIMERA_RETURN_IF_ERROR(result.status());
  if (!result->finished) {
    return absl::CancelledError(
        absl::StrCat("stopped; the checkpoint in ", flags.work,
                     " holds everything done so far: run the same command again to go on"));
  }
  PrintResult(flags, *result);
  return absl::OkStatus();
}

}  // namespace

void AddTrainRun(CLI::App& train, Command* run) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* sub = train.add_subcommand("run", "Train a model in this process, without a server");
  sub->add_option("--recipe", flags->recipe, "Recipe file (configs/recipes)")->required();
  sub->add_option("--data", flags->data, "A text file, or a folder of text files")->required();
  sub->add_option(
         "--work", flags->work,
         "Work folder: checkpoint, loss curve and the finished model/; run again to resume")
      ->required();
  sub->add_option("--valid", flags->valid,
                  "Held-out text; without it the recipe's fraction of the data is held out");
  sub->add_option("--init", flags->init_model,
                  "Model folder to start from instead of fresh parameters; its shape must be the "
                  "recipe's");
  auto* tokenizer = sub->add_option(
      "--tokenizer", flags->tokenizer,
      "tokenizer.model or *.tiktoken with at least as many ranks as the recipe asks for");
  sub->add_option("--ranks", flags->ranks,
                  "Rank file o200k_base.tiktoken; by default looked up in .cache/tokenizer, "
                  "then the shipped model's tokenizer is tried; with --init that model's is used")
      ->excludes(tokenizer);
  sub->add_option("--threads", flags->threads, "Threads; 0 is every usable CPU")
      ->check(CLI::Range(0, 1024));
  sub->add_option("--steps", flags->steps, "Overrides the recipe's steps")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  sub->add_option("--minutes", flags->minutes, "Overrides the recipe's max_minutes")
      ->check(CLI::Range(0.01, 1e6));
  CLI::Option* seed = sub->add_option("--seed", flags->seed, "Overrides the recipe's seed");
  sub->add_flag("--json", flags->json, "Progress and result as one JSON object a line");
  sub->footer(
      "Ctrl-C and SIGTERM write a checkpoint and stop; the same command goes on from there and "
      "ends with "
      "the\n"
      "same bits as a run that was never stopped.\n\n"
      "Examples:\n"
      "  chimera train run --recipe configs/recipes/smoke.json --data notes/ --work /tmp/run\n"
      "  chimera eval --model /tmp/run/model --text notes/today.txt\n"
      "  chimera train run --recipe configs/recipes/nano-adapt.json --init models/nano --data "
      "notes/ "
      "--work /tmp/adapt");
  sub->callback([flags, seed, run] {
    flags->seed_given = seed->count() > 0;
    *run = [flags] { return RunTrain(*flags); };
  });
}

}  // namespace chimera
