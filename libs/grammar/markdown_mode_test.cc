#include <algorithm>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "base/philox.h"
#include "grammar/grammar_testing.h"
#include "grammar/mode_judges_testing.h"
#include "grammar/modes.h"
#include "grammar/outside_check_testing.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

bool HasChecker() { return JudgeMarkdown({"a"}).size() == 1; }

int64_t Fault(GrammarUse use, std::string_view text) {
  StateTable table(ModeMachine(GrammarMode::kMarkdown, use));
  return FirstFault(&table, text);
}

TEST(Modes, HaveNamesAndMachines) {
  EXPECT_EQ(GrammarModeList(),
            "plain_text, dialogue, markdown, json, python, javascript, sql, math_latex, shell");
  for (int i = 0; i < kGrammarModes; ++i) {
    const auto mode = static_cast<GrammarMode>(i);
    EXPECT_EQ(GrammarModeOf(GrammarModeName(mode)), mode);
    for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
      EXPECT_NE(ModeMachine(mode, use), nullptr);
      EXPECT_EQ(ModeMachine(mode, use), ModeMachine(mode, use));
    }
  }
  EXPECT_EQ(GrammarModeOf("yaml"), std::nullopt);
}

TEST(MarkdownMode, AcceptsDocuments) {
  for (const char* text : {
           "",
           "# Title\n\nSome *text* with `code`, ``a`b`` and [a link](http://a/b_(c) \"title\").\n",
           "```\nanything ``` `\n```\n",
           "~~~~ text\n~~~\n```\n~~~~~  \nafter",
           "```json\n{\"a\": [1]}\n```",
           "``` Python title\ndef f():\n    return '''\n'''\n```\n",
           "```python\n\n```",
           "- item\n- - nested\n\n      code\n\n1. ```js\n   f(`a`);\n   ```\n2. b",
           "> ```js\n> a = {\n> };\n>\n> ```\n> text\nlazy\n",
           "  ```python\n  if a:\n    b\n c = 1\n  ```",
           "a\n***\n* * *\n_ _ _ x\n- - -\nb\n---\n",
           "| a | b |\n|---|:-:|\n| `c` | \\| |\n| d | e\n\n| not a table",
           "[![a](b)](c) 1 < 2 <b>x</b> \\` \\[ a] ![i](j)\n",
           "\xC3\xA9\xE2\x82\xAC\n",
           "1. a\n\n   ~~~\n   b\n\n   c\n   ~~~\n\n   d\n",
       }) {
    EXPECT_EQ(Fault(GrammarUse::kGenerate, text), -1) << text;
    EXPECT_EQ(Fault(GrammarUse::kCheck, text), -1) << text;
  }
}

TEST(MarkdownMode, FindsTheFault) {
  struct Case {
    const char* text;
    int64_t fault, fault_when_generated;
  };
  for (const auto& [text, fault, fault_when_generated] :
       {Case{"```\na", 5, 5}, Case{"```", 3, 3}, Case{"~~~\n```\n", 8, 8},
        Case{"````\n```\n", 9, 9}, Case{"```\n    ```\n", 12, 12}, Case{"```\n``` a\n", 10, 10},
        Case{"\xFF", 0, 0}, Case{"```\n\xC3\n```", 5, 5}, Case{"```json\n{\n```\n", 10, 10},
        Case{"```json\n```", 8, 8}, Case{"```js\n'a\n```", 8, 8},
        Case{"```js\n/*\n```\n*/", 12, 11}, Case{"> ```\na", 6, 6}, Case{"> ```\n\n", 6, 6},
        Case{"- ```\n  a\nb", 10, 10}, Case{"```python\nx = (\n```\n", 16, 16},
        // Only generated text may not have these.
        Case{"a `b", -1, 4}, Case{"a `b\nc`", -1, 4}, Case{"[a", -1, 2}, Case{"[a](b", -1, 5},
        Case{"[a](b c)", -1, 6}, Case{"<div>\n```\n</div>", -1, 0}, Case{"- \na", -1, 2},
        Case{"| a | b |\n|---|---|\n| c |\n", -1, 25},
        Case{"| a | b |\n|---|---|\n| c | d | e", -1, 30}, Case{"a\tb", -1, 1},
        Case{"a | b\n---|---\n", -1, 7}, Case{"<a href='x'>", -1, 0}, Case{"a <b c", -1, 4},
        Case{"```a`b``` c", -1, 4}, Case{"a\r\nb", -1, 1},
        Case{"| a | b |\n|--|--|\ntext", -1, 18}}) {
    EXPECT_EQ(Fault(GrammarUse::kCheck, text), fault) << text;
    EXPECT_EQ(Fault(GrammarUse::kGenerate, text), fault_when_generated) << text;
  }
}

