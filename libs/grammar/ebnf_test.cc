#include "grammar/ebnf.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grammar/grammar_testing.h"
#include "grammar/state_table.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

std::string Repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::unique_ptr<StateTable> TableOf(std::string_view grammar,
                                    GrammarUse use = GrammarUse::kGenerate) {
  auto tables = CompileEbnf(grammar, use);
  EXPECT_TRUE(tables.ok()) << grammar << ": " << tables.status();
  if (!tables.ok()) return nullptr;
  return std::make_unique<StateTable>(std::make_shared<RuleMachine>(*std::move(tables)));
}

std::string ErrorOf(std::string_view grammar) {
  const auto tables = CompileEbnf(grammar, GrammarUse::kGenerate);
  return tables.ok() ? "OK" : tables.status().ToString();
}

struct Construct {
  const char* grammar;
  std::vector<std::string> in, out;
};

const std::vector<Construct>& Constructs() {
  static const auto* all = new std::vector<Construct>{
      {R"(root ::= "ab" 'cd')", {"abcd"}, {"", "ab", "abcde", "ABCD"}},
      {R"(root ::= "a\n\t\"\\\x41\u00e9\U0001F600'" '"')",
       {"a\n\t\"\\A\xC3\xA9\xF0\x9F\x98\x80'\""},
       {"a"}},
      {R"(root ::= "")", {""}, {"a"}},
      {R"(root ::= )", {""}, {"a"}},
      {R"(root ::= | "a")", {"", "a"}, {"aa"}},
      {R"(root ::= "a" | "b" "c" | )", {"a", "bc", ""}, {"b", "ac", "abc"}},
      {R"(root ::= ("a" | "b") "c")", {"ac", "bc"}, {"a", "c", "abc"}},
      {R"(root ::= "a"? "b"* "c"+)", {"c", "ac", "abbcc", "bc"}, {"", "ab", "aac", "cb"}},
      {R"(root ::= "a"{3})", {"aaa"}, {"", "aa", "aaaa"}},
      {R"(root ::= "a"{2,})", {"aa", "aaaaaa"}, {"", "a", "aab"}},
      {R"(root ::= "a"{ 2 , 4 } "a"?)", {"aa", "aaaaa"}, {"a", "aaaaaa"}},
      {R"(root ::= "a"{0} "b")", {"b"}, {"ab"}},
      {R"(root ::= "a"{0,0})", {""}, {"a"}},
      {R"(root ::= ("a" "b"{2}){2} "c")", {"abbabbc"}, {"abbc", "abbabc", "abbabbabbc"}},
      {R"(root ::= ("a"?){3} "b")", {"b", "ab", "aaab"}, {"aaaab"}},
      {R"(root ::= "a"?* "b")", {"b", "aaab"}, {"a"}},
      {R"(root ::= [a-c] [^a-c] [-x] [a\]\-])", {"ad-]", "cdx-", "b\xC3\xA9xa"}, {"aaxa", "adya"}},
      {R"(root ::= [^\x00-\x7f]+)", {"\xC3\xA9\xE2\x82\xAC"}, {"a", "", "\xC3"}},
      {"root ::= [α-ω]{2}", {"αω", "βγ"}, {"α", "αa"}},
      {R"(root ::= . .)", {"ab", "a\xE2\x82\xAC"}, {"a", "a\n", "abc"}},
      {R"(root ::= /[0-9]+(\.[0-9]{2})?/ ";")", {"1;", "10.25;"}, {".25;", "1.2;", "1"}},
      {R"(root ::= /a\/b\\/)", {"a/b\\"}, {"a\\/b"}},
      {R"(root ::= "<" %json {"type": "array", "items": {"const": "}"}} ">")",
       {R"(<["}"]>)", "<[]>"},
       {"<[1]>", "<[] >x", "[]"}},
      {"# first\nstart: a b // no root\n\na = 'x' # one\n  | 'y'\nb := 'z';c ::= a", {"xz"}, {"x"}},
      {"root ::= a-b_1 a-b_1\na-b_1 ::= \"q\"", {"qq"}, {"q"}},
      {"root ::= \"a\"\n  (\"b\"\n | \"c\" )\n\n  \"d\"", {"abd", "acd"}, {"a", "ad"}},
      {"root ::= list\nlist ::= '(' list* ')'", {"()", "(()(()))"}, {"(", ")", "()()"}},
      {"start ::= 'a'\nroot ::= 'b'", {"b"}, {"a"}},
  };
  return *all;
}

