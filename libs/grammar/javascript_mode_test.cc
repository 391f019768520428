#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "grammar/grammar_testing.h"
#include "grammar/mode_judges_testing.h"
#include "grammar/modes.h"
#include "grammar/outside_check_testing.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

bool HasChecker() { return JudgeGenerated(GrammarMode::kJavascript, {"a"}).size() == 1; }

std::vector<std::string> Judge(const std::vector<std::string>& texts) {
  return JudgeGenerated(GrammarMode::kJavascript, texts);
}

TEST(JavascriptMode, AcceptsPrograms) {
  for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
    StateTable table(MakeJavascriptMachine(use));
    for (const char* text : {"",
                             "#!/usr/bin/env node\nlet a = 1;",
                             "const x = {a: [1, (2)]};",
                             "a = b / c / d;",
                             "a = /[/\\]]+/gi;",
                             "x = (a + b) / 2",
                             "f(/)/)",
                             "return /}/.test(a)",
                             "`a ${b + `c ${d}`} e`",
                             "if (a) /{/.exec(b)",
                             "'it\\'s \\\n on'",
                             "a = i++ / 2",
                             "// it's\n/* \" */ 1",
                             "function f(a, b = {}) { return a; }",
                             "1.5e-3 + 0xFFn - .5",
                             "class A extends B.C { #x = 1; get if() { return 1 } }",
                             "a?.5:1",
                             "a?.b ?? c",
                             "\"\xE2\x80\xA8\"",
                             "for await (const a of b) {}",
                             "x => ({y: x})",
                             "\"\\x41\\u0041\\u{1F600}\""}) {
      EXPECT_EQ(FirstFault(&table, text), -1) << text;
    }
  }
}

TEST(JavascriptMode, ReadsSlashesByWhatStandsBefore) {
  StateTable table(MakeJavascriptMachine(GrammarUse::kCheck));
  for (const char* text : {"if (a) {} /(/.x",
                           "x = {} / 2; /(/",
                           "x = function () {} / 2; /(/",
                           "function f() {}\n/(/",
                           "x = class {} / 2",
                           "class A {}\n/(/",
                           "a\nfunction f() {} /(/",
                           "x = async function () {} / 1",
                           "async function f() {}\n/(/",
                           "do {} while (a) /(/",
                           "x.if(a) / 2",
                           "for (const a of /(/) b",
                           "y = of / 2; /(/",
                           "switch (a) { case b: /(/ }",
                           "{ a ? b : {} / 2 }",
                           "a: {} /(/",
                           "`${{}/1}(`",
                           "i = j++ / 2; /(/",
                           "x = {a: {} / 2}",
                           "typeof /(/",
                           "x.return / 2; /(/",
                           "a =\xC2\xA0/(/",
                           "return\xC2\xA0/(/",
                           "a\xC3\xA9 / 2; /(/",
                           "<!-- (\nx",
                           "x\n--> (\ny",
                           "n --> 0",
                           "1..x / 2",
                           "017.x / 2 ",
                           "a\\u{62} / 2",
                           "// (\xE2\x80\xA8x",
                           "@a class B {}",
                           "'a\\\r\nb'",
                           "await /(/",
                           "yield /(/"}) {
    EXPECT_EQ(FirstFault(&table, text), -1) << text;
  }
}

TEST(JavascriptMode, FindsTheFault) {
  struct Case {
    const char* text;
    int64_t fault, fault_when_generated;
  };
  for (const auto& [text, fault, fault_when_generated] :
       {Case{"a)", 1, 1}, Case{"(]", 1, 1}, Case{"{(})", 2, 2}, Case{"(a", 2, 2},
        Case{"'a\nb'", 2, 2}, Case{"'a", 2, 2}, Case{"`a${b`", 6, 6}, Case{"`a${b)}`", 5, 5},
        Case{"/a\n/", 2, 2}, Case{"/a", 2, 2}, Case{"/* a", 4, 4}, Case{"a = /[/]", 8, 8},
        Case{"/a\xE2\x80\xA8/", 4, 4}, Case{"\x01", 0, 0}, Case{"'\xFF'", 1, 1},
        // Only generated text may not have these.
        Case{"a <!-- b", -1, 5}, Case{"{} /b/", -1, 4}, Case{"a--> b", -1, 3}, Case{"1a", -1, 1},
        Case{"'\\u12'", -1, 5}, Case{"caf\xC3\xA9", -1, 3}, Case{"function x", -1, 10},
        Case{"class {", 7, 7}, Case{"class A b", -1, 8}, Case{"// \xE2\x80\xA8", -1, 5},
        Case{"/a/gg", -1, 4}, Case{"let /a/", -1, 5}, Case{"@", -1, 0}}) {
    StateTable check(MakeJavascriptMachine(GrammarUse::kCheck));
    StateTable generate(MakeJavascriptMachine(GrammarUse::kGenerate));
    EXPECT_EQ(FirstFault(&check, text), fault) << text;
    EXPECT_EQ(FirstFault(&generate, text), fault_when_generated) << text;
  }
}