TEST(MarkdownMode, FindsFencesWhereTheyAre) {
  for (const char* text : {
           "    ```\nindented code",
           "a\n    ```\ntext",
           "<!-- \n\n```\n -->\n",
           "<pre>\n\n```\n</pre>\n",
           "<div>\n```\n\n",
           "<x-y a='b' c>\n```\n\n",
           "``` a`\n",
           "- a\n\n      ```\n",
           "* a\n\n    ```\n    b\n    ```\n",
           "\t```\nx",
           "-\ta\n\n\t```\n\tb\n\t```\n",
           "```\r\na\r\n```\r\n",
           "-\n  ```\n  a\n  ```",
           "10) a\n\n    ```sh\n    a\n    ```\n",
           "> - a\n>   ```\n>   b\n>   ```\n",
           "a\n2. b\n   ```\nx\n   ```",
           "a\n01. ~~~\n    ~~~",
           "```js\n`\n```js``\n```",
       }) {
    EXPECT_EQ(Fault(GrammarUse::kCheck, text), -1) << text;
  }
  for (const char* text : {
           "- a\n\nb\n\n  ```\n",
           "a <b>\n```\n",
           "a\n<x-y>\n```\n",
           "-\n\n  ```\n",
           "* * *\n   ```\n",
           "-\ta\n\n\t```\n    b\n```\n",
           "</div\n\n```\n",
       }) {
    EXPECT_GT(Fault(GrammarUse::kCheck, text), 0) << text;
  }
}

TEST(MarkdownMode, ClosesWithAsFewBytesAsItTakes) {
  StateTable table(ModeMachine(GrammarMode::kMarkdown, GrammarUse::kGenerate));
  for (const auto& [text, closing] : {
           std::pair{"```\na", "\n```"},
           {"```", "\n```"},
           {"~~~~ x\n", "~~~~"},
           {"```\n``", "`"},
           {"a `b", "`"},
           {"[a](b", ")"},
           {"[a ``b", "``]"},
           {"| a | b |\n|---|---|\n| c", "||"},
           {"> ```\n> a", "\n>```"},
           {"- a\n\n  ```\n", "  ```"},
       }) {
    const GrammarState state = table.Run(table.start(), text);
    ASSERT_NE(state, kDeadState) << text;
    EXPECT_EQ(table.ClosingText(state).size(), std::string_view(closing).size()) << text;
    EXPECT_EQ(table.CloseBytes(state), std::string_view(closing).size()) << text;
    EXPECT_EQ(FirstFault(&table, std::string(text) + closing), -1) << text;
  }
  const GrammarState json = table.Run(table.start(), "```json\n{\"a\": [");
  EXPECT_EQ(table.ClosingText(json), "]}\n```");
  EXPECT_EQ(table.CloseBytes(json), 6u);
}

constexpr std::string_view kPieces[] = {
    "\n",          "\n",     "\n",        "\n",      "\n\n",       "\n\n",        " ",
    "  ",          "   ",    "    ",      "a",       "b c",        "- ",          "* ",
    "+ ",          "1. ",    "2) ",       "10. ",    "> ",         ">",           "# ",
    "#",           "```",    "```\n",     "```",     "~~~",        "~~~~\n",      "`",
    "``",          "json\n", "python\n",  "js\n",    "sql\n",      "text\n",      "x\n",
    "[",           "]",      "](",        ")",       "(",          "\"",          "\\",
    "!",           "|",      "|",         "|-|",     "|---|\n",    "| a |\n",     "|:-:|-|\n",
    "| a | b |\n", "---\n",  "***",       "_",       "-",          "=",           "<",
    "<b>",         "</b>",   "{",         "}",       "'",          ":",           "\xC3\xA9",
    "/*",          "*/",     "0",         ",",       "def f():\n", "\t",          "~",
    "- - -\n",     "===\n",  "```json\n", "```js\n", "~~~sql\n",   "```python\n", "    b = 1\n",
    "[1]\n",       "if a:\n"};