TEST(Ebnf, EveryConstructReadsItsTexts) {
  for (const Construct& c : Constructs()) {
    for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
      const auto table = TableOf(c.grammar, use);
      ASSERT_NE(table, nullptr);
      for (const std::string& text : c.in) {
        EXPECT_EQ(FirstFault(table.get(), text), -1) << c.grammar << " on " << text;
      }
      for (const std::string& text : c.out) {
        EXPECT_NE(FirstFault(table.get(), text), -1) << c.grammar << " on " << text;
      }
      // Closing figures hold for what is generated.
      for (uint64_t seed = 0; use == GrammarUse::kGenerate && seed < 30; ++seed) {
        EXPECT_EQ(FirstFault(table.get(), RandomText(table.get(), seed, 20)), -1) << c.grammar;
      }
    }
  }
}

TEST(Ebnf, LeftRecursionOfEveryKind) {
  const std::vector<Construct> cases = {
      {"root ::= root '+' [0-9] | [0-9]", {"1", "1+2+3"}, {"", "+1", "1+", "12"}},
      {"root ::= a\na ::= b 'x' | 'z'\nb ::= a 'y'", {"z", "zyx", "zyxyx"}, {"zy", "zx", "x"}},
      {"root ::= e\ne ::= s? e ';' | 'q'\ns ::= ' '", {"q", "q;", " q;;"}, {" q", ";", "q "}},
      {"root ::= (root 'a')? 'b'", {"b", "bab", "babab"}, {"", "ab", "ba"}},
      {"root ::= root* 'a'", {"a", "aa", "aaaa"}, {"", "b"}},
      {"root ::= root root | 'a'", {"a", "aa", "aaaaa"}, {"", "b"}},
      {"root ::= root root | 'a' | ''", {"", "a", "aaa"}, {"b"}},
      {"root ::= root | 'a'", {"a"}, {"", "aa"}},
      {"root ::= root '+' t | t\nt ::= t '*' f | f\nf ::= 'n' | ''",
       {"", "n", "*", "+", "n*n+", "+*+n"},
       {"nn", "n*+nn"}},
      {"root ::= root root | 'a'{2,3} | 'b'", {"aa", "baab"}, {"", "a", "ab"}},
      {"root ::= e\ne ::= e '+' t | t\nt ::= t '*' f | f\nf ::= '(' e ')' | 'n'",
       {"n", "n+n*n", "(n+n)*n", "((n))"},
       {"n+", "(n", "nn", "*n"}},
      {"root ::= a\na ::= b\nb ::= c\nc ::= a '1' | b '2' | c '3' | '0'",
       {"0", "0123", "0321"},
       {"1", "", "00"}},
  };
  for (const Construct& c : cases) {
    const auto table = TableOf(c.grammar);
    ASSERT_NE(table, nullptr);
    for (const std::string& text : c.in) {
      EXPECT_EQ(FirstFault(table.get(), text), -1) << c.grammar << " on " << text;
    }
    for (const std::string& text : c.out) {
      EXPECT_NE(FirstFault(table.get(), text), -1) << c.grammar << " on " << text;
    }
  }
  const auto table = TableOf("root ::= root '+' [0-9] | [0-9]");
  EXPECT_EQ(FirstFault(table.get(), "1" + Repeated("+2", 100000)), -1);
  EXPECT_LT(table->n_states(), 10);
}

TEST(Ebnf, RepetitionsAreCountersNotCopies) {
  auto tables = CompileEbnf("root ::= ([a-z] ','?){1000000} | 'x'{3,1000000}", GrammarUse::kCheck);
  ASSERT_TRUE(tables.ok()) << tables.status();
  EXPECT_LT(tables->places.size(), 40u);
  const auto table = TableOf("root ::= 'ab'{100000,100001}");
  EXPECT_EQ(table->CloseBytes(table->start()), 200000u);
  EXPECT_EQ(FirstFault(table.get(), Repeated("ab", 99999)), 2 * 99999);
  EXPECT_EQ(FirstFault(table.get(), Repeated("ab", 100000)), -1);
  EXPECT_EQ(FirstFault(table.get(), Repeated("ab", 100001)), -1);
  EXPECT_EQ(FirstFault(table.get(), Repeated("ab", 100002)), 2 * 100001);
}

