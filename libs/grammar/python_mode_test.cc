#include "grammar/grammar_testing.h"
#include "grammar/mode_judges_testing.h"
#include "grammar/modes.h"
#include "grammar/outside_check_testing.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

const std::string kChecker = "python3 " CHIMERA_SOURCE_DIR "/libs/grammar/python_check.py";

int64_t Generated(std::string_view text) {
  StateTable table(MakePythonMachine(GrammarUse::kGenerate));
  return FirstFault(&table, text);
}

int64_t Checked(std::string_view text) {
  StateTable table(MakePythonMachine(GrammarUse::kCheck));
  return FirstFault(&table, text);
}

std::vector<std::string_view> Pieces() {
  return {"if x:", ":",     "\n",      "\n", "\n  ", "\n    ",   "\n\t",    " ",   "else:", "f'",
          "f\"",   "rf'''", "F\"\"\"", "{",  "}",    "{{",       "}}",      "!r",  ":>{",   "(",
          ")",     "[",     "]",       "'",  "\"",   "'''",      "\"\"\"",  "b'",  "u",     "\\",
          "\\\n",  "# c",   "#",       "12", "0x",   "1.5e-3",   "1_0",     "...", "!=",    "x",
          "pass",  "def f", "\f",      ";",  "=",    "lambda: ", "\xC3\xA9"};
}

TEST(PythonMode, TakesWhatPythonTakes) {
  for (const std::string_view text : {
           "",
           "x = 1\n",
           "if x:\n  y = [1,\n2]\n# far\n  if z: # why\n\n\t\t\tq = 0\nelse:\n pass",
           "def f(a: int) -> str: return {1: 'a'}[a]\n",
           "x = '''a\n'b''c''\\''''; y = \"\"\"\"a\"\"\"\n",
           "x = rb'\\'' + u\"\" 'a' '' bR'''\n''' \n",
           "x = 1 + \\\n  2\n",
           "x = 'a\\\nb'\n",
           "x = 0x1F + 1_000 + 1.5e-3j + .5 + 1. + 0b1 + 0o7 + x[...] + 00\n",
           "if x != y:\n\tpass\n",
           "class A:\n    '''d'''\n\n    def f(self):\n        pass\n\n    x = 1\n",
           "for x in f(a,\n# note: this\n  b):\n  pass\n",
           "x = f'a{b!r:>{w}}c{{d}}{e[\"k\"]}{x != y}'\n",
           "x = F'''{\na}{b:x}'''\n",
           "a\f\n\fb\n",
       }) {
    EXPECT_EQ(Generated(text), -1) << text;
    EXPECT_EQ(Checked(text), -1) << text;
  }
}

TEST(PythonMode, FindsTheFault) {
  const auto both = [](std::string_view text, int64_t fault) {
    EXPECT_EQ(Generated(text), fault) << text;
    EXPECT_EQ(Checked(text), fault) << text;
  };
  both("x = (1]", 6);
  both("x = (1", 6);
  both("x)", 1);
  both("x = 'a\n", 6);
  both("x = '''a''", 10);
  both("x = '''a\\'''", 12);
  both(" x", 1);
  both("x\n  y", 4);
  both("if x:\n    y\n  z", 14);
  both("if x:\n  y\n\n   z", 14);
  both("x:int\n y", 7);
  both("if x:\n        y\n\tz", 17);  // eight columns by another road
  both("x = \\ \n", 5);
  both("x = \\\n", 6);
  both("a $ b", 2);
  both("a!b", 2);
  both("a ? b", 2);
  both("a ` b", 2);
  both(std::string_view("'\0'", 3), 1);
  both("'\xC3\x28'", 2);
  both("# \xC3", 3);
}

