// Recall finds what people ask for: questions that share words with one fact among 500.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "memory/rocksdb_store.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

using RecallQuality = StoreTest;

struct Question {
  std::string fact;
  std::string query;
};

const std::vector<Question>& Questions() {
  static const auto* const kQuestions = new std::vector<Question>{
      {"My sister Clara lives in Lisbon and works as an architect.", "Where does Clara live?"},
      {"The wifi password at the cottage is marmalade-42.", "what is the wifi password"},
      {"I am allergic to peanuts and shellfish.", "am I allergic to shellfish?"},
      {"The dentist appointment is on Thursday at half past nine.",
       "when is the dentist appointment"},
      {"Our dog Biscuit was born in the spring of 2019.", "When was Biscuit born?"},
      {"I prefer tea over coffee, without sugar.", "tea or coffee, which do I prefer?"},
      {"The blue folder holds the insurance papers.", "Where are the insurance papers?"},
      {"Grandfather's birthday is the third of March.", "grandfather's birthday"},
      {"The train to Vienna leaves from platform seven.",
       "Which platform for the train to Vienna?"},
      {"Meine Schwester wohnt in Z\u00fcrich.", "Wo wohnt meine SCHWESTER?"},
  };
  return *kQuestions;
}

// Everyday sentences out of small parts, so that distractors share words with each other and with
// the questions, as real ones do.
std::vector<std::string> Distractors(int count) {
  const std::vector<std::string> who = {"My neighbour",         "The teacher",  "Our cousin Martin",
                                        "A friend from school", "The gardener", "My brother"};
  const std::vector<std::string> what = {"bought a red bicycle",     "paints the old fence",
                                         "reads a book about ships", "cooks lentil soup",
                                         "repairs the radio",        "plays the violin",
                                         "collects stamps",          "walks along the river",
                                         "works in the library",     "lives in a small flat"};
  const std::vector<std::string> when = {
      "on Monday",    "every evening", "in the summer", "when it rains",  "at the weekend",
      "before lunch", "in October",    "after work",    "during the war", "at night"};
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    texts.push_back(absl::StrCat(who[i % 6], " ", what[i / 6 % 10], " ", when[i / 60 % 10], "."));
  }
  return texts;
}

TEST_F(RecallQuality, QuestionsFindTheirFactAmong500) {
  const auto memory = MustOpen(Options());
  for (const std::string& text : Distractors(490)) {
    ASSERT_TRUE(memory->Remember("ada", text).ok());
  }
  for (const Question& question : Questions()) {
    ASSERT_TRUE(memory->Remember("ada", question.fact).ok());
  }
  ASSERT_EQ(memory->Stats("ada")->facts, 500);
  int first = 0, among_three = 0;
  for (const Question& question : Questions()) {
    const auto facts = *memory->Recall("ada", question.query, 3);
    ASSERT_EQ(facts.size(), 3u);
    first += facts[0].text == question.fact;
    bool found = false;
    for (const RecalledFact& fact : facts) found |= fact.text == question.fact;
    among_three += found;
    EXPECT_TRUE(found) << question.query << " gave " << facts[0].text << " " << facts[0].similarity;
  }
  EXPECT_GE(first, 9);
  EXPECT_EQ(among_three, 10);
}

}  // namespace
}  // namespace chimera
