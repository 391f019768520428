#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/grammar_testing.h"
#include "grammar/mode_judges_testing.h"
#include "grammar/modes.h"
#include "grammar/outside_check_testing.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

bool HasChecker() { return JudgeGenerated(GrammarMode::kMathLatex, {"a"}).size() == 1; }

TEST(MathLatexMode, AcceptsDocuments) {
  for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
    StateTable table(MakeMathLatexMachine(use));
    for (const char* text :
         {"", "Let $x^2 + \\{y\\}$ be \\$5 or 5\\%.", "$$\\frac{a}{b}$$",
          "\\(a\\) \\[b\\] \\\\[2pt]", "\\begin{align*}a &= b \\\\ c\\end{align*}",
          "% } $ \\end{a}\nb", "$\\left( \\left\\{ a \\right. \\right\\rangle$",
          "$\\leftarrow \\endgroup \\beginx$", "$a_{\\text{if $b$}}$",
          "\\begin{a}\\begin{b}\\end{b}\\end{a}", "caf\xC3\xA9 \xE2\x82\xAC",
          "\\begin{itemize}\\item $a$\\end{itemize}", "$\\begin{cases}a\\end{cases}$", "a\n\nb",
          "$a\nb$", "\\'e \\, \\&"}) {
      EXPECT_EQ(FirstFault(&table, text), -1) << text;
    }
  }
}

TEST(MathLatexMode, FindsTheFault) {
  struct Case {
    const char* text;
    int64_t fault, fault_when_generated;
  };
  for (const auto& [text, fault, fault_when_generated] :
       {Case{"}", 0, 0}, Case{"{", 1, 1}, Case{"$a", 2, 2}, Case{"{$}", 2, 2}, Case{"$$a$ ", 4, 4},
        Case{"\\(a\\]", 4, 4}, Case{"\\(a$", 3, 3}, Case{"$a\\(", 3, 3}, Case{"\\)", 1, 1},
        Case{"\\begin{a}\\end{b}", 14, 14}, Case{"\\begin{a}\\end{ab}", 15, 15},
        Case{"\\end{a}", 4, 4}, Case{"{\\begin{a}}", 10, 10}, Case{"$\\right)$", 7, 7},
        Case{"$\\left($", 7, 7}, Case{"${\\left(}\\right)$", 8, 8}, Case{"\\begin{}", 7, 7},
        Case{"% a", -1, -1}, Case{"{% }", 4, 4}, Case{"\\", 1, 1}, Case{"a\xFF", 1, 1},
        // Only generated text may not have these.
        Case{"\\verb|}|", -1, 5}, Case{"$a$$b$", -1, 3}, Case{"$a\n\nb$", -1, 3},
        Case{"\\begin{verbatim}}\\end{verbatim}", -1, 15}, Case{"${$a$}$", -1, 2},
        Case{"\\begin {a}\\end {a}", -1, 6}, Case{"\\left(\\right)", -1, 5}, Case{"a\rb", -1, 1},
        Case{"$\\begin{equation}\\end{equation}$", -1, 16}}) {
    StateTable check(MakeMathLatexMachine(GrammarUse::kCheck));
    StateTable generate(MakeMathLatexMachine(GrammarUse::kGenerate));
    EXPECT_EQ(FirstFault(&check, text), fault) << text;
    EXPECT_EQ(FirstFault(&generate, text), fault_when_generated) << text;
  }
}

TEST(MathLatexMode, ClosesWhatIsDeep) {
  for (int spare = 0; spare < 12; ++spare) {
    StateTable table(MakeMathLatexMachine(GrammarUse::kGenerate));
    GrammarState state =
        table.Run(table.start(), std::string(size_t(kGrammarDepthMax - spare), '{'));
    ASSERT_NE(state, kDeadState);
    for (const char c : std::string_view("\\begin{equation*}$\\left({")) {
      state = table.Next(state, static_cast<uint8_t>(c));
      if (state == kDeadState) break;
      EXPECT_FALSE(table.ClosingText(state).empty());
    }
    EXPECT_EQ(state, kDeadState);
  }
}