TEST(PythonMode, AsksMoreOfWhatIsGenerated) {
  const auto only_generated = [](std::string_view text, int64_t fault) {
    EXPECT_EQ(Generated(text), fault) << text;
    EXPECT_EQ(Checked(text), -1) << text;
  };
  only_generated("if x:", 5);
  only_generated("if x:\n", 6);
  only_generated("if x:\ny", 6);
  only_generated("x = 1if y else 2", 5);
  only_generated("x = 012", 5);
  only_generated("x = 1_", 6);
  only_generated("x = 0x", 6);
  only_generated("x = 1e", 6);
  only_generated("\xC3\xA9 = 1", 0);
  only_generated("x\r\n", 1);
  only_generated("x = f'}'", 7);
  only_generated("x = f'{'", 7);
  only_generated("x = f'{}'", 7);
  only_generated("x = f'{a)}'", 8);
  only_generated("x = f'{(a}'", 9);
  only_generated("x = f'{a!b}'", 9);
  only_generated("x = f'{a:{b:c}}'", 11);
  only_generated("x = f'\\N{DASH}'", 7);
  only_generated("x = fr'{a}' f'{\"b\\n\"}'", 17);
  only_generated("# -*- coding: latin-1 -*-\n", 12);
  EXPECT_EQ(Generated("#\n#\n# coding: x\n"), -1);
  EXPECT_EQ(Generated("x # coding: x\n"), -1);
}

TEST(PythonMode, ClosesWhatIsOpen) {
  StateTable table(MakePythonMachine(GrammarUse::kGenerate));
  const auto closing = [&](std::string_view text) {
    return table.ClosingText(table.Run(table.start(), text));
  };
  EXPECT_EQ(closing("x = f(['a"), "'])");
  EXPECT_EQ(closing("x = f'''{a:{b["), "]}}'''");
  EXPECT_EQ(closing("if x:").size(), 1u);
  EXPECT_EQ(closing("if x:\n  if y: # z").size(), 5u);
}

TEST(PythonMode, RandomTextsAreTokenized) {
  if (!HasProgram("python3")) GTEST_SKIP() << "python3 is not installed";
  std::vector<std::string> texts;
  StateTable table(MakePythonMachine(GrammarUse::kGenerate));
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    texts.push_back(RandomText(&table, seed, 10 + static_cast<int>(seed % 120)));
    texts.push_back(RandomPieces(&table, Pieces(), seed, 160, 8));
  }
  const std::vector<std::string> verdicts = JudgeGenerated(GrammarMode::kPython, texts);
  for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(verdicts[i], "ok") << texts[i];

  // One byte more or less: what is still accepted must be right as well.
  StateTable check(MakePythonMachine(GrammarUse::kCheck));
  std::vector<std::string> accepted;
  for (uint64_t seed = 0; seed < 4 * texts.size(); ++seed) {
    std::string text = Mutated(texts[seed / 4], "()[]{}'\"\\\n: \t#ax0!$.\r", seed);
    if (FirstFault(&check, text) == -1) accepted.push_back(std::move(text));
  }
  EXPECT_GT(accepted.size(), texts.size());
  RecordProperty("accepted", static_cast<int>(accepted.size()));
  const std::vector<std::string> again = CheckBatch(kChecker + " checked", accepted);
  for (size_t i = 0; i < again.size(); ++i) EXPECT_EQ(again[i], "ok") << accepted[i];
}

TEST(PythonMode, CloseBytesHoldInWhatIsChecked) {
  StateTable check(MakePythonMachine(GrammarUse::kCheck));
  for (uint64_t seed = 0; seed < 300; ++seed) {
    RandomText(&check, seed, 150);
    RandomPieces(&check, Pieces(), seed, 240, 8);
  }
}

// GRAMMAR_CORPUS_FILES=0 in the environment reads all files.
TEST(PythonMode, TakesTheLibraryOfPython) {
  if (!HasProgram("python3")) GTEST_SKIP() << "python3 is not installed";
  StateTable check(MakePythonMachine(GrammarUse::kCheck));
  int files = 0;
  for (const std::string& path : OutputLines(kChecker + " corpus ${GRAMMAR_CORPUS_FILES:-100}")) {
    EXPECT_EQ(FirstFault(&check, FileText(path)), -1) << path;
    ++files;
  }
  EXPECT_GE(files, 50);
  RecordProperty("files", files);
}

}  // namespace
}  // namespace chimera
