// chimera complete: one completion, by a model folder in this process or by a running surface.
#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/exec_context.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cluster/completer.h"
#include "cluster/local_knot.h"
#include "cluster/signals.h"
#include "nlohmann/json.hpp"
#include "services/cli/commands.h"
#include "services/cli/grammar_flags.h"
#include "services/cli/surface_client.h"

namespace chimera {
namespace {

struct CompleteFlags {
  std::string model_dir;
  std::string target;
  std::string prompt;
  std::string user;
  bool no_learn = false;
  float temperature = 0;
  float top_p = 0;
  float repetition_penalty = 0;
  int max_tokens = 0;
  uint64_t seed = 0;
  std::vector<std::string> stop;
  int logprobs = 0;
  int timeout_s = 300;
  bool json = false;
  GrammarFlags grammar;
  CLI::Option* has_temperature = nullptr;
  CLI::Option* has_top_p = nullptr;
  CLI::Option* has_repetition_penalty = nullptr;
  CLI::Option* has_max_tokens = nullptr;
  CLI::Option* has_seed = nullptr;
};

// The shortest decimal that reads back as this float: 0.7, not 0.699999988079071.
double Short(float value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  double out = 0;
  std::from_chars(text.data(), end.ptr, out);
  return out;
}

// Text as it comes, or everything at the end as one JSON object.
class Printer final : public CompletionSink {
 public:
  explicit Printer(bool json) : json_(json) {}

  absl::Status OnStart(const CompletionStart& start) override {
    start_ = start;
    if (!json_ && start.memory.has_value() && !start.memory->fault.empty()) {
      std::fprintf(stderr, "going on without the memory: %s\n", start.memory->fault.c_str());
    }
    return absl::OkStatus();
  }

  absl::Status OnEvent(const SessionEvent& event) override {
    text_ += event.text;
    token_ids_.insert(token_ids_.end(), event.token_ids.begin(), event.token_ids.end());
    logprobs_.insert(logprobs_.end(), event.logprobs.begin(), event.logprobs.end());
    reads_.insert(reads_.end(), event.memory_reads.begin(), event.memory_reads.end());
    if (json_) return absl::OkStatus();
    if (std::fwrite(event.text.data(), 1, event.text.size(), stdout) != event.text.size() ||
        std::fflush(stdout) != 0) {
      return absl::CancelledError("standard output was closed");
    }
    return absl::OkStatus();
  }

  // After an error: what follows starts on a line of its own.
  void Break() const {
    if (!json_ && !text_.empty()) std::printf("\n");
    std::fflush(stdout);
  }

  void Finish(const CompletionEnd& end) {
    if (json_) {
      std::printf("%s\n",
                  Json(end).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    } else {
      std::printf("\n");
    }
  }

 private:
  nlohmann::ordered_json Json(const CompletionEnd& end) const {
    nlohmann::ordered_json out;
    out["text"] = text_;
    out["token_ids"] = token_ids_;
    out["finish_reason"] = FinishReasonName(end.reason);
    if (end.reason == FinishReason::kStop) out["stop_index"] = end.stop_index;
    out["usage"] = {{"prompt_tokens", end.prompt_tokens},
                    {"completion_tokens", end.completion_tokens},
                    {"queue_seconds", end.queue_seconds},
                    {"first_token_seconds", end.first_token_seconds},
                    {"total_seconds", end.total_seconds}};
    if (end.grammar.has_value()) {
      out["grammar"] = {{"complete", end.grammar->complete},
                        {"open_bytes", end.grammar->open_bytes},
                        {"masked_steps", end.grammar->masked_steps},
                        {"withheld_ends", end.grammar->withheld_ends},
                        {"budget_steps", end.grammar->budget_steps},
                        {"forced_tokens", end.grammar->forced_tokens}};
    }
    if (!end.debts.empty()) out["debts"] = DebtsJson(end);
    if (start_.memory.has_value()) out["memory"] = MemoryJson();
    out["seed"] = start_.params.seed;
    out["model_id"] = start_.model_id;
    out["parameters"] = {{"temperature", Short(start_.params.temperature)},
                         {"top_p", Short(start_.params.top_p)},
                         {"repetition_penalty", Short(start_.params.repetition_penalty)},
                         {"max_tokens", start_.params.max_tokens},
                         {"stop", start_.params.stop},
                         {"logprobs", start_.params.logprobs}};
    if (start_.params.logprobs > 0) out["logprobs"] = LogprobsJson();
    return out;
  }

  static nlohmann::ordered_json DebtsJson(const CompletionEnd& end) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const DebtOutcome& debt : end.debts) {
      list.push_back({{"type", DebtName(debt.type)},
                      {"outstanding", debt.counts.outstanding},
                      {"opened", debt.counts.opened},
                      {"discharged", debt.counts.discharged},
                      {"overdue", debt.counts.overdue}});
    }
    return list;
  }

  nlohmann::ordered_json MemoryJson() const {
    auto facts = nlohmann::ordered_json::array(), reads = nlohmann::ordered_json::array();
    for (const RecalledText& fact : start_.memory->facts) {
      facts.push_back({{"fact_id", fact.fact_id},
                       {"similarity", Short(fact.similarity)},
                       {"uncertain", fact.uncertain}});
    }
    for (const MemoryRead& read : reads_) {
      reads.push_back({{"position", read.position}, {"fact_ids", read.fact_ids}});
      if (!read.missed.empty()) reads.back()["missed"] = read.missed;
    }
    nlohmann::ordered_json out = {{"facts", facts}, {"reads", reads}};
    if (!start_.memory->fault.empty()) out["fault"] = start_.memory->fault;
    return out;
  }

