#include "hdc/words.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hdc/golden_hdc.h"
#include "hdc/word_tables.h"

namespace chimera {
namespace {

using Words = std::vector<std::string>;

TEST(Words, GoldenWords) {
  const nlohmann::json golden = GoldenHdcCase("sketch");
  for (const nlohmann::json& list : golden["lists"]) {
    Words words;
    for (const std::string& word : SplitWords(list["text"].get<std::string>())) {
      if (!IsStopWord(word)) words.push_back(word);
    }
    EXPECT_EQ(words, list["words"].get<Words>());
  }
}

TEST(Words, RunsOfLettersMarksAndNumbers) {
  EXPECT_EQ(SplitWords(""), Words{});
  EXPECT_EQ(SplitWords(" ,.!-_ "), Words{});
  EXPECT_EQ(SplitWords("don't x_y 3.14"), (Words{"don", "t", "x", "y", "3", "14"}));
  EXPECT_EQ(SplitWords("end"), Words{"end"});
  EXPECT_EQ(SplitWords("e\u0301te\u0301 \u00bd"), (Words{"e\u0301te\u0301", "\u00bd"}));
  EXPECT_EQ(SplitWords("\u4f60\u597d\uff0c\u4e16\u754c"), (Words{"\u4f60\u597d", "\u4e16\u754c"}));
}

TEST(Words, LowerCase) {
  EXPECT_EQ(SplitWords("ABZ \u00c9COLE \u00c0\u00d6\u00de \u00d7"),
            (Words{"abz", "\u00e9cole", "\u00e0\u00f6\u00fe"}));
  EXPECT_EQ(SplitWords("\u0416\u0423\u041a \u0401\u0416"),
            (Words{"\u0436\u0443\u043a", "\u0451\u0436"}));
  EXPECT_EQ(SplitWords("\u039f\u03a3\u039f\u03a3 \u03a3"),
            (Words{"\u03bf\u03c3\u03bf\u03c2", "\u03c3"}));
  EXPECT_EQ(SplitWords("\u0130X"), Words{"i\u0307x"});
  EXPECT_EQ(LowerCodePoint(0x100), 0x101u);  // every second code point is a capital here
  EXPECT_EQ(LowerCodePoint(0x101), 0x101u);
  EXPECT_EQ(LowerCodePoint(0x178), 0xFFu);
  EXPECT_EQ(LowerCodePoint(0x10400), 0x10428u);  // Deseret
  EXPECT_EQ(LowerCodePoint(0x10FFFF), 0x10FFFFu);
}

TEST(Words, TablesAreSorted) {
  for (size_t i = 1; i < kWordRangeCount; ++i) {
    EXPECT_LT(kWordRanges[i - 1].last, kWordRanges[i].first);
  }
  for (size_t i = 1; i < kLowerRunCount; ++i) {
    EXPECT_LT(kLowerRuns[i - 1].last, kLowerRuns[i].first);
  }
}

TEST(Words, BrokenUtf8SeparatesWords) {
  for (const std::string bad : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80"}) {
    EXPECT_EQ(SplitWords("ab" + bad + "cd"), (Words{"ab", "cd"}));
    EXPECT_FALSE(IsValidUtf8("ab" + bad + "cd"));
  }
  for (const std::string cut : {"\xc3", "\xe4\xbd", "\xf0\x9f\x98"}) {
    EXPECT_FALSE(IsValidUtf8("ab" + cut));
    EXPECT_EQ(SplitWords("ab" + cut), Words{"ab"});
  }
  EXPECT_TRUE(IsValidUtf8("\u00e9 \u4f60 \U0001F600 \U0010FFFF"));
  EXPECT_TRUE(IsValidUtf8(std::string(3, '\0')));
}

}  // namespace
}  // namespace chimera
