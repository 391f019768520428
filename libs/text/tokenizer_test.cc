#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/clock.h"
#include "base/string_view.h"
#include "text/text_testing.h"
#include "text/tokenizer_bench.h"
#include "text/tokenizer_naive.h"
#include "text/utf8.h"

namespace chimera {
namespace {

using ::testing::HasSubstr;

std::string Line(std::string_view bytes, int rank) {
  const std::string base64 = absl::Base64Escape(ToAbsl(bytes));
  return base64 + " " + std::to_string(rank) + "\n";
}

// A rank text of the 256 bytes and then `tokens`.
std::string RankText(const std::vector<std::string>& tokens) {
  std::string text;
  for (int b = 0; b < 256; ++b) text += Line(std::string(1, static_cast<char>(b)), b);
  for (size_t i = 0; i < tokens.size(); ++i) text += Line(tokens[i], 256 + static_cast<int>(i));
  return text;
}

std::string ErrorOf(std::string_view rank_text, int n_ranks) {
  const auto tokenizer = Tokenizer::FromRankText(rank_text, n_ranks);
  return tokenizer.ok() ? "OK" : std::string(ToStd(tokenizer.status().message()));
}

TEST(Tokenizer, IdsOfATruncatedVocabulary) {
  const auto tokenizer = TruncatedTokenizer(1024);
  EXPECT_EQ(tokenizer->n_ranks(), 1024);
  EXPECT_EQ(tokenizer->eot(), 1024);
  EXPECT_EQ(tokenizer->end_of_prompt(), 1025);
  EXPECT_EQ(tokenizer->vocab_size(), 1080);
  EXPECT_EQ(tokenizer->SpecialId("system"), 1026);
  EXPECT_EQ(tokenizer->SpecialId("pad"), 1026 + 39);
  EXPECT_EQ(tokenizer->SpecialId("/summary"), 1079);
  EXPECT_EQ(tokenizer->SpecialId("endoftext"), 1024);
  EXPECT_EQ(tokenizer->SpecialId("<|system|>"), std::nullopt);
  EXPECT_EQ(tokenizer->SpecialId(""), std::nullopt);
}

TEST(Tokenizer, IdsOfTheFullVocabulary) {
  const auto tokenizer = FullTokenizer();
  if (tokenizer == nullptr) GTEST_SKIP() << kNoFullTokenizer;
  EXPECT_EQ(tokenizer->n_ranks(), 199998);
  EXPECT_EQ(tokenizer->eot(), 199999);
  EXPECT_EQ(tokenizer->end_of_prompt(), 200018);
  EXPECT_EQ(tokenizer->vocab_size(), 200073);
  EXPECT_EQ(tokenizer->SpecialId("pad"), 200058);
  for (const int id : {199998, 200000, 200017, 200073, -1}) {
    EXPECT_FALSE(tokenizer->IsSpecial(id)) << id;
    EXPECT_TRUE(tokenizer->TokenBytes(id).empty()) << id;
  }
}

TEST(Tokenizer, EverySpecialHasOneNameAndNoBytes) {
  const auto tokenizer = TruncatedTokenizer(4096);
  int specials = 0;
  for (int id = -2; id < tokenizer->vocab_size() + 2; ++id) {
    EXPECT_EQ(tokenizer->IsSpecial(id), id >= 4096 && id < tokenizer->vocab_size()) << id;
    EXPECT_EQ(tokenizer->TokenBytes(id).empty(), id < 0 || id >= 4096) << id;
    if (!tokenizer->IsSpecial(id)) continue;
    ++specials;
    EXPECT_EQ(tokenizer->SpecialId(tokenizer->SpecialName(id)), id);
  }
  EXPECT_EQ(specials, 56);
  EXPECT_EQ(tokenizer->Decode(std::vector<int32_t>{4096, 64, 4097, -5, 1 << 30, 65, 4100}), "ab");
}

TEST(Tokenizer, SpellingsOfSpecialsStayText) {
  const auto tokenizer = TruncatedTokenizer(8192);
  const std::string text = "<|endoftext|><|system|> hi <|/think|><|endofprompt|>";
  const std::vector<int32_t> ids = tokenizer->Encode(text);
  EXPECT_LT(*std::max_element(ids.begin(), ids.end()), 8192);
  EXPECT_EQ(tokenizer->Decode(ids), text);
}

// Every token is reached by merges alone. In running text a few never occur, since a piece border
// falls inside them (" I'", "\n//", cut characters); every other one encodes to itself.
TEST(Tokenizer, EveryTokenEncodesToItself) {
  std::vector<std::shared_ptr<const Tokenizer>> tokenizers{
      TruncatedTokenizer(256), TruncatedTokenizer(1024), TruncatedTokenizer(8192)};
  if (auto full = FullTokenizer(); full != nullptr) tokenizers.push_back(std::move(full));
  for (const auto& tokenizer : tokenizers) {
    NaiveTokenizer naive(*tokenizer);
    int cut_characters = 0;
    int bordered = 0;
    for (int id = 0; id < tokenizer->n_ranks(); ++id) {
      const std::string_view bytes = tokenizer->TokenBytes(id);
      const std::vector<int32_t> itself{id};
      std::vector<int32_t> merged;
      naive.Merge(bytes, &merged);
      ASSERT_EQ(merged, itself) << absl::CEscape(ToAbsl(bytes));
      if (naive.Pieces(bytes).size() > 1) {
        ++(ValidUtf8Prefix(bytes) == bytes.size() ? bordered : cut_characters);
        continue;
      }
      ASSERT_EQ(tokenizer->Encode(bytes), itself) << absl::CEscape(ToAbsl(bytes));
    }
    EXPECT_LE(bordered, 12);
    EXPECT_LE(cut_characters, tokenizer->n_ranks() / 50);
  }
}

TEST(Tokenizer, AnyBytesRoundTripAndEqualTheTwin) {
  for (const int n : {256, 1024, 8192}) {
    const auto tokenizer = TruncatedTokenizer(n);
    NaiveTokenizer naive(*tokenizer);
    TestRandom random(n);
    for (int round = 0; round < 300; ++round) {
      const std::string bytes = random.Bytes(random.Below(200));
      const std::vector<int32_t> ids = tokenizer->Encode(bytes);
      ASSERT_EQ(tokenizer->Decode(ids), bytes);
      ASSERT_EQ(ids, naive.Encode(bytes)) << absl::CEscape(ToAbsl(bytes));
      for (const int32_t id : ids) ASSERT_TRUE(id >= 0 && id < n);
    }
  }
}

void CompareWithTwin(const Tokenizer& tokenizer, int rounds, uint64_t seed) {
  NaiveTokenizer naive(tokenizer);
  TestRandom random(seed);
  for (int round = 0; round < rounds; ++round) {
    const std::string text = random.ClassText(60, round % 3 == 0);
    const std::vector<int32_t> ids = tokenizer.Encode(text);
    ASSERT_EQ(ids, naive.Encode(text)) << "\"" << absl::CEscape(ToAbsl(text)) << "\"";
    ASSERT_EQ(tokenizer.Decode(ids), text);
  }
}

TEST(Tokenizer, ClassTextEqualsTheTwin) {
  CompareWithTwin(*TruncatedTokenizer(8192), 5000, 1);
  CompareWithTwin(*TruncatedTokenizer(1024), 5000, 2);
}

TEST(Tokenizer, ClassTextEqualsTheTwinInFull) {
  const auto tokenizer = FullTokenizer();
  if (tokenizer == nullptr) GTEST_SKIP() << kNoFullTokenizer;
  CompareWithTwin(*tokenizer, 10000, 3);
}

// Long pieces over few letters: many tokens compete, and the search has to turn back.
TEST(Tokenizer, LongPiecesEqualTheTwin) {
  const auto full = FullTokenizer();
  const auto tokenizer = full != nullptr ? full : TruncatedTokenizer(8192);
  NaiveTokenizer naive(*tokenizer);
  TestRandom random(4);
  for (const std::string letters : {"ab", "the", "aeinst", "=-", "ana", "\u4E2D\u56FD\u4EBA"}) {
    for (int round = 0; round < 40; ++round) {
      std::string piece;
      while (piece.size() < 150) {
        const size_t width = letters.size() > 6 ? 3 : 1;
        piece += letters.substr(width * random.Below(letters.size() / width), width);
      }
      ASSERT_EQ(tokenizer->Encode(piece), naive.Encode(piece)) << piece;
    }
  }
}

TEST(Tokenizer, RepeatsEqualTheTwin) {
  const auto tokenizer = TruncatedTokenizer(8192);
  NaiveTokenizer naive(*tokenizer);
  for (const std::string unit :
       {"a", "ab", " ", "\n", "'", "=", "\xFF", "\u4E2D", "\u0301", "A", "1", "/\n"}) {
    std::string text;
    for (int repeats = 1; repeats <= 130; ++repeats) {
      text += unit;
      ASSERT_EQ(tokenizer->Encode(text), naive.Encode(text)) << unit << " * " << repeats;
    }
  }
}

// A quarter of a megabyte that is one piece, or whose pieces look far ahead, takes linear time. The
// bound is generous for slow machines and sanitizers; quadratic time would be minutes.
TEST(Tokenizer, PathologicalTextIsLinear) {
  const auto full = FullTokenizer();
  const auto tokenizer = full != nullptr ? full : TruncatedTokenizer(8192);
  const size_t size = size_t{1} << 18;
  for (const std::string unit : {"a", "A", "ab", " ", "\n", "=", "\u4E2D", "\u4E2DA", "\u0301A",
                                 " \n", "'s", "9", "\xF0", "aaaab"}) {
    std::string text;
    while (text.size() < size) text += unit;
    const int64_t begin_ns = Clock::Real().NowNs();
    const std::vector<int32_t> ids = tokenizer->Encode(text);
    EXPECT_LT(Clock::Real().NowNs() - begin_ns, int64_t{5'000'000'000}) << unit;
    EXPECT_EQ(tokenizer->Decode(ids), text) << unit;
  }
}

TEST(Tokenizer, EncodeAppendKeepsWhatIsThere) {
  const auto tokenizer = TruncatedTokenizer(8192);
  std::vector<int32_t> ids{7};
  tokenizer->EncodeAppend("", &ids);
  EXPECT_EQ(ids, std::vector<int32_t>{7});
  tokenizer->EncodeAppend("One day,", &ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{7, 5045, 2163, 11}));
}

// A thread's cache must not carry pieces from one tokenizer to another.
TEST(Tokenizer, AlternatingTokenizersOnOneThread) {
  const auto small = TruncatedTokenizer(1024);
  const auto large = TruncatedTokenizer(8192);
  const std::string text = "She loved to play outside in the sunshine.";
  const std::vector<int32_t> of_small = small->Encode(text);
  const std::vector<int32_t> of_large = large->Encode(text);
  EXPECT_NE(of_small, of_large);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(small->Encode(text), of_small);
    EXPECT_EQ(large->Encode(text), of_large);
  }
}

TEST(Tokenizer, ThreadsAgree) {
  const auto tokenizer = TruncatedTokenizer(8192);
  TestRandom random(5);
  std::string text;
  for (int i = 0; i < 500; ++i) text += random.ClassText(40, true);
  const std::vector<int32_t> ids = tokenizer->Encode(text);
  std::vector<std::vector<int32_t>> found(4);
  std::vector<std::thread> threads;
  for (auto& its : found) threads.emplace_back([&] { its = tokenizer->Encode(text); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& its : found) EXPECT_EQ(its, ids);
}

TEST(Tokenizer, HashTellsTokenizersApart) {
  EXPECT_EQ(TruncatedTokenizer(1024)->Hash(), TruncatedTokenizer(1024)->Hash());
  EXPECT_NE(TruncatedTokenizer(1024)->Hash(), TruncatedTokenizer(1025)->Hash());
  EXPECT_NE((*Tokenizer::FromRankText(RankText({"ab", "cd"}), 0))->Hash(),
            (*Tokenizer::FromRankText(RankText({"cd", "ab"}), 0))->Hash());
}

TEST(Tokenizer, RejectsMalformedRankText) {
  EXPECT_EQ(ErrorOf(RankText({"ab", "abc"}), 0), "OK");
  EXPECT_EQ(ErrorOf(RankText({}), 256), "OK");
  EXPECT_THAT(ErrorOf("", 0), HasSubstr("0 ranks, needs 256"));
  EXPECT_THAT(ErrorOf(RankText({"ab"}), 255), HasSubstr("n_ranks 255"));
  EXPECT_THAT(ErrorOf(RankText({"ab"}), -1), HasSubstr("n_ranks -1"));
  EXPECT_THAT(ErrorOf(RankText({"ab"}), 200000), HasSubstr("n_ranks 200000"));
  EXPECT_THAT(ErrorOf(RankText({"ab"}), 300), HasSubstr("257 ranks, needs 300"));
  EXPECT_THAT(ErrorOf(RankText({}) + "YWI=256\n", 0), HasSubstr("line 257: no space"));
  EXPECT_THAT(ErrorOf(RankText({}) + "Y*I= 256\n", 0), HasSubstr("line 257: token is not base64"));
  EXPECT_THAT(ErrorOf(RankText({}) + "YWI= 25x\n", 0), HasSubstr("not a number"));
  EXPECT_THAT(ErrorOf(RankText({}) + "YWI= 99999999999\n", 0), HasSubstr("not a number"));
  EXPECT_THAT(ErrorOf(RankText({}) + "\n", 0), HasSubstr("line 257"));
  EXPECT_THAT(ErrorOf(RankText({}) + " 256\n", 0), HasSubstr("token of 0 bytes"));
  EXPECT_THAT(ErrorOf(RankText({}) + Line(std::string(256, 'a'), 256), 0), HasSubstr("256 bytes"));
  EXPECT_THAT(ErrorOf(RankText({}) + std::string(1000, 'A') + " 256\n", 0),
              HasSubstr("exceed 512"));
  EXPECT_THAT(ErrorOf(RankText({}) + Line("ab", 257), 0), HasSubstr("rank 257, expected 256"));
}

TEST(Tokenizer, RejectsRanksThatAreNoBytePairEncoding) {
  EXPECT_THAT(ErrorOf(RankText({"ab", "ab"}), 0), HasSubstr("rank 257 repeats"));
  EXPECT_THAT(ErrorOf(RankText({"a"}), 0), HasSubstr("rank 256 breaks"));
  EXPECT_THAT(ErrorOf(RankText({"abc"}), 0), HasSubstr("rank 256 is reached by no merge"));
  // "bc" is joined before "ab", so "ab" + "c" never meet.
  EXPECT_THAT(ErrorOf(RankText({"bc", "ab", "abcd", "abc"}), 0), HasSubstr("rank 258"));
  std::string text = RankText({});
  text.replace(0, text.find('\n'), "AQ== 0");  // byte 1 twice, byte 0 never
  EXPECT_THAT(ErrorOf(text, 0), HasSubstr("rank 1 repeats"));
}

TEST(TokenizerBench, CountsWhatItEncodes) {
  const auto tokenizer = TruncatedTokenizer(1024);
  const auto result =
      RunTokenizerBench(*tokenizer, "Once upon a time, there was a little girl.", 3);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->bytes, 42);
  EXPECT_GT(result->tokens, 10);
  EXPECT_DOUBLE_EQ(result->bytes_per_token, 42.0 / static_cast<double>(result->tokens));
  EXPECT_GT(result->mb_per_s_min, 0);
  EXPECT_LE(result->mb_per_s_min, result->mb_per_s_median);
  EXPECT_LE(result->mb_per_s_median, result->mb_per_s_max);
  EXPECT_FALSE(RunTokenizerBench(*tokenizer, "", 3).ok());
  EXPECT_FALSE(RunTokenizerBench(*tokenizer, "x", 0).ok());
  EXPECT_FALSE(RunTokenizerBench(*tokenizer, "x", 1001).ok());
}

}  // namespace
}  // namespace chimera
