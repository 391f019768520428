#include "decode/debt_scanner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

namespace chimera {
namespace {

// What was opened, discharged and violated, by type.
class Tally final : public DebtSink {
 public:
  void Open(DebtType type, uint8_t, uint32_t) override { ++opened[static_cast<size_t>(type)]; }
  void Discharge(DebtType type, uint8_t) override { ++discharged[static_cast<size_t>(type)]; }
  void Violate(DebtType type) override { ++violated[static_cast<size_t>(type)]; }

  std::array<int, kDebtTypes> opened = {}, discharged = {}, violated = {};
};

Tally Scan(GrammarMode mode, std::string_view text) {
  Tally tally;
  MakeDebtScanner(mode)->Push(text, &tally);
  return tally;
}

// "2-1": two opened, one discharged; "!1" when there were violations.
std::string Of(DebtType type, GrammarMode mode, std::string_view text) {
  const Tally tally = Scan(mode, text);
  const auto t = static_cast<size_t>(type);
  std::string out = std::to_string(tally.opened[t]) + "-" + std::to_string(tally.discharged[t]);
  if (tally.violated[t] > 0) out += "!" + std::to_string(tally.violated[t]);
  return out;
}

std::string Text(DebtType type, std::string_view text) {
  return Of(type, GrammarMode::kPlainText, text);
}

TEST(DebtNames, GoBothWays) {
  for (int i = 0; i < kDebtTypes; ++i) {
    const auto type = static_cast<DebtType>(i);
    EXPECT_EQ(DebtOf(DebtName(type)), type);
  }
  EXPECT_EQ(DebtOf("close"), std::nullopt);
}

TEST(DebtScanner, Brackets) {
  const auto brackets = [](GrammarMode mode, std::string_view text) {
    return Of(DebtType::kCloseBracket, mode, text);
  };
  EXPECT_EQ(brackets(GrammarMode::kPlainText, "a (b [c] d"), "2-1");
  EXPECT_EQ(brackets(GrammarMode::kPlainText, ":) a] (b]"), "1-0");
  EXPECT_EQ(brackets(GrammarMode::kPython, "f([1, '(', \"[\"])  # ((\nx = {"), "3-2");
  EXPECT_EQ(brackets(GrammarMode::kPython, "\"\"\"(\n\"(\"\"\" ("), "1-0");
  EXPECT_EQ(brackets(GrammarMode::kJavascript, "f(`(`) // (\n/* ( */ ["), "2-1");
  EXPECT_EQ(brackets(GrammarMode::kSql, "SELECT ('it''s (') -- (\n"), "1-1");
  EXPECT_EQ(brackets(GrammarMode::kMathLatex, "\\{ $\\frac{1}{2}$ % {\n{"), "3-2");
  EXPECT_EQ(brackets(GrammarMode::kShell, "echo $(ls '(' \\( ) # (\n a#("), "2-1");
  EXPECT_EQ(brackets(GrammarMode::kJson, "{\"a\": [1, {\"[\": 2}"), "1-0");
}

TEST(DebtScanner, StringsAndObjects) {
  const auto strings = [](GrammarMode mode, std::string_view text) {
    return Of(DebtType::kCloseString, mode, text);
  };
  EXPECT_EQ(strings(GrammarMode::kJson, R"({"a\"": "", "b)"), "3-2");
  EXPECT_EQ(strings(GrammarMode::kPython, "x = 'it"), "1-0");
  EXPECT_EQ(strings(GrammarMode::kPython, "x = 'it\ny"), "1-1!1");
  EXPECT_EQ(strings(GrammarMode::kPython, "'' \"\"\"a\"b\n\"\"\" ''"), "4-4");
  EXPECT_EQ(strings(GrammarMode::kShell, R"(echo 'a\' "b\"")"), "2-2");
  EXPECT_EQ(strings(GrammarMode::kMathLatex, "$a$ $$b$ c$$ \\$ $d"), "3-2");
  EXPECT_EQ(Of(DebtType::kEndJsonObject, GrammarMode::kJson, R"({"a": {"b": "}"}, "c": {)"), "3-1");
  EXPECT_EQ(Text(DebtType::kCloseString, "He said \"yes\" and \"no"), "2-1");
  EXPECT_EQ(Text(DebtType::kCloseString, "6\" of rain"), "0-0");
  EXPECT_EQ(Text(DebtType::kCloseString, "\xE2\x80\x9Cyes\xE2\x80\x9D \xE2\x80\x9Cno"), "2-1");
  EXPECT_EQ(Text(DebtType::kCloseString, "\"yes\n\nno"), "1-1!1");
}

TEST(DebtScanner, Fences) {
  const auto fences = [](std::string_view text) {
    return Of(DebtType::kCloseFence, GrammarMode::kMarkdown, text);
  };
  EXPECT_EQ(fences("```py\nx = (\n```"), "1-1");
  EXPECT_EQ(fences("a ``` b\n"), "0-0");
  EXPECT_EQ(fences("````\n```\n"), "1-0");
  EXPECT_EQ(fences("````\n`````\n"), "1-1");
  EXPECT_EQ(fences("~~~\n```\n~~~\n```\n"), "2-1");
  EXPECT_EQ(fences("```\n```x\n"), "2-1");  // taken back: no end
  EXPECT_EQ(fences("  ```\nx\n   ```  \nafter"), "1-1");
  EXPECT_EQ(Of(DebtType::kCloseBracket, GrammarMode::kMarkdown, "```\n((\n```\n("), "1-0");
}

TEST(DebtScanner, Pronouns) {
  const auto pronouns = [](std::string_view text) { return Text(DebtType::kResolvePronoun, text); };
  EXPECT_EQ(pronouns("She ran home."), "1-0");
  EXPECT_EQ(pronouns("She ran home. Anna was late."), "1-1");
  EXPECT_EQ(pronouns("Anna ran home. She was late."), "0-0");
  EXPECT_EQ(pronouns("The king slept. He snored."), "0-0");
  EXPECT_EQ(pronouns("The house stood. He snored. It fell."), "2-0");
  EXPECT_EQ(pronouns("Anna ran. So. It rained. She was late."), "2-0");
}

TEST(DebtScanner, Lists) {
  const auto lists = [](std::string_view text) { return Text(DebtType::kFinishList, text); };
  EXPECT_EQ(lists("There are three ways:\n- a\n- b\n"), "1-0");
  EXPECT_EQ(lists("There are three ways:\n- a\n- b\n- c"), "1-1");
  EXPECT_EQ(lists("There are 2 ways:\n\n1. a\n2. b\n"), "1-1");
  EXPECT_EQ(lists("The ways:\n1. a\n"), "1-0");
  EXPECT_EQ(lists("The ways:\n1. a\n2. b\n\nThat is all."), "1-1");
  EXPECT_EQ(lists("The ways:\n1. a\n\nThat is all."), "1-0");
  EXPECT_EQ(lists("There are three ways.\n- a\n"), "0-0");
}

TEST(DebtScanner, Tense) {
  const auto tense = [](std::string_view text) { return Text(DebtType::kMaintainTense, text); };
  EXPECT_EQ(tense("The wind was cold. He walked on."), "1-0");
  EXPECT_EQ(tense("The wind was cold. He is gone."), "1-0!1");
  EXPECT_EQ(tense("The wind was cold. \"It is,\" he said."), "1-0");
  EXPECT_EQ(tense("The wind was cold.\n\nIt is cold.\n\n"), "2-2");
}

TEST(DebtScanner, Sentences) {
  const auto sentences = [](std::string_view text) {
    return Text(DebtType::kCompleteSentence, text);
  };
  EXPECT_EQ(sentences("One. Two! Three"), "3-2");
  EXPECT_EQ(sentences("Mr. Smith, e.g. J. Smith, came."), "1-1");
  EXPECT_EQ(sentences("So did I."), "1-1");
  EXPECT_EQ(sentences("# Heading\nText"), "2-1");
  EXPECT_EQ(sentences("Well... yes"), "2-1");
  EXPECT_EQ(sentences("a line\nand more"), "1-0");
}

TEST(DebtScanner, DanglingWords) {
  const auto dangling = [](std::string_view text) {
    const auto scanner = MakeProseScanner();
    Tally tally;
    scanner->Push(text, &tally);
    return scanner->Dangling();
  };
  EXPECT_TRUE(dangling("The end of the"));
  EXPECT_TRUE(dangling("The end of "));
  EXPECT_FALSE(dangling("The end"));
  EXPECT_FALSE(dangling("What is it made of."));
}

}  // namespace
}  // namespace chimera
