#include "grammar/modes.h"

#include <array>
#include <string>
#include <utility>

#include "grammar/json_schema.h"

namespace chimera {
namespace {

constexpr std::array<std::string_view, kGrammarModes> kNames = {
    "plain_text", "dialogue", "markdown",   "json", "python",
    "javascript", "sql",      "math_latex", "shell"};

constexpr std::array<uint32_t, kGrammarModes> kRevisions = {1, 1, 2, 1, 1, 1, 1, 1, 2};

std::shared_ptr<const Machine> MakeModeMachine(GrammarMode mode, GrammarUse use) {
  switch (mode) {
    case GrammarMode::kPlainText:
      return MakePlainTextMachine();
    case GrammarMode::kDialogue:
      return MakeDialogueMachine();
    case GrammarMode::kMarkdown:
      return MakeMarkdownMachine(use);
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
    case GrammarMode::kShell:
      return MakeShellMachine(use);
  }
  return nullptr;  // no such mode
}

// Its own variable for each pair: machines that embed others ask for those while they are made.
template <size_t kMode, GrammarUse kUse>
std::shared_ptr<const Machine> Shared() {
  static const auto* const machine =
      new std::shared_ptr<const Machine>(MakeModeMachine(static_cast<GrammarMode>(kMode), kUse));
  return *machine;
}

template <GrammarUse kUse, size_t... kModes>
std::shared_ptr<const Machine> SharedOf(GrammarMode mode, std::index_sequence<kModes...>) {
  constexpr std::array<std::shared_ptr<const Machine> (*)(), kGrammarModes> kShared = {
      &Shared<kModes, kUse>...};
  return kShared[static_cast<size_t>(mode)]();
}

}  // namespace

std::string_view GrammarModeName(GrammarMode mode) { return kNames[static_cast<size_t>(mode)]; }

uint32_t GrammarModeRevision(GrammarMode mode) { return kRevisions[static_cast<size_t>(mode)]; }

std::optional<GrammarMode> GrammarModeOf(std::string_view name) {
  for (size_t mode = 0; mode < kNames.size(); ++mode) {
    if (kNames[mode] == name) return static_cast<GrammarMode>(mode);
  }
  return std::nullopt;
}

std::string GrammarModeList() {
  std::string list;
  for (const std::string_view name : kNames) {
    if (!list.empty()) list += ", ";
    list += name;
  }
  return list;
}

std::shared_ptr<const Machine> ModeMachine(GrammarMode mode, GrammarUse use) {
  constexpr std::make_index_sequence<kGrammarModes> kAll;
  return use == GrammarUse::kGenerate ? SharedOf<GrammarUse::kGenerate>(mode, kAll)
                                      : SharedOf<GrammarUse::kCheck>(mode, kAll);
}

}  // namespace chimera