constexpr std::string_view kPieces[] = {" ",
                                        "\n",
                                        "a",
                                        "b",
                                        "x",
                                        "*",
                                        "{",
                                        "}",
                                        "{",
                                        "}",
                                        "$",
                                        "$",
                                        "$$",
                                        "\\(",
                                        "\\)",
                                        "\\[",
                                        "\\]",
                                        "\\begin{a}",
                                        "\\end{a}",
                                        "\\begin{ab}",
                                        "\\end{ab}",
                                        "\\begin{align}",
                                        "\\end{align}",
                                        "\\begin{",
                                        "\\end{",
                                        "\\begin",
                                        "\\end",
                                        "\\left(",
                                        "\\right)",
                                        "\\left\\{",
                                        "\\right.",
                                        "\\left",
                                        "\\right",
                                        "\\langle",
                                        "\\text{",
                                        "\\text",
                                        "\\mbox{",
                                        "\\verb",
                                        "%",
                                        "% a\n",
                                        "\\",
                                        "\\\\",
                                        "\\$",
                                        "\\%",
                                        "\\{",
                                        "\\}",
                                        "_",
                                        "^",
                                        "&",
                                        "[",
                                        "]",
                                        "(",
                                        ")",
                                        "|",
                                        "\xC3\xA9",
                                        "\\frac{",
                                        "\\alpha"};

// Random texts: of bytes for odd seeds, of pieces for even ones.
std::string RandomLatex(StateTable* table, uint64_t seed) {
  if (seed % 2 != 0) return RandomText(table, seed, 10 + static_cast<int>(seed % 60));
  return RandomPieces(table, kPieces, seed, 20 + static_cast<int>(seed % 80));
}

std::vector<std::string> Judge(const std::vector<std::string>& texts) {
  return JudgeGenerated(GrammarMode::kMathLatex, texts);
}

TEST(MathLatexMode, GeneratesWhatPylatexencReads) {
  if (!HasChecker()) GTEST_SKIP() << "python3-pylatexenc is missing";
  StateTable generate(MakeMathLatexMachine(GrammarUse::kGenerate));
  StateTable check(MakeMathLatexMachine(GrammarUse::kCheck));
  std::vector<std::string> texts;
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    texts.push_back(RandomLatex(&generate, seed));
    EXPECT_EQ(FirstFault(&check, texts.back()), -1) << texts.back();
  }
  const std::vector<std::string> answers = Judge(texts);
  ASSERT_EQ(answers.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(answers[i], "ok") << texts[i];
}

TEST(MathLatexMode, AcceptsNothingThatPylatexencFindsOpen) {
  if (!HasChecker()) GTEST_SKIP() << "python3-pylatexenc is missing";
  StateTable generate(MakeMathLatexMachine(GrammarUse::kGenerate));
  StateTable check(MakeMathLatexMachine(GrammarUse::kCheck));
  std::vector<std::string> texts;
  for (uint64_t seed = 0; seed < 12000; ++seed) {
    const std::string text = Mutated(RandomLatex(&generate, seed), "{}$\\()[]%\n abe", seed);
    if (FirstFault(&check, text) == -1) texts.push_back(text);
  }
  EXPECT_GT(texts.size(), 3000u);
  const std::vector<std::string> answers = Judge(texts);
  ASSERT_EQ(answers.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(answers[i], "ok") << texts[i];
}

TEST(MathLatexMode, AcceptsRealFiles) {
  if (!HasChecker()) GTEST_SKIP() << "python3-pylatexenc is missing";
  std::vector<std::string> files;
  for (const char* root : {"/usr/share/texlive", "/usr/share/texmf"}) {
    std::error_code none;
    for (std::filesystem::recursive_directory_iterator it(root, none), end;
         it != end && files.size() < 300; it.increment(none)) {
      if (none || !it->is_regular_file(none) || it->path().extension() != ".tex") continue;
      files.push_back(it->path().string());
    }
  }
  if (files.empty()) GTEST_SKIP() << "no LaTeX on this machine";
  const std::vector<std::string> answers = JudgeFiles(GrammarMode::kMathLatex, files);
  ASSERT_EQ(answers.size(), files.size());
  StateTable check(MakeMathLatexMachine(GrammarUse::kCheck));
  for (size_t i = 0; i < files.size(); ++i) {
    if (answers[i] != "ok") continue;
    EXPECT_EQ(FirstFault(&check, FileText(files[i])), -1) << files[i];
  }
}

}  // namespace
}  // namespace chimera
