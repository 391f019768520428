#include "grammar/modes.h"

#include <array>
#include <string>

#include "grammar/json_schema.h"

namespace chimera {
namespace {

// In the order of GrammarMode.
constexpr std::array<std::string_view, kGrammarModes> kNames = {
    "plain_text", "dialogue", "markdown",   "json", "python",
    "javascript", "sql",      "math_latex", "shell"};

std::shared_ptr<const Machine> Make(GrammarMode mode, GrammarUse use) {
  switch (mode) {
    case GrammarMode::kDialogue:
      return MakeDialogueMachine();
    case GrammarMode::kJson:
      return MakeJsonMachine(use);
    case GrammarMode::kPython:
      return MakePythonMachine(use);
    case GrammarMode::kJavascript:
      return MakeJavascriptMachine(use);
    case GrammarMode::kSql:
      return MakeSqlMachine(use);
    case GrammarMode::kMathLatex:
      return MakeMathLatexMachine(use);
    case GrammarMode::kPlainText:
      return MakePlainTextMachine();
    case GrammarMode::kShell:
      return MakeShellMachine(use);
    case GrammarMode::kMarkdown:
      break;
  }
  return nullptr;
}

}  // namespace

std::string_view GrammarModeName(GrammarMode mode) { return kNames[static_cast<size_t>(mode)]; }

std::optional<GrammarMode> GrammarModeOf(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<GrammarMode>(i);
  }
  return std::nullopt;
}

const std::string& GrammarModeList() {
  static const std::string* list = [] {
    auto* names = new std::string;
    for (const std::string_view name : kNames) {
      if (!names->empty()) *names += ", ";
      *names += name;
    }
    return names;
  }();
  return *list;
}

std::shared_ptr<const Machine> ModeMachine(GrammarMode mode, GrammarUse use) {
  struct Made {
    Made() {
      for (size_t m = 0; m < kNames.size(); ++m) {
        for (const GrammarUse each : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
          machines[m][each == GrammarUse::kCheck] = Make(static_cast<GrammarMode>(m), each);
        }
      }
    }
    std::shared_ptr<const Machine> machines[kGrammarModes][2];
  };
  static const Made* made = new Made;
  return made->machines[static_cast<size_t>(mode)][use == GrammarUse::kCheck];
}

}  // namespace chimera