TEST(JavascriptMode, ClosesWhatIsDeep) {
  StateTable table(MakeJavascriptMachine(GrammarUse::kGenerate));
  const GrammarState deep = table.Run(table.start(), std::string(kGrammarDepthMax, '('));
  ASSERT_NE(deep, kDeadState);
  EXPECT_EQ(table.Next(deep, '('), kDeadState);
  EXPECT_EQ(table.Run(deep, "function "), kDeadState);
  EXPECT_EQ(table.Run(deep, "`${"), kDeadState);
  EXPECT_EQ(table.ClosingText(deep), std::string(kGrammarDepthMax, ')'));
}

constexpr std::string_view kPieces[] = {" ",           " ",
                                        " ",           "\n",
                                        "a",           "b",
                                        "x1",          "1",
                                        "0x1F",        "1.5",
                                        ".",           "..",
                                        "...",         "?.",
                                        "?",           ":",
                                        ",",           ";",
                                        "=",           "=>",
                                        "+",           "-",
                                        "++",          "--",
                                        "*",           "/",
                                        "/",           "/=",
                                        "//",          "/*",
                                        "*/",          "<",
                                        "<!",          "<!-",
                                        ">",           "!",
                                        "(",           ")",
                                        "[",           "]",
                                        "{",           "}",
                                        "(",           ")",
                                        "{",           "}",
                                        "'",           "\"",
                                        "`",           "`",
                                        "${",          "}",
                                        "\\",          "\\u",
                                        "\\x",         "#",
                                        "function",    "function ",
                                        "function f(", "function*",
                                        "class",       "class ",
                                        "class A",     "extends",
                                        " extends B",  "return",
                                        "typeof ",     "case ",
                                        "in",          "of",
                                        "yield",       "await ",
                                        "async ",      "if",
                                        "if (",        "while(",
                                        "for",         "for (",
                                        "for await (", "with",
                                        "else",        "do ",
                                        "let ",        "const",
                                        "new ",        "export ",
                                        "default",     "static ",
                                        "get ",        "this",
                                        "g",           "gi",
                                        "\xC3\xA9",    "\xE2\x80\xA8",
                                        "/a/",         "/[/]/",
                                        "'a'"};

// Random texts: of bytes for odd seeds, of pieces for even ones.
std::string RandomProgram(StateTable* table, uint64_t seed) {
  if (seed % 2 != 0) return RandomText(table, seed, 20 + static_cast<int>(seed % 60));
  return RandomPieces(table, kPieces, seed, 20 + static_cast<int>(seed % 60));
}

TEST(JavascriptMode, GeneratesWhatAcornReads) {
  if (!HasChecker()) GTEST_SKIP() << "node with acorn inside is missing";
  StateTable generate(MakeJavascriptMachine(GrammarUse::kGenerate));
  StateTable check(MakeJavascriptMachine(GrammarUse::kCheck));
  std::vector<std::string> texts;
  for (uint64_t seed = 0; seed < 8000; ++seed) {
    texts.push_back(RandomProgram(&generate, seed));
    EXPECT_EQ(FirstFault(&check, texts.back()), -1) << texts.back();
  }
  const std::vector<std::string> answers = Judge(texts);
  ASSERT_EQ(answers.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(answers[i], "ok") << texts[i];
}

// Whether lexers without a parser could disagree: a slash or a template stands behind the place up
// to which the text could have been generated. What such a text leaves open is a matter of opinion.
bool IsDoubtful(StateTable* generate, const std::string& text) {
  const int64_t fault = FirstFault(generate, text);
  const size_t from = fault > 0 ? static_cast<size_t>(fault) - 1 : 0;
  return fault >= 0 && text.find_first_of("/`", from) != std::string::npos;
}

TEST(JavascriptMode, AcceptsNothingThatAcornFindsOpen) {
  if (!HasChecker()) GTEST_SKIP() << "node with acorn inside is missing";
  StateTable generate(MakeJavascriptMachine(GrammarUse::kGenerate));
  StateTable check(MakeJavascriptMachine(GrammarUse::kCheck));
  std::vector<std::string> texts;
  for (uint64_t seed = 0; seed < 30000; ++seed) {
    const std::string text = Mutated(RandomProgram(&generate, seed), "()[]{}'\"`/\\*$\n a0", seed);
    if (FirstFault(&check, text) != -1 || IsDoubtful(&generate, text)) continue;
    texts.push_back(text);
  }
  EXPECT_GT(texts.size(), 4000u);
  const std::vector<std::string> answers = Judge(texts);
  ASSERT_EQ(answers.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_FALSE(answers[i].starts_with("open")) << answers[i] << "\n" << texts[i];
  }
}

// JavaScript of packages on this machine: npm's own, and what documentation tools install.
TEST(JavascriptMode, AcceptsRealFiles) {
  if (!HasChecker()) GTEST_SKIP() << "node with acorn inside is missing";
  const std::vector<std::string> files = SampleFiles(
      {"/usr/lib/node_modules", "/usr/share/nodejs", "/usr/share/javascript"}, {".js"}, 300);
  if (files.empty()) GTEST_SKIP() << "no packages of JavaScript on this machine";
  const std::vector<std::string> answers = JudgeFiles(GrammarMode::kJavascript, files);
  ASSERT_EQ(answers.size(), files.size());
  StateTable check(MakeJavascriptMachine(GrammarUse::kCheck));
  for (size_t i = 0; i < files.size(); ++i) {
    if (answers[i] != "ok") continue;
    EXPECT_EQ(FirstFault(&check, FileText(files[i])), -1) << files[i];
  }
}

}  // namespace
}  // namespace chimera
