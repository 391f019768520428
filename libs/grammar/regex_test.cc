#include "grammar/regex.h"

#include <re2/re2.h>

#include <string>

#include "base/philox.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

ByteDfa Compiled(std::string_view pattern, bool ecma_search = false) {
  auto dfa = CompileRegex(pattern, {.ecma_search = ecma_search});
  EXPECT_TRUE(dfa.ok()) << pattern << ": " << dfa.status();
  return dfa.ok() ? *std::move(dfa) : ByteDfa::Nothing();
}

// Texts over a small alphabet, so that they match often, and the pattern's own bytes among them.
std::string TextOver(std::string_view alphabet, uint64_t seed) {
  std::string text;
  const PhiloxBlock first = Philox4x32({0, 0, 0, 1}, uint32_t(seed), 7);
  for (uint32_t i = 0; i < first[0] % 12; ++i) {
    text += alphabet[Philox4x32({i, 0, 0, 2}, uint32_t(seed), 7)[0] % alphabet.size()];
  }
  return text;
}

TEST(Regex, AgreesWithRe2) {
  const std::vector<std::string> patterns = {"abc",
                                             "a*b+c?",
                                             "(ab|ba)*",
                                             "[a-c]{2,4}",
                                             "a{3}",
                                             "a{2,}b",
                                             "[^ab]+",
                                             "(a|b)*abb",
                                             "a.c",
                                             "\\d+(\\.\\d+)?",
                                             "\\w+@\\w+",
                                             "[[:alpha:]]+[[:digit:]]*",
                                             "(?:a|b(?:c|1))+",
                                             "(?i)aBc",
                                             "a|b|c|",
                                             "((a?){3}b){2}",
                                             "[\\w.-]+",
                                             "\\x41|a",
                                             "^a+$",
                                             "(^a|b)c*",
                                             "[]a]+",
                                             "(?s).*1",
                                             "(a*)*",
                                             "(a|a)*",
                                             "x{0}a",
                                             "\\.\\*\\+",
                                             "[a\\-c]+",
                                             "a??b*?",
                                             "\\p{L}+\\p{N}*",
                                             "\\Aab\\z",
                                             "(?P<n>ab)+",
                                             "[^\\d]+",
                                             "\\S+\\s\\S*",
                                             "é+|ü",
                                             "[à-ü]{1,2}",
                                             "\\pL\\PN"};
  const std::string alphabet = "aabbcc1.@-]x A+*\n";
  int matched = 0;
  for (const std::string& pattern : patterns) {
    const ByteDfa dfa = Compiled(pattern);
    const RE2 oracle(pattern);
    ASSERT_TRUE(oracle.ok()) << pattern;
    for (uint64_t seed = 0; seed < 4000; ++seed) {
      std::string text = TextOver(alphabet, seed);
      if (seed % 5 == 0) text += seed % 2 ? "é" : "ü";
      const bool expected = RE2::FullMatch(text, oracle);
      matched += expected;
      ASSERT_EQ(dfa.Matches(text), expected) << pattern << " on " << text;
    }
  }
  EXPECT_GT(matched, 3000);
}

TEST(Regex, SearchesAsJsonSchemaDoes) {
  const std::vector<std::string> patterns = {"a",      "^a",     "a$", "^ab*$", "^a|b$",
                                             "(^|x)a", "a(c|$)", "^$", "b{2}"};
  for (const std::string& pattern : patterns) {
    const ByteDfa dfa = Compiled(pattern, true);
    const RE2 oracle(pattern);
    for (uint64_t seed = 0; seed < 3000; ++seed) {
      const std::string text = TextOver("aabbcx", seed);
      ASSERT_EQ(dfa.Matches(text), RE2::PartialMatch(text, oracle)) << pattern << " on " << text;
    }
  }
}

TEST(Regex, NamesWhatItRefuses) {
  const std::pair<const char*, const char*> cases[] = {
      {"a(?=b)", "look-around"},   {"(?<!a)b", "look-around"},    {"(a)\\1", "back-references"},
      {"\\bword", "boundaries"},   {"a++", "possessive"},         {"(?>a)", "atomic"},
      {"(?m)^a", "flag m"},        {"\\p{Greek}", "Greek"},       {"a**", "two quantifiers"},
      {"(a", "without its )"},     {"a)", "without a ("},         {"[a", "without its ]"},
      {"*a", "nothing to repeat"}, {"a{1001}", "more than 1000"}, {"[z-a]", "backwards"},
      {"\\xZZ", "hexadecimal"},    {"a{3,2}", "max < min"},       {"\\q", "not known"}};
  for (const auto& [pattern, words] : cases) {
    const auto dfa = CompileRegex(pattern, {});
    ASSERT_FALSE(dfa.ok()) << pattern;
    EXPECT_EQ(dfa.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(dfa.status().message().find(words), std::string::npos) << dfa.status();
  }
}

TEST(Regex, HostilePatternsAreBounded) {
  const std::string deep(1000, '(');
  EXPECT_FALSE(CompileRegex(deep + std::string(1000, ')'), {}).ok());
  for (const char* pattern :
       {"(a{1000}){1000}", "((a{100}){100}){100}", "(.*a.{20})", "(a|b)*a(a|b){17}"}) {
    const auto dfa = CompileRegex(pattern, {});
    ASSERT_FALSE(dfa.ok()) << pattern;
    EXPECT_EQ(dfa.status().code(), absl::StatusCode::kResourceExhausted) << pattern;
  }
}

TEST(ByteDfa, AlgebraOfLanguages) {
  const ByteDfa letters = Compiled("[a-z]*"), short_text = *ByteDfa::Characters(2, 3);
  const ByteDfa both = *ByteDfa::And(letters, short_text);
  const ByteDfa minus = *ByteDfa::Minus(letters, short_text);
  const ByteDfa either = *ByteDfa::Or(both, minus);
  for (const char* text : {"", "a", "ab", "abc", "abcd", "A", "éé"}) {
    EXPECT_EQ(both.Matches(text), letters.Matches(text) && short_text.Matches(text)) << text;
    EXPECT_EQ(minus.Matches(text), letters.Matches(text) && !short_text.Matches(text)) << text;
  }
  EXPECT_TRUE(either == letters);
  EXPECT_TRUE(ByteDfa::And(both, minus)->empty());
  EXPECT_TRUE(Compiled("(ab|a)c|b") == Compiled("b|a(bc|c)"));
  EXPECT_TRUE(ByteDfa::Text("abc") == Compiled("abc"));
  EXPECT_TRUE(ByteDfa::AnyText() == Compiled("(?s).*"));
  EXPECT_FALSE(ByteDfa::Characters(0, 1000000).ok());
}

}  // namespace
}  // namespace chimera