  nlohmann::ordered_json LogprobsJson() const {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const TokenLogprobs& token : logprobs_) {
      nlohmann::ordered_json top = nlohmann::ordered_json::array();
      for (const RankedToken& ranked : token.top) {
        top.push_back({{"token_id", ranked.token_id}, {"logprob", Short(ranked.logprob)}});
      }
      list.push_back({{"logprob", Short(token.logprob)}, {"top", std::move(top)}});
    }
    return list;
  }

  const bool json_;
  CompletionStart start_;
  std::string text_;
  std::vector<int32_t> token_ids_;
  std::vector<TokenLogprobs> logprobs_;
  std::vector<MemoryRead> reads_;
};

absl::StatusOr<CompletionRequest> MakeRequest(const CompleteFlags& flags) {
  CompletionRequest request;
  request.prompt = flags.prompt;
  if (flags.prompt == "-") {
    request.prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  }
  if (flags.has_temperature->count() > 0) request.temperature = flags.temperature;
  if (flags.has_top_p->count() > 0) request.top_p = flags.top_p;
  if (flags.has_repetition_penalty->count() > 0) {
    request.repetition_penalty = flags.repetition_penalty;
  }
  if (flags.has_max_tokens->count() > 0) request.max_tokens = flags.max_tokens;
  if (flags.has_seed->count() > 0) request.seed = flags.seed;
  request.stop = flags.stop;
  request.user = flags.user;
  request.learn = !flags.no_learn;
  request.logprobs = flags.logprobs;
  CHIMERA_ASSIGN_OR_RETURN(request.grammar, ReadGrammarFlags(flags.grammar));
  return request;
}

absl::StatusOr<CompletionEnd> CompleteHere(const CompleteFlags& flags,
                                           const CompletionRequest& request, Printer* printer,
                                           CancelToken* cancel) {
  LocalKnotOptions options;
  options.max_streams = 1;
  CHIMERA_ASSIGN_OR_RETURN(const std::unique_ptr<LocalKnot> knot,
                           LocalKnot::Create(options, flags.model_dir, nullptr));
  Completer completer(knot.get(), ParamLimits(), nullptr);
  return completer.Run(request, printer, cancel);
}

absl::Status RunComplete(const CompleteFlags& flags) {
  CHIMERA_ASSIGN_OR_RETURN(const CompletionRequest request, MakeRequest(flags));
  Printer printer(flags.json);
  CancelToken cancel;
  const SignalWatch watch([&cancel] { cancel.Cancel(); });
  SurfaceClient client(flags.target, flags.timeout_s * 1000);
  const absl::StatusOr<CompletionEnd> end = flags.target.empty()
                                                ? CompleteHere(flags, request, &printer, &cancel)
                                                : client.Complete(request, &printer, &cancel);
  if (!end.ok()) {
    printer.Break();
    return end.status();
  }
  printer.Finish(*end);
  return absl::OkStatus();
}

}  // namespace

void AddComplete(CLI::App& app, Command* run) {
  auto flags = std::make_shared<CompleteFlags>();
  CLI::App* sub = app.add_subcommand("complete", "Continue a prompt, streaming the text");
  CLI::Option_group* where = sub->add_option_group("Who answers");
  where->add_option("--model", flags->model_dir, "Model folder, run in this process");
  CLI::Option* const target =
      where->add_option("--target", flags->target, "HOST:PORT of a running surface instead");
  where->require_option(1);
  sub->add_option("--prompt", flags->prompt, "Text to continue; - reads standard input")
      ->required();
  sub->add_option("--user", flags->user, "Whose memory is read for it, with --target")
      ->needs(target);
  sub->add_flag("--no-learn", flags->no_learn,
                "The user's memory learns nothing from this completion")
      ->needs("--user");
  flags->has_seed = sub->add_option("--seed", flags->seed, "Same seed, same text (default: drawn)");
  flags->has_max_tokens = sub->add_option("--max-tokens", flags->max_tokens, "Tokens at most");
  flags->has_temperature =
      sub->add_option("--temperature", flags->temperature, "0 takes the likeliest token (0..100)");
  flags->has_top_p = sub->add_option("--top-p", flags->top_p, "Keep this much probability (0, 1]");
  flags->has_repetition_penalty =
      sub->add_option("--repetition-penalty", flags->repetition_penalty, "1 is off (0.1..10)");
  sub->add_option("--stop", flags->stop, "End before this text; may be given 16 times")
      ->allow_extra_args(false);
  sub->add_option("--logprobs", flags->logprobs, "The n likeliest tokens at each position (0..20)");
  sub->add_option("--timeout", flags->timeout_s, "Seconds, with --target (300)")
      ->check(CLI::Range(1, 86400));
  AddGrammarFlags(sub, &flags->grammar);
  sub->add_flag("--json", flags->json, "One JSON object at the end instead of streamed text");
  sub->footer(
      "Examples:\n"
      "  chimera complete --model models/nano --prompt \"It was a dark\" --seed 7\n"
      "  chimera complete --target 127.0.0.1:7400 --prompt - --json < prompt.txt\n"
      "  chimera complete --model models/nano --prompt \"Dear\" --temperature 0 --stop \"\\n\"\n"
      "  chimera complete --model models/nano --prompt \"As JSON: \" --mode json --max-tokens 60\n"
      "  chimera complete --model models/nano --prompt \"Born \" --regex \"[0-9]{4}-[0-9]{2}\"\n"
      "Parameters that are not given take the model's defaults. Ctrl-C cancels.");
  sub->callback([flags, run] { *run = [flags] { return RunComplete(*flags); }; });
}

}  // namespace chimera
