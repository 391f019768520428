#include "decode/debt_ledger.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/philox.h"

namespace chimera {
namespace {

constexpr GrammarMode kModes[] = {
    GrammarMode::kPlainText,  GrammarMode::kMarkdown, GrammarMode::kJson,      GrammarMode::kPython,
    GrammarMode::kJavascript, GrammarMode::kSql,      GrammarMode::kMathLatex, GrammarMode::kShell};

// Text that opens and closes much, from pieces and from any bytes.
std::string RandomText(uint64_t seed, int n) {
  static const std::vector<std::string> pieces = {
      "(",           "[",   "{",     ")",    "]",     "}",
      "\"",          "'",   "`",     "```",  "~~~\n", "\n",
      "\n\n",        "$",   "$$",    "\\",   "//",    "/*",
      "*/",          "#",   "--",    " she", " it",   " The king",
      " was",        " is", ". ",    "! ",   "- a\n", "1. b\n",
      " three",      ":\n", " Anna", "e.g.", " the ", "\xE2\x80\x9C",
      "\xE2\x80\x9D"};
  const PhiloxStream rng(seed, RngPurpose::kWeightInit, 0);
  std::string text;
  for (int i = 0; i < n; ++i) {
    const uint32_t word = rng.Word(static_cast<uint64_t>(i));
    if (word % 8 == 0) {
      text += static_cast<char>(word >> 8);
    } else {
      text += pieces[(word >> 3) % pieces.size()];
    }
  }
  return text;
}

DebtLedger Ledger(GrammarMode mode, int max_outstanding = kDebtsMax) {
  DebtSettings settings;
  settings.max_outstanding = max_outstanding;
  return DebtLedger(mode, settings);
}

TEST(DebtLedger, OpenedMinusDischargedIsOutstandingForAnyBytes) {
  for (const GrammarMode mode : kModes) {
    for (uint64_t seed = 0; seed < 30; ++seed) {
      for (const int limit : {kDebtsMin, 13, kDebtsMax}) {
        DebtLedger ledger = Ledger(mode, limit);
        const std::string text = RandomText(seed, 600);
        for (size_t at = 0; at < text.size(); at += 5) {
          ledger.Take(std::string_view(text).substr(at, 5));
          double weights = 0;
          for (const DebtEntry& entry : ledger.entries()) weights += entry.weight / 100.0;
          ASSERT_LE(ledger.entries().size(), size_t(limit));
          ASSERT_GE(ledger.Pressure(), 0);
          ASSERT_LE(ledger.Pressure(), 0.3 * weights);
        }
        for (int i = 0; i < kDebtTypes; ++i) {
          const DebtCounts counts = ledger.counts(static_cast<DebtType>(i));
          ASSERT_EQ(counts.opened - counts.discharged, counts.outstanding)
              << GrammarModeName(mode) << " " << DebtName(static_cast<DebtType>(i));
          ASSERT_LE(counts.overdue, counts.outstanding);
        }
      }
    }
  }
}

TEST(DebtLedger, ChunksDoNotMatter) {
  for (const GrammarMode mode : kModes) {
    for (uint64_t seed = 100; seed < 120; ++seed) {
      const std::string text = RandomText(seed, 300);
      DebtLedger whole = Ledger(mode), pieces = Ledger(mode);
      whole.Take(text);
      const PhiloxStream rng(seed, RngPurpose::kWeightInit, 1);
      for (size_t at = 0, i = 0; at < text.size(); ++i) {
        const size_t n = rng.Word(i) % 7;
        pieces.Take(std::string_view(text).substr(at, n));
        at += n;
      }
      ASSERT_EQ(whole.entries().size(), pieces.entries().size());
      for (size_t i = 0; i < whole.entries().size(); ++i) {
        const DebtEntry &a = whole.entries()[i], &b = pieces.entries()[i];
        ASSERT_EQ(a.type, b.type);
        ASSERT_EQ(a.key, b.key);
        ASSERT_EQ(a.aux, b.aux);
      }
      for (int i = 0; i < kDebtTypes; ++i) {
        const DebtCounts a = whole.counts(static_cast<DebtType>(i)),
                         b = pieces.counts(static_cast<DebtType>(i));
        ASSERT_EQ(a.opened, b.opened);
        ASSERT_EQ(a.discharged, b.discharged);
        ASSERT_EQ(a.violated, b.violated);
      }
    }
  }
}

TEST(DebtLedger, PressureGrowsToTheDeadlineAndThePullToTwice) {
  DebtLedger ledger = Ledger(GrammarMode::kPython);
  EXPECT_EQ(ledger.Pressure(), 0);
  ledger.Take("(");
  ASSERT_EQ(ledger.entries().size(), 1u);
  EXPECT_EQ(ledger.entries()[0].key, ')');
  EXPECT_EQ(ledger.entries()[0].deadline_pos, 1u + 512u);
  EXPECT_EQ(ledger.Pressure(), 0);
  for (int i = 0; i < 256; ++i) ledger.Take(" x");
  EXPECT_NEAR(ledger.Pressure(), 0.3 * 1.0 * 0.5 / 8, 1e-7);
  for (int i = 0; i < 256; ++i) ledger.Take(" x");
  EXPECT_NEAR(ledger.Pressure(), 0.3 / 8, 1e-7);
  EXPECT_EQ(ledger.counts(DebtType::kCloseBracket).overdue, 0);
  for (int i = 0; i < 2000; ++i) ledger.Take(" x");
  EXPECT_NEAR(ledger.Pressure(), 0.3 / 8, 1e-7);
  EXPECT_NEAR(ledger.Pull(ledger.entries()[0], ledger.Pressure()), 2 * 0.3 / 8, 1e-7);
  EXPECT_EQ(ledger.counts(DebtType::kCloseBracket).overdue, 1);
  ledger.Take(")");
  EXPECT_EQ(ledger.Pressure(), 0);
}

TEST(DebtLedger, TheOldestAreMergedAndComeLast) {
  DebtLedger ledger = Ledger(GrammarMode::kPython);
  for (int i = 0; i < 100; ++i) ledger.Take("([{");
  EXPECT_EQ(ledger.entries().size(), size_t{kDebtsMax});
  EXPECT_EQ(ledger.entries()[0].aux, 300u - 63u);
  EXPECT_EQ(ledger.entries()[0].opened_pos, 1u);
  EXPECT_EQ(ledger.counts(DebtType::kCloseBracket).outstanding, 300);
  for (int i = 0; i < 99; ++i) ledger.Take("}])");
  EXPECT_EQ(ledger.entries().size(), 1u);
  EXPECT_EQ(ledger.counts(DebtType::kCloseBracket).outstanding, 3);
  ledger.Take("}])");
  EXPECT_TRUE(ledger.entries().empty());
}

TEST(DebtLedger, WhatIsSwitchedOffIsNotCounted) {
  DebtSettings settings;
  settings.obligations = {};
  settings.obligations[static_cast<size_t>(DebtType::kCloseString)] = true;
  DebtLedger ledger(GrammarMode::kPython, settings);
  ledger.Take("f('a', [\"b");
  EXPECT_EQ(ledger.entries().size(), 1u);
  EXPECT_EQ(ledger.counts(DebtType::kCloseBracket).opened, 0);
  EXPECT_EQ(ledger.counts(DebtType::kCloseString).opened, 2);
}

}  // namespace
}  // namespace chimera