std::string RandomDocument(StateTable* table, uint64_t seed) {
  if (seed % 4 == 1) return RandomText(table, seed, 10 + static_cast<int>(seed % 90));
  return RandomPieces(table, kPieces, seed, 10 + static_cast<int>(seed % 90));
}

TEST(MarkdownMode, GeneratesWhatMarkdownItReads) {
  if (!HasChecker()) GTEST_SKIP() << "python3 with markdown_it is missing";
  StateTable generate(ModeMachine(GrammarMode::kMarkdown, GrammarUse::kGenerate));
  StateTable check(ModeMachine(GrammarMode::kMarkdown, GrammarUse::kCheck));
  std::vector<std::string> texts;
  for (uint64_t seed = 0; seed < 5000; ++seed) {
    texts.push_back(RandomDocument(&generate, seed));
    EXPECT_EQ(FirstFault(&check, texts.back()), -1) << texts.back();
  }
  const std::vector<MarkdownAnswer> answers = JudgeMarkdown(texts);
  ASSERT_EQ(answers.size(), texts.size());
  int judged = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(answers[i].open, "") << texts[i];
    EXPECT_EQ(answers[i].inline_fault, "") << texts[i];
    EXPECT_EQ(answers[i].inner, "") << texts[i];
    judged += answers[i].judged;
  }
  EXPECT_GT(judged, 200);
}

TEST(MarkdownMode, AcceptsNothingThatMarkdownItFindsOpen) {
  if (!HasChecker()) GTEST_SKIP() << "python3 with markdown_it is missing";
  StateTable generate(ModeMachine(GrammarMode::kMarkdown, GrammarUse::kGenerate));
  StateTable check(ModeMachine(GrammarMode::kMarkdown, GrammarUse::kCheck));
  std::vector<std::string> texts;
  for (uint64_t seed = 0; seed < 8000; ++seed) {
    std::string text = Mutated(RandomDocument(&generate, seed), "`~`~ \n>-1.<|\ta", seed);
    if (FirstFault(&check, text) == -1) texts.push_back(std::move(text));
  }
  EXPECT_GT(texts.size(), 4000u);
  const std::vector<MarkdownAnswer> answers = JudgeMarkdown(texts);
  ASSERT_EQ(answers.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(answers[i].open, "") << texts[i];
    EXPECT_EQ(answers[i].inner, "") << texts[i];
  }
}

// The text without one of its lines that has a fence, or without its end.
std::string Damaged(std::string text, uint64_t seed) {
  const PhiloxBlock draw = Philox4x32({0, 3, 0, 0}, uint32_t(seed), uint32_t(seed >> 32));
  const size_t at = text.find("```", draw[0] % (text.size() + 1));
  if (at == std::string::npos) return text.substr(0, draw[0] % (text.size() + 1));
  const size_t before = text.rfind('\n', at);
  return text.erase(before == std::string::npos ? 0 : before, text.find('\n', at) - before);
}

// Exactly those are accepted whose code blocks are closed and hold to their mode.
TEST(MarkdownMode, TellsRealFilesApart) {
  if (!HasChecker()) GTEST_SKIP() << "python3 with markdown_it is missing";
  StateTable check(ModeMachine(GrammarMode::kMarkdown, GrammarUse::kCheck));
  StateTable utf8(MakePlainTextMachine());
  std::vector<std::string> texts;
  for (const std::string& file : SampleFiles(
           {"/usr/lib/node_modules", "/usr/share", "/usr/lib/python3", CHIMERA_SOURCE_DIR "/docs"},
           {".md", ".markdown"}, 100)) {
    const std::string text = FileText(file);
    for (const std::string& one : {text, Damaged(text, texts.size()), Mutated(text, "`\n >", 1)}) {
      if (FirstFault(&utf8, one) == -1) texts.push_back(one);
    }
  }
  if (texts.empty()) GTEST_SKIP() << "no Markdown on this machine";
  const std::vector<MarkdownAnswer> answers = JudgeMarkdown(texts);
  ASSERT_EQ(answers.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const bool holds = answers[i].open == "" && answers[i].inner.empty();
    EXPECT_EQ(FirstFault(&check, texts[i]) == -1, holds) << answers[i].open << texts[i];
  }
}

}  // namespace
}  // namespace chimera
