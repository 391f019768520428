// chimera grammar: what the grammars of requests do, without a model: compile, check, mask-bench.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iterator>
#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/string_view.h"
#include "grammar/expected_bytes.h"
#include "grammar/fstpack.h"
#include "grammar/grammar_cache.h"
#include "grammar/state_table.h"
#include "services/cli/commands.h"
#include "services/cli/grammar_commands.h"
#include "services/cli/grammar_flags.h"

namespace chimera {
namespace {

constexpr size_t kTextBytesMax = size_t{256} << 20;

struct CheckFlags {
  GrammarFlags grammar;
  std::string file;
  bool quiet = false;
};

// "line 3, column 14".
std::string Place(std::string_view text, size_t at) {
  const std::string_view before = text.substr(0, at);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  return absl::StrCat("line ", line, ", column ", at - (before.rfind('\n') + 1) + 1);
}

absl::Status Fault(StateTable* table, GrammarState state, std::string_view text, size_t at) {
  const std::string found =
      at == text.size()
          ? "the text ends"
          : absl::StrCat("\"", absl::CEscape(ToAbsl(text.substr(at, 1))), "\" stands");
  return absl::InvalidArgumentError(absl::StrCat(Place(text, at), " (byte ", at, "): ", found,
                                                 " where the grammar expects ",
                                                 ExpectedBytes(table, state)));
}

// Of a pack, the one it holds: packs to generate with know fewer spellings.
absl::StatusOr<std::shared_ptr<const Machine>> CheckMachine(const GrammarFlags& flags) {
  if (!flags.pack_file.empty()) {
    CHIMERA_ASSIGN_OR_RETURN(const GrammarPack pack, ReadGrammarPack(flags.pack_file));
    return pack.machine;
  }
  CHIMERA_ASSIGN_OR_RETURN(const GrammarSource source, ReadGrammarFlags(flags));
  return CompileGrammar(source, GrammarUse::kCheck);
}

absl::Status RunCheck(const CheckFlags& flags) {
  const auto machine = CheckMachine(flags.grammar);
  if (!machine.ok()) return AsUsageError(machine.status());
  std::string text;
  if (flags.file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    CHIMERA_ASSIGN_OR_RETURN(text, ReadFile(flags.file, kTextBytesMax));
  }
  auto table = std::make_unique<StateTable>(*machine);
  GrammarState state = table->start();
  for (size_t i = 0; i < text.size(); ++i) {
    const GrammarState next = table->Next(state, static_cast<uint8_t>(text[i]));
    CHIMERA_RETURN_IF_ERROR(table->status());
    if (next == kDeadState) return Fault(table.get(), state, text, i);
    state = next;
    if (table->bytes() > kGrammarTableBytesMax) {
      auto fresh = std::make_unique<StateTable>(*machine);
      state = fresh->Adopt(*table, state);
      table = std::move(fresh);
    }
  }
  if (!table->CanEnd(state)) return Fault(table.get(), state, text, text.size());
  if (!flags.quiet) std::printf("%s: in the language\n", flags.file.c_str());
  return absl::OkStatus();
}

void AddCheck(CLI::App* grammar, Command* run) {
  auto flags = std::make_shared<CheckFlags>();
  CLI::App* sub = grammar->add_subcommand("check", "Is this file a text of the grammar?");
  AddGrammarFlags(sub, &flags->grammar, true, true);
  sub->add_option("file", flags->file, "The text; - reads standard input")->required();
  sub->add_flag("--quiet", flags->quiet, "Say nothing when it is");
  sub->footer(
      "Examples:\n"
      "  chimera grammar check --mode json answer.json\n"
      "  chimera grammar check --schema person.schema.json -\n"
      "Exit codes: 0 it is, 1 it is not (place and what was expected on standard error),\n"
      "2 the grammar itself is refused.");
  sub->callback([flags, run] { *run = [flags] { return RunCheck(*flags); }; });
}

}  // namespace

void AddGrammar(CLI::App& app, Command* run) {
  CLI::App* grammar = app.add_subcommand("grammar", "Compile, check and measure grammars");
  grammar->require_subcommand(1);
  AddCheck(grammar, run);
  AddGrammarCompletions(grammar, run);
  AddGrammarCompile(grammar, run);
  AddGrammarMaskBench(grammar, run);
  AddGrammarHeadBench(grammar, run);
}

}  // namespace chimera
