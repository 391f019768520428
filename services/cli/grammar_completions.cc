// chimera grammar completions: many completions of a model under modes, at random numbers of
// tokens. A mode promises that a text is complete at any max_tokens that admits one; this counts.
#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/philox.h"
#include "base/status_macros.h"
#include "cluster/completer.h"
#include "cluster/local_knot.h"
#include "cluster/signals.h"
#include "grammar/grammar_cache.h"
#include "grammar/state_table.h"
#include "services/cli/bench.h"
#include "services/cli/grammar_commands.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"

namespace chimera {
namespace {

constexpr const char* kPrompts[] = {"The answer, as asked for:\n", "It was a dark night. ",
                                    "1, 2, 3, ", "def main", "Dear Sir,\n\n"};

struct CompletionsFlags {
  std::string model;
  std::vector<std::string> modes = {"json", "python", "markdown"};
  int count = 10000;
  uint64_t seed = 1;
  int max_tokens = 200;
  std::string out;
  bool json = false;
};

struct ModeFigures {
  int complete = 0, accepted = 0, count = 0;
  int64_t tokens = 0, closing_steps = 0;
};

// Keeps the text.
class TextSink final : public CompletionSink {
 public:
  absl::Status OnStart(const CompletionStart&) override { return absl::OkStatus(); }
  absl::Status OnEvent(const SessionEvent& event) override {
    text += event.text;
    return absl::OkStatus();
  }
  std::string text;
};

bool Accepts(const GrammarSource& source, const std::string& text) {
  const auto machine = CompileGrammar(source, GrammarUse::kCheck);
  if (!machine.ok()) return false;
  StateTable table(*machine);
  const GrammarState end = table.Run(table.start(), text);
  return end != kDeadState && table.CanEnd(end);
}

absl::Status RunOne(const CompletionsFlags& flags, Completer* completer, CancelToken* cancel, int i,
                    std::ofstream* out, ModeFigures* figures) {
  const PhiloxBlock draw =
      Philox4x32({uint32_t(i), 0, 0, 0}, uint32_t(flags.seed), uint32_t(flags.seed >> 32));
  CompletionRequest request;
  request.grammar = {GrammarSource::Kind::kMode, flags.modes[size_t(i) % flags.modes.size()]};
  request.prompt = kPrompts[draw[0] % std::size(kPrompts)];
  request.max_tokens = 1 + static_cast<int>(draw[1] % uint32_t(flags.max_tokens));
  request.seed = flags.seed + uint64_t(i);
  TextSink sink;
  CHIMERA_ASSIGN_OR_RETURN(const CompletionEnd end, completer->Run(request, &sink, cancel));
  const bool accepted = Accepts(request.grammar, sink.text);
  ++figures->count;
  figures->complete += end.grammar->complete;
  figures->accepted += accepted;
  figures->tokens += end.completion_tokens;
  figures->closing_steps += end.grammar->budget_steps;
  if (out->is_open()) {
    const nlohmann::ordered_json line = {{"mode", request.grammar.text},
                                         {"max_tokens", *request.max_tokens},
                                         {"complete", end.grammar->complete},
                                         {"text", sink.text}};
    *out << line.dump() << "\n";
  }
  return absl::OkStatus();
}

absl::Status RunCompletions(const CompletionsFlags& flags) {
  LocalKnotOptions options;
  options.max_streams = 1;
  CHIMERA_ASSIGN_OR_RETURN(const std::unique_ptr<LocalKnot> knot,
                           LocalKnot::Create(options, flags.model, nullptr));
  Completer completer(knot.get(), ParamLimits(), nullptr);
  CancelToken cancel;
  const SignalWatch watch([&cancel] { cancel.Cancel(); });
  std::ofstream out;
  if (!flags.out.empty()) {
    out.open(flags.out);
    if (!out) return absl::NotFoundError(absl::StrCat(flags.out, " cannot be written"));
  }
  std::vector<ModeFigures> figures(flags.modes.size());
  ProgressLine progress(flags.json);
  const int64_t begin_ns = Clock::Real().NowNs();
  for (int i = 0; i < flags.count; ++i) {
    CHIMERA_RETURN_IF_ERROR(
        RunOne(flags, &completer, &cancel, i, &out, &figures[size_t(i) % flags.modes.size()]));
    progress.ShowBar(double(i + 1) / flags.count, absl::StrCat(i + 1, " of ", flags.count));
  }
  const double seconds = double(Clock::Real().NowNs() - begin_ns) * 1e-9;
  nlohmann::ordered_json report = {{"completions", flags.count}, {"seconds", seconds}};
  int incomplete = 0;
  for (size_t m = 0; m < figures.size(); ++m) {
    const ModeFigures& f = figures[m];
    incomplete += f.count - f.complete;
    report["modes"][flags.modes[m]] = {{"completions", f.count},
                                       {"complete", f.complete},
                                       {"accepted", f.accepted},
                                       {"tokens", f.tokens},
                                       {"closing_steps", f.closing_steps}};
  }
  report["incomplete"] = incomplete;
  if (flags.json) {
    PrintJson(report);
  } else {
    std::printf("%s\n", report.dump(2).c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddGrammarCompletions(CLI::App* grammar, Command* run) {
  auto flags = std::make_shared<CompletionsFlags>();
  CLI::App* sub = grammar->add_subcommand("completions", "Count complete texts of a model");
  sub->add_option("--model", flags->model, "Model folder")->required();
  sub->add_option("--modes", flags->modes, "Taken by turns (json, python, markdown)")
      ->delimiter(',');
  sub->add_option("--count", flags->count, "Completions (10000)")->check(CLI::PositiveNumber);
  sub->add_option("--seed", flags->seed, "Same seed, same texts (1)");
  sub->add_option("--max-tokens", flags->max_tokens, "Each gets 1 to so many (200)")
      ->check(CLI::PositiveNumber);
  sub->add_option("--out", flags->out, "JSON lines with the texts, for other parsers");
  sub->add_flag("--json", flags->json, "One JSON object");
  sub->footer("Example:\n  chimera grammar completions --model models/nano --count 300");
  sub->callback([flags, run] { *run = [flags] { return RunCompletions(*flags); }; });
}

}  // namespace chimera
