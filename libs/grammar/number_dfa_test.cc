#include "grammar/number_dfa.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/philox.h"
#include "gtest/gtest.h"

namespace chimera {
namespace {

Decimal Number(std::string_view text) {
  const auto number = Decimal::Parse(text);
  EXPECT_TRUE(number.ok()) << text;
  return number.ok() ? *number : Decimal{};
}

// The slow twin: compares, and divides the digits behind a point that is far enough right.
bool Holds(const NumberSet& set, std::string_view text) {
  const Decimal value = Number(text);
  if (set.min && (value < *set.min || (set.min_open && value == *set.min))) return false;
  if (set.max && (*set.max < value || (set.max_open && value == *set.max))) return false;
  if (set.step == 0) return true;
  if (value.places() > set.step_places) return false;
  uint64_t rest = 0;
  for (int i = 0; i < value.point + set.step_places; ++i) {
    const bool digit = i < static_cast<int>(value.digits.size());
    rest = (rest * 10 + uint64_t(digit ? value.digits[size_t(i)] - '0' : 0)) % set.step;
  }
  return rest == 0;
}

class Draws {
 public:
  explicit Draws(uint32_t seed) : seed_(seed) {}
  uint32_t operator()(uint32_t below) { return Philox4x32({++n_, 0, 0, 9}, seed_, 1)[0] % below; }

 private:
  const uint32_t seed_;
  uint32_t n_ = 0;
};

std::string Spelling(Draws* draw) {
  std::string text = (*draw)(3) == 0 ? "-" : "";
  if ((*draw)(4) == 0) {
    text += "0";
  } else {
    text += static_cast<char>('1' + (*draw)(9));
    for (uint32_t n = (*draw)(4); n > 0; --n) text += "0012589"[(*draw)(7)];
  }
  if ((*draw)(2) == 0) {
    text += ".";
    for (uint32_t n = 1 + (*draw)(3); n > 0; --n) text += "0012589"[(*draw)(7)];
  }
  if ((*draw)(2) == 0)
    absl::StrAppend(&text, (*draw)(2) ? "e" : "E",
                    (*draw)(2)   ? "-"
                    : (*draw)(2) ? "+"
                                 : "",
                    (*draw)(4));
  return text;
}

NumberSet RandomSet(Draws* draw) {
  NumberSet set;
  if ((*draw)(2)) set.min = Number(Spelling(draw)), set.min_open = (*draw)(2);
  if ((*draw)(2)) set.max = Number(Spelling(draw)), set.max_open = (*draw)(2);
  if ((*draw)(2)) {
    constexpr std::string_view kSteps[] = {"1",  "1",   "2",    "5",   "7",   "10",
                                           "12", "0.1", "0.25", "1.5", "100", "0.01"};
    const auto grid = NumberSet::Multiples(Number(kSteps[(*draw)(12)]));
    EXPECT_TRUE(grid.ok());
    set.step = grid->step;
    set.step_places = grid->step_places;
  }
  return set;
}

TEST(NumberDfa, ChecksEverySpelling) {
  int64_t held = 0;
  for (uint32_t seed = 0; seed < 250; ++seed) {
    Draws draw(seed);
    const NumberSet set = RandomSet(&draw);
    const auto dfa = NumberDfa(set, GrammarUse::kCheck);
    if (!dfa.ok()) {  // large steps with bounds of many digits
      EXPECT_GE(set.step, 25u) << dfa.status();
      continue;
    }
    for (int i = 0; i < 400; ++i) {
      const std::string text = Spelling(&draw);
      const bool expected = Holds(set, text);
      held += expected;
      ASSERT_EQ(dfa->Matches(text), expected)
          << text << " min " << (set.min ? set.min->Text() : "") << set.min_open << " max "
          << (set.max ? set.max->Text() : "") << set.max_open << " step " << set.step << " / 10^"
          << set.step_places;
    }
  }
  EXPECT_GT(held, 15000);
}

TEST(NumberDfa, GeneratesPlainSpellings) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    Draws draw(seed);
    const NumberSet set = RandomSet(&draw);
    const auto dfa = NumberDfa(set, GrammarUse::kGenerate);
    ASSERT_TRUE(dfa.ok()) << dfa.status();
    uint32_t state = dfa->start();
    std::string text;
    while (state != 0 && !(dfa->Accepts(state) && draw(3) == 0)) {
      std::string live;
      for (const char c : std::string_view("0123456789-.")) {
        if (dfa->Next(state, uint8_t(c)) != 0) live += c;
      }
      ASSERT_EQ(dfa->Next(state, 'e'), 0u);
      if (live.empty()) break;
      text += live[draw(uint32_t(live.size()))];
      state = dfa->Next(state, uint8_t(text.back()));
    }
    EXPECT_TRUE(state == 0 || Holds(set, text)) << text;
  }
}

TEST(NumberDfa, IntegersInAllSpellings) {
  const auto check = NumberDfa(NumberSet::Integers(), GrammarUse::kCheck);
  const auto generate = NumberDfa(NumberSet::Integers(), GrammarUse::kGenerate);
  for (const char* text :
       {"0", "-0", "1.0", "1e2", "1.50e1", "100e-2", "0e-5", "1E400", "-2.000"}) {
    EXPECT_TRUE(check->Matches(text)) << text;
  }
  for (const char* text :
       {"1.5", "1e-1", "15e-1", "01", "1.", ".0", "-", "1.05e1", "+1", "1e", ""}) {
    EXPECT_FALSE(check->Matches(text)) << text;
  }
  EXPECT_TRUE(generate->Matches("123456789012345"));
  EXPECT_FALSE(generate->Matches("1234567890123456"));
  EXPECT_FALSE(generate->Matches("1.0"));
  EXPECT_FALSE(generate->Matches("-0"));
}

TEST(NumberDfa, GridsAndBoundsCombine) {
  const auto both =
      NumberSet::And(*NumberSet::Multiples(Number("0.4")), *NumberSet::Multiples(Number("0.6")));
  EXPECT_EQ(both->step, 12u);
  EXPECT_EQ(both->step_places, 1);
  EXPECT_EQ(NumberSet::And(NumberSet::Integers(), *NumberSet::Multiples(Number("0.01")))->step, 1u);
  EXPECT_FALSE(NumberSet::Multiples(Number("0")).ok());
  EXPECT_FALSE(NumberSet::Multiples(Number("12345")).ok());
  EXPECT_FALSE(Decimal::Parse("1e400").ok());
  EXPECT_EQ(Number("-0.00120e2").Text(), "-0.12");
  EXPECT_LT(Number("-2"), Number("-1.5"));
  EXPECT_LT(Number("9"), Number("10"));
}

}  // namespace
}  // namespace chimera
