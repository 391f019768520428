// The nine modes (FEATURES S6; math-inference-training B.4): what each guarantees of its text.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "grammar/machine.h"

namespace chimera {

enum class GrammarMode {
  kPlainText,
  kDialogue,
  kMarkdown,
  kJson,
  kPython,
  kJavascript,
  kSql,
  kMathLatex,
  kShell,
};
inline constexpr int kGrammarModes = 9;

// "plain_text", "dialogue", "markdown", "json", "python", "javascript", "sql", "math_latex",
// "shell": the names of the configuration.
std::string_view GrammarModeName(GrammarMode mode);
std::optional<GrammarMode> GrammarModeOf(std::string_view name);
// All names, separated by ", ": for messages.
std::string GrammarModeList();

// Raised whenever the language of the mode's machine changes; packs that name the machine hold it
// (docs/formats/fstpack.md).
uint32_t GrammarModeRevision(GrammarMode mode);

// The machine of a mode; made once, then shared.
std::shared_ptr<const Machine> ModeMachine(GrammarMode mode, GrammarUse use);

// One a mode; docs/grammars.md says what they hold to.
std::shared_ptr<const Machine> MakePlainTextMachine();
std::shared_ptr<const Machine> MakePythonMachine(GrammarUse use);
std::shared_ptr<const Machine> MakeJavascriptMachine(GrammarUse use);
std::shared_ptr<const Machine> MakeSqlMachine(GrammarUse use);
std::shared_ptr<const Machine> MakeMathLatexMachine(GrammarUse use);
std::shared_ptr<const Machine> MakeDialogueMachine();
std::shared_ptr<const Machine> MakeShellMachine(GrammarUse use);
std::shared_ptr<const Machine> MakeMarkdownMachine(GrammarUse use);

}  // namespace chimera
