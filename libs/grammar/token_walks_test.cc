// Random walks through the tokens that masks allow, judged by programs apart from ours. The tests
// walk a few thousand times; GRAMMAR_WALKS=1000000 in the environment walks that often, and
// GRAMMAR_TOKENIZER=FILE over another vocabulary (o200k_base.tiktoken: 200,000 tokens).
#include <bit>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/philox.h"
#include "grammar/corpora_testing.h"
#include "grammar/grammar_cache.h"
#include "grammar/mode_judges_testing.h"
#include "grammar/outside_check_testing.h"
#include "grammar/token_grammar.h"
#include "grammar/vocabulary_testing.h"
#include "gtest/gtest.h"
#include "re2/re2.h"

namespace chimera {
namespace {

using Kind = GrammarSource::Kind;

constexpr int64_t kWalksPerBatch = 20'000;

int64_t Walks(int64_t in_tests) {
  return std::stoll(Setting("GRAMMAR_WALKS", std::to_string(in_tests)));
}

std::shared_ptr<TokenGrammar> Grammar(const GrammarSource& source) {
  auto machine = CompileGrammar(source, GrammarUse::kGenerate);
  EXPECT_TRUE(machine.ok()) << source.text << ": " << machine.status();
  return std::make_shared<TokenGrammar>(TestVocabulary(), *std::move(machine));
}

// One of the tokens of a mask that are below limit, the first one at or behind a random place; -1
// without any.
int32_t Draw(std::span<const uint64_t> bits, int32_t limit, uint32_t random) {
  const auto words = static_cast<size_t>((limit + 63) / 64);
  const auto from = static_cast<int32_t>(random % uint32_t(limit));
  for (size_t i = 0; i <= words; ++i) {
    const size_t w = (size_t(from) / 64 + i) % words;
    uint64_t word = bits[w];
    if (i == 0) word &= ~uint64_t{0} << (from % 64);
    if (word == 0) continue;
    const auto id = static_cast<int32_t>(w * 64) + std::countr_zero(word);
    if (id < limit) return id;
  }
  return -1;
}

// Half of the tokens are drawn among the single bytes, which open, close and part things. Every
// state asks for its mask under a budget; where the budget admits an end, the text has one.
// Nothing when the grammar is ambiguous beyond StateTable's limit, which is an error of its own.
std::optional<std::string> Walk(const std::shared_ptr<TokenGrammar>& grammar, uint64_t seed,
                                int tokens_max) {
  constexpr int32_t kSingleBytes = 256;
  GrammarMatcher matcher(grammar);
  const Tokenizer& tokenizer = grammar->vocabulary().tokenizer();
  std::vector<uint64_t> bits(grammar->vocabulary().mask_words());
  std::string text;
  bool closable = false;
  PhiloxBlock draw = Philox4x32({0, 0, 4, 0}, uint32_t(seed), uint32_t(seed >> 32));
  const int budget = 1 + static_cast<int>(draw[0] % uint32_t(tokens_max));
  for (int i = 0; i < budget; ++i) {
    draw = Philox4x32({uint32_t(i), 1, 4, 0}, uint32_t(seed), uint32_t(seed >> 32));
    const auto mask = matcher.Mask(budget - i, bits);
    if (absl::IsResourceExhausted(mask.status())) return std::nullopt;
    EXPECT_TRUE(mask.ok()) << mask.status();
    if (!mask.ok()) break;
    EXPECT_TRUE(mask->closable || !closable) << text;
    closable = mask->closable;
    if (mask->can_end && draw[2] % 16 == 0) break;
    int32_t token = draw[1] % 2 == 0 ? Draw(bits, kSingleBytes, draw[0]) : -1;
    if (token < 0) token = Draw(bits, tokenizer.n_ranks(), draw[0]);
    if (token < 0) break;  // nothing but the end
    const absl::Status taken = matcher.Advance(token);
    EXPECT_TRUE(taken.ok()) << taken << " after " << text;
    text += tokenizer.TokenBytes(token);
  }
  EXPECT_TRUE(matcher.CanEnd() || !closable) << text;
  return text + matcher.ClosingText();
}

// Distinct texts of n walks, batch after batch, to a function of (grammar, texts).
template <typename Judge>
void WalkAll(const std::vector<GrammarSource>& sources, int64_t n, int tokens_max, Judge judge) {
  std::vector<std::shared_ptr<TokenGrammar>> grammars;
  for (const GrammarSource& source : sources) grammars.push_back(Grammar(source));
  const auto n_grammars = static_cast<int64_t>(grammars.size());
  int64_t distinct = 0, ambiguous = 0;
  for (int64_t begin = 0; begin < n; begin += kWalksPerBatch) {
    const int64_t end = std::min(n, begin + kWalksPerBatch);
    std::vector<std::set<std::string>> texts(grammars.size());
    for (int64_t i = begin; i < end; ++i) {
      const auto g = static_cast<size_t>(i % n_grammars);
      const auto text = Walk(grammars[g], uint64_t(i), tokens_max);
      if (text.has_value()) {
        texts[g].insert(*text);
      } else {
        ++ambiguous;
        grammars[g] = Grammar(sources[g]);  // its tables stay in error
      }
    }
    for (size_t g = 0; g < grammars.size(); ++g) {
      distinct += static_cast<int64_t>(texts[g].size());
      judge(g, std::vector<std::string>(texts[g].begin(), texts[g].end()));
    }
    if (testing::Test::HasFailure()) break;  // a fault repeats; the first ones say it all
  }
  std::cout << n << " walks of " << sources.size() << " grammars, " << distinct
            << " distinct texts in their batches, " << ambiguous << " walks too ambiguous\n";
  EXPECT_LT(ambiguous * 1000, n);
}

void WalkMode(GrammarMode mode, int64_t in_tests) {
  if (JudgeGenerated(mode, {"1"}).empty()) GTEST_SKIP() << "the judge of the mode is missing";
  WalkAll({{Kind::kMode, std::string(GrammarModeName(mode))}}, Walks(in_tests), 60,
          [mode](size_t, const std::vector<std::string>& texts) {
            const std::vector<std::string> answers = JudgeGenerated(mode, texts);
            ASSERT_EQ(answers.size(), texts.size());
            for (size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(answers[i], "ok") << texts[i];
          });
}

TEST(TokenWalks, Json) { WalkMode(GrammarMode::kJson, 10'000); }
TEST(TokenWalks, PlainText) { WalkMode(GrammarMode::kPlainText, 2'000); }
TEST(TokenWalks, Dialogue) { WalkMode(GrammarMode::kDialogue, 2'000); }
TEST(TokenWalks, Markdown) { WalkMode(GrammarMode::kMarkdown, 4'000); }
TEST(TokenWalks, Python) { WalkMode(GrammarMode::kPython, 4'000); }
TEST(TokenWalks, Javascript) { WalkMode(GrammarMode::kJavascript, 4'000); }
TEST(TokenWalks, Sql) { WalkMode(GrammarMode::kSql, 10'000); }
TEST(TokenWalks, MathLatex) { WalkMode(GrammarMode::kMathLatex, 2'000); }
TEST(TokenWalks, Shell) { WalkMode(GrammarMode::kShell, 2'000); }

// A random expression of both our dialect and RE2's.
std::string RandomPattern(uint64_t seed, uint32_t* at, int depth) {
  const PhiloxBlock draw = Philox4x32({(*at)++, 2, 4, 0}, uint32_t(seed), uint32_t(seed >> 32));
  static constexpr const char* kAtoms[] = {
      "a",      "b",      "1",   "\xC3\xA9",     "[a-f]",
      "[^a-z]", "\\d",    "\\w", "\xE2\x82\xAC", "[\xC3\xA0-\xC3\xBC]",
      "\\s",    "\\p{L}", "\\.", "[-+*/]",       " "};
  static constexpr const char* kRepeats[] = {"*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}"};
  const uint32_t kind = depth == 0 ? 0 : draw[0] % 8;
  if (kind < 2) return kAtoms[draw[1] % std::size(kAtoms)];
  const std::string first = RandomPattern(seed, at, depth - 1);
  if (kind < 4) return "(?:" + first + ")" + kRepeats[draw[1] % std::size(kRepeats)];
  const std::string second = RandomPattern(seed, at, depth - 1);
  return kind == 4 ? "(?:" + first + "|" + second + ")" : first + second;
}

// Whether a text has a letter or number that is none in RE2's version of Unicode.
bool HasNewerCharacter(const std::string& text) {
  static const RE2 letter("\\pL"), number("\\pN");
  StateTable letters(*CompileGrammar({Kind::kRegex, "\\pL"}, GrammarUse::kCheck));
  StateTable numbers(*CompileGrammar({Kind::kRegex, "\\pN"}, GrammarUse::kCheck));
  const auto in = [](StateTable* table, const std::string& one) {
    const GrammarState end = table->Run(table->start(), one);
    return end != kDeadState && table->CanEnd(end);
  };
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    while (end < text.size() && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) ++end;
    const std::string one = text.substr(at, end - at);
    if (in(&letters, one) != RE2::FullMatch(one, letter)) return true;
    if (in(&numbers, one) != RE2::FullMatch(one, number)) return true;
    at = end;
  }
  return false;
}

TEST(TokenWalks, Regex) {
  std::vector<GrammarSource> sources;
  for (const char* pattern :
       {"(a|b)*abb", "\\d{4}-\\d{2}-\\d{2}", "[\\w.-]+@\\w+\\.[a-z]{2,3}",
        "-?(0|[1-9]\\d*)(\\.\\d+)?", "(?i)yes|no|maybe", "\"(?:[^\"\\\\]|\\\\.)*\"", "[^\\d]+",
        "\\p{L}+\\p{N}*", "((a?){3}b){2}", "(?s).{0,30}", "\\S+\\s\\S*", "0x[0-9A-Fa-f]{1,8}"}) {
    sources.push_back({Kind::kRegex, pattern});
  }
  for (uint64_t seed = 0; sources.size() < 200; ++seed) {
    uint32_t at = 0;
    sources.push_back({Kind::kRegex, RandomPattern(seed, &at, 4)});
  }
  std::vector<std::unique_ptr<RE2>> oracles;
  for (const GrammarSource& source : sources) {
    oracles.push_back(std::make_unique<RE2>(source.text));
    ASSERT_TRUE(oracles.back()->ok()) << source.text;
  }
  int64_t newer = 0;
  WalkAll(sources, Walks(10'000), 30, [&](size_t g, const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      if (RE2::FullMatch(text, *oracles[g])) continue;
      EXPECT_TRUE(HasNewerCharacter(text)) << sources[g].text << " on " << text;
      ++newer;
    }
  });
  std::cout << newer << " texts with characters that RE2's Unicode does not know\n";
}

TEST(TokenWalks, Ebnf) {
  if (std::system("/usr/bin/python3 -c 'import lark' 2>/dev/null") != 0) {
    GTEST_SKIP() << "python3-lark is not installed";
  }
  std::vector<GrammarSource> sources;
  for (const EbnfPair& pair : EbnfPairs()) sources.push_back({Kind::kEbnf, pair.ours});
  WalkAll(sources, Walks(10'000), 14, [&](size_t g, const std::vector<std::string>& texts) {
    std::vector<nlohmann::json> cases;
    for (const std::string& text : texts) {
      cases.push_back({{"grammar", EbnfPairs()[g].larks}, {"text", text}});
    }
    const std::vector<std::string> answers =
        OutsideCheck("/usr/bin/python3 " CHIMERA_SOURCE_DIR "/libs/grammar/ebnf_check.py", cases);
    ASSERT_EQ(answers.size(), texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(answers[i], "in") << EbnfPairs()[g].ours << "\n" << texts[i];
    }
  });
}

TEST(TokenWalks, JsonSchema) {
  if (std::system("python3 -c 'import jsonschema' 2> /dev/null") != 0) {
    GTEST_SKIP() << "needs Python's jsonschema";
  }
  std::vector<GrammarSource> sources;
  const std::vector<CorpusSchema> corpus = SchemaCorpus();
  const int64_t walks = Walks(10'000);
  // A test takes one schema in four, a longer run all of them.
  for (size_t i = 0; i<corpus.size(); i += walks> 10'000 ? 1 : 4) {
    const GrammarSource source{Kind::kJsonSchema, corpus[i].schema};
    if (CompileGrammar(source, GrammarUse::kGenerate).ok()) sources.push_back(source);
  }
  if (sources.empty()) GTEST_SKIP() << "needs json_schemas.jsonl in CHIMERA_DATA_DIR";
  int64_t judged = 0;
  std::vector<nlohmann::json> cases;
  WalkAll(sources, walks, 60, [&](size_t g, const std::vector<std::string>& texts) {
    for (const std::string& text : texts) EXPECT_TRUE(nlohmann::json::accept(text)) << text;
    cases.push_back({{"name", std::to_string(g)}, {"schema", sources[g].text}, {"values", texts}});
    judged += static_cast<int64_t>(texts.size());
    if (g + 1 != sources.size()) return;
    const std::vector<std::string> report =
        OutsideCheck("python3 " CHIMERA_SOURCE_DIR "/libs/grammar/json_schema_judge.py", cases);
    ASSERT_FALSE(report.empty());
    for (const std::string& line : report) EXPECT_FALSE(line.starts_with("bad:")) << line;
    cases.clear();
    std::cout << report.back() << "\n";
  });
  EXPECT_GT(judged, 0);
}

}  // namespace
}  // namespace chimera
