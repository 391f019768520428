// chimera grammar compile: a grammar into an .fstpack file (docs/formats/fstpack.md).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "grammar/fstpack.h"
#include "grammar/grammar_cache.h"
#include "grammar/rules.h"
#include "services/cli/grammar_commands.h"
#include "services/cli/grammar_flags.h"
#include "services/cli/print_json.h"

namespace chimera {
namespace {

struct CompileFlags {
  GrammarFlags grammar;
  std::string out;
  bool check = false, json = false;
};

absl::Status RunCompile(const CompileFlags& flags) {
  CHIMERA_ASSIGN_OR_RETURN(const GrammarSource source, ReadGrammarFlags(flags.grammar));
  const GrammarUse use = flags.check ? GrammarUse::kCheck : GrammarUse::kGenerate;
  const int64_t begin_ns = Clock::Real().NowNs();
  const auto machine = CompileGrammar(source, use);
  if (!machine.ok()) return AsUsageError(machine.status());
  const double compile_ms = static_cast<double>(Clock::Real().NowNs() - begin_ns) * 1e-6;
  CHIMERA_ASSIGN_OR_RETURN(const std::string pack, MakeGrammarPack(source, use, **machine));
  CHIMERA_RETURN_IF_ERROR(WriteFileAtomic(flags.out, pack));
  const RuleTables none;
  const RuleTables* tables = (*machine)->rule_tables();
  if (tables == nullptr) tables = &none;
  if (flags.json) {
    PrintJson({{"kind", tables == &none ? "machine" : "tables"},
               {"places", tables->places.size()},
               {"edges", tables->edges.size()},
               {"jumps", tables->jumps.size()},
               {"rules", tables->rules.size()},
               {"bytes", pack.size()},
               {"compile_ms", compile_ms}});
  } else if (tables == &none) {
    std::printf("%s: names the machine of mode %s, %zu bytes\n", flags.out.c_str(),
                source.text.c_str(), pack.size());
  } else {
    std::printf("%s: %zu places, %zu edges, %zu jumps, %zu rules, %zu bytes; compiled in %.3f ms\n",
                flags.out.c_str(), tables->places.size(), tables->edges.size(),
                tables->jumps.size(), tables->rules.size(), pack.size(), compile_ms);
  }
  return absl::OkStatus();
}

}  // namespace

void AddGrammarCompile(CLI::App* grammar, Command* run) {
  auto flags = std::make_shared<CompileFlags>();
  CLI::App* sub = grammar->add_subcommand("compile", "Compile a grammar into a file");
  AddGrammarFlags(sub, &flags->grammar, true);
  sub->add_option("--out", flags->out, "The .fstpack file")->required();
  sub->add_flag("--check", flags->check, "For checking texts instead of generating them");
  sub->add_flag("--json", flags->json, "One JSON object");
  sub->footer(
      "Examples:\n"
      "  chimera grammar compile --schema person.schema.json --out person.fstpack\n"
      "  chimera grammar check --pack person.fstpack answer.json");
  sub->callback([flags, run] { *run = [flags] { return RunCompile(*flags); }; });
}

}  // namespace chimera