TEST(Ebnf, ErrorsNameLineAndColumn) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "rule named root or start"},
      {"a ::= 'b'", "rule named root or start"},
      {"root ::= 'a'\nroot ::= 'b'", "line 2, column 1: rule root is defined twice"},
      {"root ::= 'a'\n  missing", "line 2, column 3: rule missing is not defined"},
      {"root ::= ('a'", "line 1, column 14: a ( without its )"},
      {"root ::= 'a')", "line 1, column 13: a ) without a ("},
      {"root ::= 'a", "line 1, column 12: a literal does not end"},
      {"root ::= 'a\n'", "a literal does not end"},
      {"root ::= [a", "a [ without its ]"},
      {"root ::= [z-a]", "runs backwards"},
      {"root ::= []", "the grammar is empty"},
      {"root ::= \"\\q\"", "escape \\q is not known"},
      {"root ::= \"\\x4\"", "hexadecimal digit"},
      {"root ::= \"\\ud800\"", "this is no character"},
      {"root ::= \"\\U00110000\"", "this is no character"},
      {"root ::= *", "line 1, column 10: a literal, class, group or name is missing"},
      {"root ::= 'a'{1,", "line 1, column 16: a { without its }"},
      {"root ::= 'a'{}", "a number is missing"},
      {"root ::= 'a'{2,1}", "max < min"},
      {"root ::= 'a'{1000001}", "line 1, column 21: a repetition of more than 1000000"},
      {"root ::= 'a'{99999999999999999999}", "a repetition of more than 1000000"},
      {"root ::= 'a'????? ", "too many quantifiers"},
      {"root ::= /a", "a regular expression does not end"},
      {"root ::= /(/", "line 1, column 10: "},
      {"root ::= \n /a(?=b)/", "line 2, column 2: "},
      {"root ::= %json [1]", "a schema in braces"},
      {"root ::= %json {\"type\": \"strin\"}", "line 1, column 10: "},
      {"root ::= %lark x", "a literal, class, group or name"},
      {"root ::= 'a'i", "any case"},
      {"root 'a'", "::= is missing behind root"},
      {"1root ::= 'a'", "a rule begins with its name"},
      {"root ::= root 'a'", "the grammar is empty"},
      {"root ::= root{2} 'a' | 'b'", "counted repetition"},
      {"root ::= \xFF", "no UTF-8"},
  };
  for (const auto& [grammar, words] : cases) {
    EXPECT_TRUE(absl::StrContains(ErrorOf(grammar), words)) << grammar << ": " << ErrorOf(grammar);
  }
}

TEST(Ebnf, HostileGrammarsEndInAnError) {
  const int n = kEbnfBytesMax - 32;
  const std::pair<std::string, const char*> cases[] = {
      {"root ::= " + std::string(kEbnfBytesMax, ' '), "the limit is 1048576"},
      {"root ::= " + std::string(n, '('), "nest deeper than 200"},
      {"root ::= 'a'" + std::string(n, '?'), "too many quantifiers"},
      {"root ::= " + std::string(n, '?'), "a literal, class, group or name"},
      {"root ::= " + std::string(n, '|'), "200000 parts"},
      {"root ::= " + Repeated("'' ", n / 3), "200000 parts"},
      {"root ::= " + Repeated(". ", 100000), "400000 places"},
      {"root ::= " + Repeated("%json {} ", n / 9), "400000 places"},
      {"root ::= " + Repeated("(a{1000}) ", 10) + "\na ::= b{1000}\nb ::= b 'x'", "is empty"},
      {"root ::= /(a{1000}){1000}/", "line 1"},
      {"root ::= " + Repeated("/(a|b)*a(a|b){12}|.*/ ", 40000), "20000000 steps"},
      {"root ::= (((('a'{1000000}){1000000}){1000000}){1000000})", "the grammar is empty"},
  };
  for (const auto& [grammar, words] : cases) {
    const std::string error = ErrorOf(grammar);
    EXPECT_TRUE(absl::StrContains(error, words)) << grammar.substr(0, 40) << ": " << error;
  }
  std::string rules = "root ::= r0";
  for (int i = 0; i < kEbnfRulesMax; ++i) absl::StrAppend(&rules, "\nr", i, " ::= 'a'");
  EXPECT_TRUE(absl::StrContains(ErrorOf(rules), "more than 10000 rules")) << ErrorOf(rules);
}

