// What programs apart from ours say of texts of the modes.
#pragma once

#include <string>
#include <vector>

#include "grammar/modes.h"

namespace chimera {

// One answer a text that was generated: "ok" or what is wrong with it. Empty when the judge is not
// on this machine. Python's tokenize and its compiler's scanner, acorn (JavaScript), PostgreSQL's
// scanner (sql), bash -n (shell), pylatexenc (math_latex), markdown-it and the checking machines
// of what stands in its code blocks (markdown), nlohmann::json (json, and the UTF-8 of the others).
// Texts are well-formed UTF-8: anything else is an answer of its own.
std::vector<std::string> JudgeGenerated(GrammarMode mode, const std::vector<std::string>& texts);

// The same for files as they are found, of JavaScript (acorn's parser) and LaTeX.
std::vector<std::string> JudgeFiles(GrammarMode mode, const std::vector<std::string>& paths);

// What markdown-it says of a text.
struct MarkdownAnswer {
  std::string open;          // what is wrong with its code blocks
  std::string inline_fault;  // what is wrong with code spans, links, tables
  std::string inner;         // the first code block whose text is not of the mode it names
  int judged = 0;            // code blocks before it that name a mode
};
std::vector<MarkdownAnswer> JudgeMarkdown(const std::vector<std::string>& texts);

// PostgreSQL's scanner: "ok", what it finds wrong, or "open" when brackets do not match; "missing"
// when it was not there to build with.
std::string JudgeSql(const std::string& text);

}  // namespace chimera
