#include <algorithm>
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

TEST(SqlMode, AcceptsStatements) {
  for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
    StateTable table(MakeSqlMachine(use));
    for (const char* text : {"",
                             "SELECT a.b, count(*) FROM t WHERE x = 'it''s' AND y[1] >= .5e-3;",
                             "'a\\\\'",
                             "SELECT \"a (\", \"b\"\"c\" -- (\n",
                             "/* ( */ 1",
                             "$$ it's ( $ $$",
                             "$a_1$ $b$ $$ $a_1$",
                             "$a$ $$a$",
                             "E'it\\'s \\\\'",
                             "E'a' || 'b'",
                             "date'2020-01-01'",
                             "a->>'b'",
                             "$1 + $2",
                             "1..2",
                             "caf\xC3\xA9 = '\xE2\x82\xAC'",
                             "U&'\\0041'",
                             "E'a''\\'b'",
                             "a - -1",
                             "'a' 'b'",
                             "/* * / */"}) {
      EXPECT_EQ(FirstFault(&table, text), -1) << text;
    }
  }
}

TEST(SqlMode, FindsTheFault) {
  struct Case {
    const char* text;
    int64_t fault, fault_when_generated;
  };
  for (const auto& [text, fault, fault_when_generated] :
       {Case{"a)", 1, 1}, Case{"(]", 1, 1}, Case{"(a", 2, 2}, Case{"'a", 2, 2}, Case{"\"a", 2, 2},
        Case{"'a'')", 5, 5}, Case{"/* a", 4, 4}, Case{"/*/", 3, 3}, Case{"$a$ $b$", 7, 7},
        Case{"$$ $a$", 6, 6}, Case{"E'a\\'", 5, 5}, Case{"-- (\n)", 5, 5}, Case{"(-- )", 5, 5},
        Case{"'\xC3'", 2, 2}, Case{"$\xC3\xA9$", 1, 1}, Case{"E'a' -- b\n'c'", 10, 10},
        // Only generated text may not have these.
        Case{"/* /* */ */", -1, 4}, Case{"'a\\'", -1, 3}, Case{"\"\"", -1, 1}, Case{"1a", -1, 1},
        Case{"a$b$", -1, 1}, Case{"E'a'\n'b\\'c'", -1, 5}, Case{"`a`", -1, 0}, Case{"$a b", -1, 2},
        Case{"E'\\u00'", -1, 3}, Case{"1e", -1, 2}, Case{"<<<<<<<", -1, 6}}) {
    StateTable check(MakeSqlMachine(GrammarUse::kCheck));
    StateTable generate(MakeSqlMachine(GrammarUse::kGenerate));
    EXPECT_EQ(FirstFault(&check, text), fault) << text;
    EXPECT_EQ(FirstFault(&generate, text), fault_when_generated) << text;
  }
  StateTable check(MakeSqlMachine(GrammarUse::kCheck));
  EXPECT_EQ(FirstFault(&check, std::string(1, '\0')), 0);
}

TEST(SqlMode, ClosesWhatIsDeep) {
  StateTable table(MakeSqlMachine(GrammarUse::kGenerate));
  const GrammarState deep = table.Run(table.start(), std::string(kGrammarDepthMax - 2, '('));
  ASSERT_NE(deep, kDeadState);
  EXPECT_EQ(table.Run(deep, "((("), kDeadState);
  EXPECT_EQ(table.Run(deep, "$abc"), kDeadState);
  EXPECT_EQ(table.ClosingText(table.Run(deep, "$ab")).substr(0, 5), "$$ab$");
}

#ifdef CHIMERA_HAS_PG_QUERY

constexpr std::string_view kPieces[] = {
    " ",    " ",  "\n",     "a",   "e",  "E",       "x1", "1",   "1.5",      ".",
    ",",    ";",  ":",      "=",   "-",  "--",      "/",  "/*",  "*/",       "*",
    "#>>",  "(",  ")",      "[",   "]",  "(",       ")",  "'",   "'",        "''",
    "\"",   "\"", "\\",     "\\'", "E'", "$",       "$$", "$$",  "$a$",      "$a$",
    "$b1$", "$1", "a$",     "U&'", "B'", "SELECT ", "`",  "e-5", "\xC3\xA9", "\xE2\x80\xA8",
    "\r\n", "\t", "-- x\n", "!",   "@"};

// Random texts: of bytes for odd seeds, of pieces for even ones.
std::string RandomSql(StateTable* table, uint64_t seed) {
  if (seed % 2 != 0) return RandomText(table, seed, 10 + static_cast<int>(seed % 60));
  return RandomPieces(table, kPieces, seed, 10 + static_cast<int>(seed % 60));
}

TEST(SqlMode, GeneratesWhatPostgresReads) {
  StateTable generate(MakeSqlMachine(GrammarUse::kGenerate));
  StateTable check(MakeSqlMachine(GrammarUse::kCheck));
  for (uint64_t seed = 0; seed < 20000; ++seed) {
    const std::string text = RandomSql(&generate, seed);
    EXPECT_EQ(JudgeSql(text), "ok") << text;
    EXPECT_EQ(FirstFault(&check, text), -1) << text;
  }
}

TEST(SqlMode, AcceptsNothingThatPostgresFindsOpen) {
  StateTable generate(MakeSqlMachine(GrammarUse::kGenerate));
  StateTable check(MakeSqlMachine(GrammarUse::kCheck));
  int accepted = 0;
  for (uint64_t seed = 0; seed < 40000; ++seed) {
    // Of texts for checking, too: they have nested comments and strings that go on.
    StateTable* const table = seed % 4 < 2 ? &generate : &check;
    const std::string text = Mutated(RandomSql(table, seed), "()[]'\"\\$-/*\nE a1", seed);
    if (FirstFault(&check, text) != -1) continue;
    ++accepted;
    const std::string answer = JudgeSql(text);
    EXPECT_FALSE(answer == "open" || answer.starts_with("unterminated")) << answer << "\n" << text;
  }
  EXPECT_GT(accepted, 10000);
}

// PostgreSQL's own scripts, where it is installed.
TEST(SqlMode, AcceptsRealFiles) {
  StateTable check(MakeSqlMachine(GrammarUse::kCheck));
  int accepted = 0;
  std::error_code none;
  for (std::filesystem::recursive_directory_iterator it("/usr/share/postgresql", none), end;
       it != end && accepted < 300; it.increment(none)) {
    if (none || !it->is_regular_file(none) || it->path().extension() != ".sql") continue;
    const std::string text = FileText(it->path());
    if (JudgeSql(text) != "ok") continue;
    EXPECT_EQ(FirstFault(&check, text), -1) << it->path();
    ++accepted;
  }
  if (accepted == 0) GTEST_SKIP() << "no SQL on this machine";
}

#else

TEST(SqlMode, IsJudgedByPostgres) { GTEST_SKIP() << "built without libpg-query"; }

#endif

}  // namespace
}  // namespace chimera
