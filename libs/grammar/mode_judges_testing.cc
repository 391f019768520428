#include "grammar/mode_judges_testing.h"

#include <cstdint>
#include <map>
#include <string_view>

#include "grammar/grammar_testing.h"
#include "grammar/outside_check_testing.h"
#include "grammar/state_table.h"
#ifdef CHIMERA_HAS_PG_QUERY
#include "pg_query.h"
#endif

namespace chimera {
namespace {

#define CHIMERA_JUDGE(name) CHIMERA_SOURCE_DIR "/libs/grammar/" name

// The modes that the names of code blocks stand for.
const std::map<std::string, GrammarMode, std::less<>>& FenceModes() {
  static const auto* const modes =
      new std::map<std::string, GrammarMode, std::less<>>{{"json", GrammarMode::kJson},
                                                          {"python", GrammarMode::kPython},
                                                          {"python3", GrammarMode::kPython},
                                                          {"py", GrammarMode::kPython},
                                                          {"js", GrammarMode::kJavascript},
                                                          {"mjs", GrammarMode::kJavascript},
                                                          {"javascript", GrammarMode::kJavascript},
                                                          {"sql", GrammarMode::kSql},
                                                          {"sh", GrammarMode::kShell},
                                                          {"bash", GrammarMode::kShell},
                                                          {"shell", GrammarMode::kShell},
                                                          {"tex", GrammarMode::kMathLatex},
                                                          {"latex", GrammarMode::kMathLatex}};
  return *modes;
}

void JudgeFences(const nlohmann::json& fences, std::map<GrammarMode, StateTable>* tables,
                 MarkdownAnswer* answer) {
  for (const auto& fence : fences) {
    const auto mode = FenceModes().find(fence[0].get<std::string>());
    if (mode == FenceModes().end()) continue;
    const auto table =
        tables->try_emplace(mode->second, ModeMachine(mode->second, GrammarUse::kCheck)).first;
    const auto text = fence[1].get<std::string>();
    if (FirstFault(&table->second, text) != -1) {
      answer->inner = mode->first + ": " + text;
      return;
    }
    ++answer->judged;
  }
}

// key: "text" or "file".
std::vector<std::string> JudgeCases(const std::string& command, const char* key,
                                    const std::vector<std::string>& values) {
  std::vector<nlohmann::json> cases;
  for (const std::string& value : values) cases.push_back({{key, value}});
  return OutsideCheck(command, cases);
}

const char* CaseJudge(GrammarMode mode) {
  if (mode == GrammarMode::kJavascript)
    return "node --expose-internals " CHIMERA_JUDGE("javascript_check.cjs");
  // The Python that the packaged program latexwalker runs in has the package, too.
  return "sh -c '$(sed -n \"1s/^#!//p\" \"$(command -v latexwalker)\") " CHIMERA_JUDGE(
      "math_latex_check.py") " \"$0\" $1'";
}

bool IsUtf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

std::vector<std::string> FlatMarkdown(const std::vector<std::string>& texts) {
  std::vector<std::string> answers;
  for (const MarkdownAnswer& one : JudgeMarkdown(texts)) {
    const std::string all = one.open + one.inline_fault + one.inner;
    answers.push_back(all.empty() ? "ok" : all);
  }
  return answers;
}

std::vector<std::string> JudgeTexts(GrammarMode mode, const std::vector<std::string>& texts) {
  switch (mode) {
    case GrammarMode::kMarkdown:
      return FlatMarkdown(texts);
    case GrammarMode::kPython:
      if (!HasProgram("python3")) return {};
      return CheckBatch("python3 " CHIMERA_JUDGE("python_check.py") " generated", texts);
    case GrammarMode::kJavascript:
    case GrammarMode::kMathLatex:
      return JudgeCases(CaseJudge(mode), "text", texts);
    case GrammarMode::kShell:
      if (!HasProgram("bash")) return {};
      return CheckBatch("bash " CHIMERA_JUDGE("shell_check.sh"), texts);
    default:
      break;
  }
  std::vector<std::string> answers;
  for (const std::string& text : texts) {
    std::string answer = "ok";
    if (mode == GrammarMode::kSql) answer = JudgeSql(text);
    if (answer == "missing") return {};
    if (mode == GrammarMode::kJson && !nlohmann::json::accept(text)) answer = "no JSON";
    if (mode == GrammarMode::kDialogue && text.find("<|") != text.npos) answer = "a role tag";
    answers.push_back(answer);
  }
  return answers;
}

#ifdef CHIMERA_HAS_PG_QUERY

// The next number of the protocol buffers' wire format.
uint64_t Varint(std::string_view* wire) {
  uint64_t value = 0;
  for (int shift = 0; !wire->empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(wire->front());
    wire->remove_prefix(1);
    value |= uint64_t{byte & 127u} << shift;
    if (byte < 128) break;
  }
  return value;
}

struct Token {
  size_t begin = 0, end = 0;
};

// A ScanToken: begin and end are its first two fields, all others are numbers, too.
Token TokenOf(std::string_view wire) {
  Token token;
  while (!wire.empty()) {
    const uint64_t field = Varint(&wire) >> 3;
    const uint64_t value = Varint(&wire);
    if (field == 1) token.begin = value;
    if (field == 2) token.end = value;
  }
  return token;
}

// The tokens of a ScanResult: its second field; the first is a number.
std::vector<Token> TokensOf(std::string_view wire) {
  std::vector<Token> tokens;
  while (!wire.empty()) {
    const bool token = Varint(&wire) >> 3 == 2;
    const uint64_t value = Varint(&wire);
    if (!token) continue;
    tokens.push_back(TokenOf(wire.substr(0, value)));
    wire.remove_prefix(value);
  }
  return tokens;
}

#endif

}  // namespace

std::vector<std::string> JudgeFiles(GrammarMode mode, const std::vector<std::string>& paths) {
  return JudgeCases(CaseJudge(mode), "file", paths);
}

std::vector<MarkdownAnswer> JudgeMarkdown(const std::vector<std::string>& texts) {
  std::map<GrammarMode, StateTable> tables;
  std::vector<MarkdownAnswer> answers;
  // The packaged parser belongs to the system's python3.
  for (const std::string& line : JudgeCases(
           "PATH=/usr/bin:$PATH python3 " CHIMERA_JUDGE("markdown_check.py"), "text", texts)) {
    const auto answer = nlohmann::json::parse(line);
    answers.push_back({.open = answer["open"], .inline_fault = answer["inline"]});
    JudgeFences(answer["fences"], &tables, &answers.back());
  }
  return answers;
}

std::vector<std::string> JudgeGenerated(GrammarMode mode, const std::vector<std::string>& texts) {
  std::vector<std::string> well_formed;
  for (const std::string& text : texts) well_formed.push_back(IsUtf8(text) ? text : "");
  std::vector<std::string> answers = JudgeTexts(mode, well_formed);
  for (size_t i = 0; i < answers.size() && i < texts.size(); ++i) {
    if (!IsUtf8(texts[i])) answers[i] = "not UTF-8";
  }
  return answers;
}

#ifdef CHIMERA_HAS_PG_QUERY

std::string JudgeSql(const std::string& text) {
  const PgQueryScanResult scan = pg_query_scan(text.c_str());
  std::string answer = scan.error != nullptr ? scan.error->message : "ok";
  std::string open;
  if (scan.error == nullptr) {
    for (const Token token : TokensOf({scan.pbuf.data, scan.pbuf.len})) {
      if (token.end != token.begin + 1) continue;
      const char c = text[token.begin];
      if (c == '(' || c == '[') open.push_back(c == '(' ? ')' : ']');
      if (c != ')' && c != ']') continue;
      if (open.empty() || open.back() != c) answer = "open";
      if (!open.empty()) open.pop_back();
    }
  }
  pg_query_free_scan_result(scan);
  return open.empty() ? answer : "open";
}

#else

std::string JudgeSql(const std::string&) { return "missing"; }

#endif

}  // namespace chimera
