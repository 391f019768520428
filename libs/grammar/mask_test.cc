#include <bit>
#include <memory>
#include <string>
#include <vector>

#include "base/philox.h"
#include "grammar/corpora_testing.h"
#include "grammar/grammar_testing.h"
#include "grammar/json_schema.h"
#include "grammar/modes.h"
#include "grammar/rule_builder.h"
#include "grammar/rule_dfa.h"
#include "grammar/token_grammar.h"
#include "grammar/vocabulary_testing.h"
#include "gtest/gtest.h"
#include "text/tokenizer.h"

namespace chimera {
namespace {

std::shared_ptr<const Machine> RegexMachine(std::string_view pattern) {
  auto machine = MakeRegexMachine(pattern);
  EXPECT_TRUE(machine.ok()) << machine.status();
  return *machine;
}

// A JSON-like string of at most `max` characters, in brackets of any depth.
std::shared_ptr<const Machine> BracketedStrings(uint32_t max) {
  RuleBuilder b;
  const uint32_t value = b.AddRule("value"), string = b.AddRule("string");
  const uint32_t in = b.AddPlace(value), out = b.AddPlace(value);
  b.Text(b.start(value), "[", in);
  b.Call(in, value, out);
  b.Text(out, "]", b.end(value));
  b.Call(b.start(value), string, b.end(value));
  const ByteDfa& any = ByteDfa::AnyText();
  const uint32_t first = AddStringDfa(&b, string, any, kPlaceAnyEscape | kPlaceCounted);
  b.SetCounts(string, 0, max);
  b.Text(b.start(string), "\"", first);
  return std::make_shared<RuleMachine>(*b.Build(value));
}

std::vector<uint64_t> BruteForce(const GrammarVocabulary& vocabulary, StateTable* table,
                                 GrammarState state, uint32_t close_bytes_max) {
  std::vector<uint64_t> bits(vocabulary.mask_words(), 0);
  for (int id = 0; id < vocabulary.tokenizer().n_ranks(); ++id) {
    const GrammarState next = table->Run(state, vocabulary.tokenizer().TokenBytes(id));
    if (next == kDeadState || table->CloseBytes(next) > close_bytes_max) continue;
    bits[size_t(id) / 64] |= uint64_t{1} << (id % 64);
  }
  return bits;
}

// Returns how many of the masks began with a slice.
int ExpectMasksAreExact(std::shared_ptr<const Machine> machine, int texts) {
  const auto vocabulary = TestVocabulary();
  StateTable table(machine), oracle(machine);
  MaskBuilder builder(vocabulary, &table);
  std::vector<uint64_t> bits(vocabulary->mask_words());
  int with_slice = 0;
  for (int seed = 0; seed < texts; ++seed) {
    const std::string text = RandomText(&oracle, uint64_t(seed), 30);
    const auto cut = size_t(seed) % (text.size() + 1);
    const GrammarState state = table.Run(table.start(), text.substr(0, cut));
    const GrammarState same = oracle.Run(oracle.start(), text.substr(0, cut));
    for (const uint32_t limit :
         {MaskBuilder::kAnyClose, table.CloseBytes(state) + 1, table.CloseBytes(state) + 9}) {
      const TokenMask mask = builder.Build(state, limit);
      mask.Write(bits);
      EXPECT_EQ(bits, BruteForce(*vocabulary, &oracle, same, limit)) << text.substr(0, cut);
      int count = 0;
      for (const uint64_t word : bits) count += std::popcount(word);
      EXPECT_EQ(mask.count, count);
      with_slice += mask.slice != nullptr;
    }
  }
  return with_slice;
}

TEST(Mask, EqualsBruteForce) {
  EXPECT_GT(ExpectMasksAreExact(BracketedStrings(kUnbounded), 40), 0);
  EXPECT_GT(ExpectMasksAreExact(BracketedStrings(6), 60), 0);
  EXPECT_GT(ExpectMasksAreExact(BracketedStrings(100), 20), 0);
  EXPECT_GT(ExpectMasksAreExact(RegexMachine("[a-z]{1,12}( [a-z]+)*[.!?]"), 40), 0);
  const char* const pattern = "(\\w{3,40}|[^\"\\\\\\x00-\\x1f]{0,7}x);.*";
  EXPECT_GT(ExpectMasksAreExact(RegexMachine(pattern), 60), 0);
}

TEST(Mask, EqualsBruteForceInEveryMode) {
  for (int mode = 0; mode < kGrammarModes; ++mode) {
    for (const GrammarUse use : {GrammarUse::kGenerate, GrammarUse::kCheck}) {
      SCOPED_TRACE(GrammarModeName(static_cast<GrammarMode>(mode)));
      ExpectMasksAreExact(ModeMachine(static_cast<GrammarMode>(mode), use), 40);
    }
  }
}

TEST(Mask, EqualsBruteForceInAHundredSchemas) {
  const std::vector<CorpusSchema> corpus = SchemaCorpus();
  if (corpus.empty()) GTEST_SKIP() << "needs json_schemas.jsonl in CHIMERA_DATA_DIR";
  int schemas = 0;
  for (size_t i = 0; i < corpus.size() && schemas < 100; ++i) {
    auto tables = CompileJsonSchema(corpus[i].schema, {});
    if (!tables.ok()) continue;
    SCOPED_TRACE(schemas);
    ExpectMasksAreExact(std::make_shared<RuleMachine>(*std::move(tables)), 3);
    ++schemas;
  }
  EXPECT_EQ(schemas, 100);
}

TEST(Mask, KeepsWhatItBuilt) {
  auto grammar = std::make_shared<TokenGrammar>(TestVocabulary(), BracketedStrings(kUnbounded));
  GrammarMatcher matcher(grammar), fork(grammar);
  std::vector<uint64_t> first(TestVocabulary()->mask_words()), second = first;
  ASSERT_TRUE(matcher.Mask(1000, first).ok());
  ASSERT_TRUE(fork.Mask(1000, second).ok());
  EXPECT_EQ(first, second);
  EXPECT_EQ(grammar->counts().built, 1);
  EXPECT_EQ(grammar->counts().cached, 1);
}

TEST(Mask, SwitchesKeepAndBuildAhead) {
  const auto built = [](const MaskOptions& options) {
    auto grammar =
        std::make_shared<TokenGrammar>(TestVocabulary(), BracketedStrings(kUnbounded), options);
    std::vector<uint64_t> bits(TestVocabulary()->mask_words());
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(GrammarMatcher(grammar).Mask(1000, bits).ok());
    return grammar->counts().built;
  };
  EXPECT_EQ(built({}), 1);
  EXPECT_EQ(built({.keep = false}), 3);
  EXPECT_GT(built({.ahead = true}), 10);
}

TEST(Mask, RollbackAndForkRestoreIt) {
  auto grammar = std::make_shared<TokenGrammar>(TestVocabulary(), BracketedStrings(20));
  const Tokenizer& tokenizer = TestVocabulary()->tokenizer();
  GrammarMatcher matcher(grammar);
  std::vector<std::vector<uint64_t>> masks;
  std::vector<uint64_t> bits(TestVocabulary()->mask_words());
  const std::vector<int32_t> ids = tokenizer.Encode("[[[\"some words\\n here\"]]");
  for (const int32_t id : ids) {
    ASSERT_TRUE(matcher.Mask(1000, bits).ok());
    masks.push_back(bits);
    ASSERT_TRUE(matcher.Advance(id).ok());
  }
  GrammarMatcher fork = matcher;
  for (size_t n = 1; n <= ids.size(); ++n) {
    matcher.Rollback(1);
    ASSERT_TRUE(matcher.Mask(1000, bits).ok());
    EXPECT_EQ(bits, masks[ids.size() - n]);
  }
  ASSERT_TRUE(fork.Advance(tokenizer.Encode("]")[0]).ok());
  EXPECT_TRUE(fork.MustEnd());
  EXPECT_FALSE(matcher.Advance(tokenizer.Encode("]")[0]).ok());
  EXPECT_EQ(matcher.tokens(), 0);
}

TEST(Mask, TheBudgetAlwaysLeavesAWayOut) {
  auto grammar = std::make_shared<TokenGrammar>(TestVocabulary(), BracketedStrings(kUnbounded));
  const Tokenizer& tokenizer = TestVocabulary()->tokenizer();
  std::vector<uint64_t> bits(TestVocabulary()->mask_words());
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const int budget = 1 + int(seed % 40);
    GrammarMatcher matcher(grammar);
    std::string text;
    for (int left = budget; left > 0 && !matcher.MustEnd(); --left) {
      const auto result = matcher.Mask(left, bits);
      ASSERT_TRUE(result.ok()) << result.status();
      ASSERT_TRUE(result->closable);
      std::vector<int32_t> allowed;
      for (int id = 0; id < tokenizer.n_ranks(); ++id) {
        if (bits[size_t(id) / 64] >> (id % 64) & 1) allowed.push_back(id);
      }
      ASSERT_FALSE(allowed.empty());
      // Openers and closers are few among them: half of the draws take the shortest tokens.
      const PhiloxBlock draw = Philox4x32({uint32_t(left), 0, 0, 3}, seed, 0);
      const size_t most = draw[1] % 2 ? allowed.size() : std::min<size_t>(allowed.size(), 4);
      const int32_t id = allowed[draw[0] % most];
      ASSERT_TRUE(matcher.Advance(id).ok());
      text += tokenizer.TokenBytes(id);
    }
    EXPECT_TRUE(matcher.CanEnd()) << budget << ": " << text;
  }
}

TEST(Mask, AClosingTextThatFitsInTokensOnlyIsFollowed) {
  // 23 bytes in fewer tokens than that: one text, so every step is forced.
  auto grammar =
      std::make_shared<TokenGrammar>(TestVocabulary(), RegexMachine("the answer is a number\\."));
  const Tokenizer& tokenizer = TestVocabulary()->tokenizer();
  const std::vector<int32_t> ids = tokenizer.Encode("the answer is a number.");
  ASSERT_LT(ids.size(), 10u);
  std::vector<uint64_t> bits(TestVocabulary()->mask_words());
  GrammarMatcher matcher(grammar);
  EXPECT_EQ(matcher.ForcedText(), "the answer is a number.");
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto result = matcher.Mask(int(ids.size() - i), bits);
    ASSERT_TRUE(result.ok() && result->closable);
    ASSERT_TRUE(bits[size_t(ids[i]) / 64] >> (ids[i] % 64) & 1);
    ASSERT_TRUE(matcher.Advance(ids[i]).ok());
  }
  EXPECT_TRUE(matcher.MustEnd());
  GrammarMatcher late(grammar);
  const auto result = late.Mask(int(ids.size()) - 1, bits);
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->closable);
}

TEST(Mask, FullTablesAreBegunAnew) {
  // Every length is a state of its own: the table passes its limit, the matcher goes on.
  auto grammar = std::make_shared<TokenGrammar>(TestVocabulary(), BracketedStrings(2000000));
  const Tokenizer& tokenizer = TestVocabulary()->tokenizer();
  GrammarMatcher matcher(grammar);
  const int32_t quote = tokenizer.Encode("\"")[0], word = tokenizer.Encode("abcd")[0];
  ASSERT_TRUE(matcher.Advance(quote).ok());
  for (int i = 0; i < 200000; ++i) ASSERT_TRUE(matcher.Advance(word).ok());
  EXPECT_LE(grammar->bytes(), 2 * kGrammarTableBytesMax);
  matcher.Rollback(100);
  ASSERT_TRUE(matcher.Advance(quote).ok());
  EXPECT_TRUE(matcher.MustEnd());
}

}  // namespace
}  // namespace chimera
