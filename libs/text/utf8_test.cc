#include "text/utf8.h"

#include <gtest/gtest.h>

#include "text/unicode_classes.h"

namespace chimera {
namespace {

std::string Replaced(std::string_view text) {
  std::string out;
  AppendUtf8Replaced(text, &out);
  return out;
}

std::string Encoded(uint32_t c) {
  if (c < 0x80) return {static_cast<char>(c)};
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0 | c >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | c >> 18), tail(12), tail(6), tail(0)};
}

TEST(Utf8, EveryCodePointAndNoSurrogate) {
  for (uint32_t c = 0; c < 0x110400; ++c) {
    const std::string text = Encoded(c);
    const bool valid = c < 0x110000 && (c < 0xD800 || c > 0xDFFF);
    ASSERT_EQ(ValidUtf8Prefix(text), valid ? text.size() : 0) << c;
    const Utf8Char read = Utf8At(text, 0);
    ASSERT_EQ(read.code_point, valid ? c : kReplacementCodePoint) << c;
    if (!valid) continue;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const Utf8Char part = Utf8At(text.substr(0, cut), 0);
      ASSERT_EQ(part.kind, Utf8Char::Kind::kTruncated) << c;
      ASSERT_EQ(part.length, cut) << c;
      ASSERT_EQ(TruncatedUtf8Suffix("x" + text.substr(0, cut)), cut) << c;
    }
    ASSERT_EQ(TruncatedUtf8Suffix(text), 0u) << c;
  }
}

TEST(Utf8, OverlongFormsAreInvalid) {
  EXPECT_EQ(ValidUtf8Prefix("ab\xC0\xAF"), 2u);
  EXPECT_EQ(ValidUtf8Prefix("\xE0\x9F\xBF"), 0u);
  EXPECT_EQ(ValidUtf8Prefix("\xF0\x8F\xBF\xBF"), 0u);
  EXPECT_EQ(ValidUtf8Prefix("0123456789abcdef\xFF"), 16u);
}

// The examples of the Unicode standard, section 3.9.
TEST(Utf8, OneReplacementPerMaximalSubpart) {
  const std::string r(kReplacementUtf8);
  EXPECT_EQ(Replaced("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(Replaced("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(Replaced("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(Replaced("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
  EXPECT_EQ(Replaced("ok\xE4\xB8"), "ok" + r);
}

TEST(Utf8, TruncatedSuffixNeedsAPossibleCharacter) {
  EXPECT_EQ(TruncatedUtf8Suffix(""), 0u);
  EXPECT_EQ(TruncatedUtf8Suffix("\x80"), 0u);
  EXPECT_EQ(TruncatedUtf8Suffix("\x80\x80\x80\x80"), 0u);
  EXPECT_EQ(TruncatedUtf8Suffix("\xE0\x80"), 0u);
  EXPECT_EQ(TruncatedUtf8Suffix("\xED\xA0"), 0u);
  EXPECT_EQ(TruncatedUtf8Suffix("\xC3\xA9\xC3"), 1u);
}

TEST(UnicodeClasses, KnownCharacters) {
  const CodePointClasses& classes = CodePointClasses::Get();
  EXPECT_EQ(classes.Of('a'), CharClass::kLower);
  EXPECT_EQ(classes.Of(0x0100), CharClass::kUpper);
  EXPECT_EQ(classes.Of(0x0101), CharClass::kLower);
  EXPECT_EQ(classes.Of(0x01C5), CharClass::kUpper);  // titlecase
  EXPECT_EQ(classes.Of(0x02B0), CharClass::kCaseless);
  EXPECT_EQ(classes.Of(0x4E2D), CharClass::kCaseless);
  EXPECT_EQ(classes.Of(0x0301), CharClass::kMark);
  EXPECT_EQ(classes.Of(0x00B2), CharClass::kNumber);
  EXPECT_EQ(classes.Of(0x0085), CharClass::kSpace);
  EXPECT_EQ(classes.Of(0x3000), CharClass::kSpace);
  EXPECT_EQ(classes.Of(0xFEFF), CharClass::kOther);
  EXPECT_EQ(classes.Of('\n'), CharClass::kNewline);
  EXPECT_EQ(classes.Of(0x10FFFF), CharClass::kOther);
}

}  // namespace
}  // namespace chimera