// Rules that lead to each other in both directions, as long as they may be: none is a hang.
TEST(Ebnf, LongChainsCompile) {
  for (const bool backwards : {false, true}) {
    std::string rules = absl::StrCat("root ::= r", backwards ? kEbnfRulesMax - 2 : 0);
    for (int i = 0; i < kEbnfRulesMax - 1; ++i) {
      const int called = backwards ? i - 1 : i + 1;
      const bool last = called < 0 || called == kEbnfRulesMax - 1;
      absl::StrAppend(&rules, "\nr", i, " ::= ", last ? "'a'?" : absl::StrCat("r", called));
      absl::StrAppend(&rules, " 'b'? 'c'? 'd'? 'e'?");
    }
    const auto tables = CompileEbnf(rules, GrammarUse::kGenerate);
    if (!tables.ok()) {
      EXPECT_EQ(tables.status().code(), absl::StatusCode::kResourceExhausted) << tables.status();
    }
  }
}

// Every rule is left-recursive, or may be empty before a left recursion.
TEST(Ebnf, ManyLeftRecursionsCompile) {
  for (const char* body : {" 'x' | 'y'", " 'x' | ''"}) {
    std::string rules = "root ::= root ';' | r0";
    for (int i = 0; i < kEbnfRulesMax - 1; ++i) {
      absl::StrAppend(&rules, "\nr", i, " ::= r", i, body, i + 2 < kEbnfRulesMax ? "| r" : "|'z'");
      if (i + 2 < kEbnfRulesMax) absl::StrAppend(&rules, i + 1);
    }
    const auto tables = CompileEbnf(rules, GrammarUse::kGenerate);
    if (!tables.ok()) {
      EXPECT_EQ(tables.status().code(), absl::StatusCode::kResourceExhausted) << tables.status();
    }
  }
}

TEST(Ebnf, TooAmbiguousTextsNameTheLimit) {
  const auto table = TableOf("root ::= ('a' | 'aa' | 'aaa'){1,1000000}");
  EXPECT_EQ(FirstFault(table.get(), std::string(50, 'a')), -1);
  table->Run(table->start(), std::string(2000, 'a'));
  EXPECT_EQ(table->status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(table->status().message(), "the limit is 256")) << table->status();
}

TEST(Ebnf, RightRecursionNeedsNoDepth) {
  const auto table = TableOf("root ::= [a-z]+ (',' root)? | [0-9] more\nmore ::= ';' root");
  EXPECT_EQ(FirstFault(table.get(), Repeated("ab,1;", 100000) + "c"), -1);
  EXPECT_LT(table->n_states(), 12);
}

// At the depth limit a text can still be brought to its end, whatever stands innermost.
TEST(Ebnf, TheDepthLimitIsNoDeadEnd) {
  const auto table = TableOf(
      "root ::= '(' root ')' | '[' inner\ninner ::= deep deep ']'\n"
      "deep ::= one one | '<' deep '>' 'x'\none ::= 'y' 'z'{2}");
  for (const char* opening : {"(", "(((([<", "[", "[<"}) {
    GrammarState state = table->start();
    const std::string_view bytes(opening);
    for (size_t i = 0; i < 3 * size_t{kGrammarDepthMax}; ++i) {
      const char byte = bytes[std::min(i, bytes.size() - 1)];
      const GrammarState next = table->Next(state, static_cast<uint8_t>(byte));
      if (next == kDeadState) break;
      state = next;
    }
    const std::string closing = table->ClosingText(state);
    EXPECT_LE(closing.size(), table->CloseBytes(state));
    EXPECT_TRUE(table->CanEnd(table->Run(state, closing))) << opening;
  }
}

}  // namespace
}  // namespace chimera
