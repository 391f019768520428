#include "memory/sentence.h"

#include <vector>

#include "gtest/gtest.h"

namespace chimera {
namespace {

std::vector<ReadToken> Tokens(const std::vector<std::string>& texts) {
  std::vector<ReadToken> tokens;
  for (const std::string& text : texts) tokens.push_back({.text = text, .offered = true});
  return tokens;
}

TEST(Sentence, GoesFromTheEndOfOneToTheNext) {
  const auto tokens = Tokens({"Hello", " there", ". ", "My", " cat", " is", " Tom", ".", " Yes"});
  for (size_t at = 3; at <= 7; ++at) EXPECT_EQ(SentenceAround(tokens, at), "My cat is Tom.") << at;
  EXPECT_EQ(SentenceAround(tokens, 0), "Hello there.");
  EXPECT_EQ(SentenceAround(tokens, 8), "");  // too short
}

TEST(Sentence, LinesEndSentences) {
  const auto tokens = Tokens({"a title of mine", "\n\n", "the text itself", " goes on"});
  EXPECT_EQ(SentenceAround(tokens, 0), "a title of mine");
  EXPECT_EQ(SentenceAround(tokens, 2), "the text itself goes on");
}

TEST(Sentence, StaysInsideWhatIsOffered) {
  auto tokens = Tokens({"the model wrote this", " and I wrote", " this one", " then it went on"});
  tokens.front().offered = tokens.back().offered = false;
  EXPECT_EQ(SentenceAround(tokens, 1), "and I wrote this one");
}

TEST(Sentence, IsBoundedAndKeepsCharactersWhole) {
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) texts.push_back(i % 2 == 0 ? "\xC3" : "\xA4");
  const std::string cut = SentenceAround(Tokens(texts), 251);
  EXPECT_GE(cut.size(), 2 * kSentenceTokens - 4);
  EXPECT_LE(cut.size(), 2 * kSentenceTokens);
  EXPECT_EQ(cut.substr(0, 2), "\xC3\xA4");
  EXPECT_EQ(cut.size() % 2, 0u);
  EXPECT_EQ(SentenceAround(Tokens({std::string(kSentenceBytesMax + 1, 'x')}), 0), "");
  EXPECT_EQ(SentenceAround(Tokens({"not \xFF text at all, is it"}), 0), "");
}

}  // namespace
}  // namespace chimera
