// EBNF against Lark's Earley parser: the same languages in both notations, random texts of ours and
// mutated ones, agreement both ways.
#include <string>
#include <vector>

#include "grammar/ebnf.h"
#include "grammar/grammar_testing.h"
#include "grammar/outside_check_testing.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

using Json = nlohmann::json;

struct Pair {
  const char *ours, *larks, *bytes;  // bytes: what mutations insert
};

// Lark's parsers judge terminals as wholes, so its side uses characters wherever that matters.
constexpr Pair kPairs[] = {
    {"root ::= [ab]* 'c'", "start: (\"a\"|\"b\")* \"c\"", "abc"},
    {"root ::= 'a'{2,4} 'b'{3} 'c'{0,2}", "start: \"a\"~2..4 \"b\"~3 \"c\"~0..2", "abc"},
    {"root ::= '(' root ')' | root root | 'x'", "start: \"(\" start \")\" | start start | \"x\"",
     "()x"},
    {"root ::= e\ne ::= e '+' t | t\nt ::= t '*' f | f\nf ::= '(' e ')' | [0-9]+",
     "start: e\ne: e \"+\" t | t\nt: t \"*\" f | f\nf: \"(\" e \")\" | D+\nD: /[0-9]/", "()+*12"},
    {"root ::= a\na ::= b 'x' | 'z'\nb ::= a 'y' | 'w'",
     "start: a\na: b \"x\" | \"z\"\nb: a \"y\" | \"w\"", "xyzw"},
    {"root ::= s? root 'y' | 'z'\ns ::= 's'", "start: s? start \"y\" | \"z\"\ns: \"s\"", "syz"},
    {"root ::= ('ab' | 'a' | 'b')* 'abab'", "start: (\"ab\" | \"a\" | \"b\")* \"abab\"", "ab"},
    {"root ::= item (',' item)*\nitem ::= [a-z]+ ('=' [0-9]{1,3})?",
     "start: item (\",\" item)*\nitem: L+ (\"=\" D~1..3)?\nL: /[a-z]/\nD: /[0-9]/", "a,=1"},
    {"root ::= 'a' root 'b' | 'c'?", "start: \"a\" start \"b\" | \"c\"?", "abc"},
    {"root ::= ('a' 'b'?){2,3} ('b' | 'c')+", "start: (\"a\" \"b\"?)~2..3 (\"b\" | \"c\")+", "abc"},
    {"root ::= [^x] . 'x'", "start: /[^x]/ /[^\\n]/ \"x\"", "xy\n"},
    {"root ::= p\np ::= 'a' p 'a' | 'b' p 'b' | 'a' | 'b' | ''",
     "start: p\np: \"a\" p \"a\" | \"b\" p \"b\" | \"a\" | \"b\" |", "ab"},
    {"root ::= 'if' c 'then' root ('else' root)? | 's'\nc ::= c '&' c | 't'",
     "start: \"if\" c \"then\" start (\"else\" start)? | \"s\"\nc: c \"&\" c | \"t\"", "ifthnels&"},
    {"root ::= /[ab]*a[ab]/ ';'", "start: /[ab]/* \"a\" /[ab]/ \";\"", "ab;"},
    {"root ::= (('a' | '') 'b'*)+ 'c'", "start: ((\"a\" | ) \"b\"*)+ \"c\"", "abc"},
    {"root ::= x y\nx ::= x 'a' | ''\ny ::= 'b' y | y 'c' | 'd'",
     "start: x y\nx: x \"a\" |\ny: \"b\" y | y \"c\" | \"d\"", "abcd"},
};

TEST(EbnfLark, AgreesBothWays) {
  if (std::system("/usr/bin/python3 -c 'import lark' 2>/dev/null") != 0) {
    GTEST_SKIP() << "python3-lark is not installed";
  }
  std::vector<Json> cases;
  std::vector<bool> ours;
  for (const Pair& pair : kPairs) {
    auto tables = CompileEbnf(pair.ours, GrammarUse::kGenerate);
    ASSERT_TRUE(tables.ok()) << pair.ours << ": " << tables.status();
    StateTable table(std::make_shared<RuleMachine>(*std::move(tables)));
    for (uint64_t seed = 0; seed < 250; ++seed) {
      std::string text = RandomText(&table, seed, static_cast<int>(seed % 12));
      for (uint64_t round = 0; round < seed % 3; ++round) {
        text = Mutated(text, pair.bytes, 3 * seed + round);
      }
      if (text.size() > 60 || text.find_first_of("\x80\xFF") != std::string::npos) continue;
      if (std::ranges::any_of(text, [](char c) { return (c & 0x80) != 0; })) continue;
      cases.push_back({{"grammar", pair.larks}, {"text", text}});
      ours.push_back(FirstFault(&table, text) == -1);
    }
    EXPECT_TRUE(table.status().ok()) << pair.ours << ": " << table.status();
  }
  const std::vector<std::string> answers =
      OutsideCheck("/usr/bin/python3 " CHIMERA_SOURCE_DIR "/libs/grammar/ebnf_check.py", cases);
  ASSERT_EQ(answers.size(), cases.size());
  int in = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(answers[i], ours[i] ? "in" : "out") << cases[i];
    in += ours[i];
  }
  EXPECT_GT(in, 1500);
  EXPECT_GT(static_cast<int>(cases.size()) - in, 800);
}

}  // namespace
}  // namespace chimera
