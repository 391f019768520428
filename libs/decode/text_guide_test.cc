#include "decode/text_guide.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "decode/logit_transform.h"

namespace chimera {
namespace {

std::shared_ptr<const Tokenizer> Words() {
  static const std::shared_ptr<const Tokenizer> tokenizer = [] {
    const auto text =
        ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/o200k_8192.tiktoken", 1 << 20);
    EXPECT_TRUE(text.ok()) << text.status();
    return *Tokenizer::FromRankText(*text, 8192);
  }();
  return tokenizer;
}

std::shared_ptr<const ClassTable> Classes() {
  static const auto table = std::make_shared<const ClassTable>(MakeClassTable(*Words()));
  return table;
}

int32_t Token(const std::string& text) {
  const std::vector<int32_t> ids = Words()->Encode(text);
  EXPECT_EQ(ids.size(), 1u) << text;
  return ids.front();
}

TokenClass ClassOf(const std::string& text) {
  return static_cast<TokenClass>((*Classes())[size_t(Token(text))]);
}

TextGuide Guide(const GuideSettings& settings, const std::string& text, int64_t position = 0) {
  TextGuide guide(settings, Words(), Classes());
  guide.Begin(position);
  for (const int32_t id : Words()->Encode(text)) guide.Take(id);
  return guide;
}

float ClassWeight(TextGuide* guide, TokenClass c) {
  VerifyNode node;
  guide->Weigh(&node);
  return node.class_weights.empty() ? 0.0f : node.class_weights[static_cast<size_t>(c)];
}

// The probability of a token among equal ones.
double Probability(TextGuide* guide, int32_t token) {
  VerifyNode node;
  guide->Weigh(&node);
  const std::vector<float> logits(size_t(Words()->vocab_size()), 1.0f);
  LogitTransformer transformer(Words()->vocab_size(), {Words()->n_ranks(), Words()->eot()});
  const auto rows = transformer.Apply(logits, {}, {}, {}, 0, Words()->vocab_size(),
                                      {Classes().get(), node.class_weights, node.token_weights});
  EXPECT_TRUE(rows.ok()) << rows.status();
  for (size_t i = 0; i < rows->token_ids.size(); ++i) {
    if (rows->token_ids[i] == token) {
      return std::exp(double{rows->logits[i]} - double{rows->log_sum_exp});
    }
  }
  return 0;
}

std::string Repeated(const std::string& text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

constexpr GuideSettings kNothing = {.debts = false,
                                    .sentence_rhythm = false,
                                    .paragraph_length = false,
                                    .repetition_avoidance = false};

TEST(TokenClasses, OfTheirBytes) {
  EXPECT_EQ(ClassOf("."), TokenClass::kSentenceEnd);
  EXPECT_EQ(ClassOf(".\n"), TokenClass::kSentenceEnd);
  EXPECT_EQ(ClassOf(".\n\n"), TokenClass::kSentenceParagraph);
  EXPECT_EQ(ClassOf("\n\n"), TokenClass::kParagraph);
  EXPECT_EQ(ClassOf("\n"), TokenClass::kLine);
  EXPECT_EQ(ClassOf(")"), TokenClass::kRoundCloser);
  EXPECT_EQ(ClassOf("]"), TokenClass::kSquareCloser);
  EXPECT_EQ(ClassOf("}"), TokenClass::kCurlyCloser);
  EXPECT_EQ(ClassOf("\""), TokenClass::kDoubleQuote);
  EXPECT_EQ(ClassOf("`"), TokenClass::kBacktick);
  EXPECT_EQ(ClassOf(" the"), TokenClass::kOther);
  EXPECT_EQ(ClassOf(" The"), TokenClass::kName);
  EXPECT_EQ((*Classes())[size_t(Words()->eot())], uint8_t(TokenClass::kEndOfText));
  EXPECT_TRUE(CheckClassTable(*Classes(), Words()->vocab_size()).ok());
}

TEST(TextGuide, AnOverdueSentenceMakesItsEndLikelier) {
  GuideSettings settings = kNothing;
  const std::string text = Repeated(" and the house", 96);  // 288 tokens, no end
  TextGuide off = Guide(settings, text);
  settings.debts = true;
  TextGuide on = Guide(settings, text);
  EXPECT_GT(on.ledger()->counts(DebtType::kCompleteSentence).overdue, 0);
  const int32_t end = Token("."), other = Token(" house");
  EXPECT_GT(Probability(&on, end), Probability(&off, end));
  EXPECT_LT(Probability(&on, other), Probability(&off, other));
  const double pull = 0.3 * 0.6 / 8 * 0.6 * 2;  // pressure, weight, twice late
  EXPECT_NEAR(std::log(Probability(&on, end) / Probability(&on, other)), pull, 1e-5);
}

TEST(TextGuide, AnOpenBracketPullsOnItsCloser) {
  GuideSettings settings = kNothing;
  settings.mode = GrammarMode::kPython;
  settings.debts = true;
  TextGuide guide = Guide(settings, "x = (" + Repeated(" a +", 400));
  EXPECT_GT(ClassWeight(&guide, TokenClass::kRoundCloser), 0.0f);
  EXPECT_EQ(ClassWeight(&guide, TokenClass::kSquareCloser), 0.0f);
  EXPECT_EQ(ClassWeight(&guide, TokenClass::kSentenceEnd), 0.0f);  // code has no rhythm
}

TEST(TextGuide, RhythmIsAgainstShortAndForLongSentences) {
  GuideSettings settings = kNothing;
  settings.sentence_rhythm = true;
  TextGuide fresh = Guide(settings, "");
  EXPECT_FLOAT_EQ(ClassWeight(&fresh, TokenClass::kSentenceEnd), -kRhythmWeight);
  EXPECT_EQ(ClassWeight(&fresh, TokenClass::kParagraph), 0.0f);
  TextGuide late = Guide(settings, Repeated(" house", 48));
  EXPECT_FLOAT_EQ(ClassWeight(&late, TokenClass::kSentenceEnd), kRhythmWeight);
  settings = kNothing;
  settings.paragraph_length = true;
  TextGuide paragraph = Guide(settings, Repeated(" house", 160));
  EXPECT_FLOAT_EQ(ClassWeight(&paragraph, TokenClass::kParagraph), kParagraphWeight);
  EXPECT_EQ(ClassWeight(&paragraph, TokenClass::kSentenceEnd), 0.0f);
}

TEST(TextGuide, TheTokenThatRepeatsAFourGramLoses) {
  GuideSettings settings = kNothing;
  const std::string text = " the old house world and the old house world and the old house";
  TextGuide off = Guide(settings, text);
  settings.repetition_avoidance = true;
  TextGuide on = Guide(settings, text);
  const int32_t world = Token(" world");
  EXPECT_NEAR(std::log(Probability(&on, world) / Probability(&off, world)), -2 * 0.3, 1e-3);
  VerifyNode node;
  on.Weigh(&node);
  ASSERT_EQ(node.token_weights.size(), 1u);
  EXPECT_EQ(node.token_weights[0].token_id, world);
  EXPECT_FLOAT_EQ(node.token_weights[0].weight, -0.6f);
  TextGuide far = Guide(settings, text + Repeated(" x", 255) + " the old house");
  VerifyNode forgotten;
  far.Weigh(&forgotten);
  EXPECT_TRUE(forgotten.token_weights.empty());
}

// Class weights hold from one multiple of 16 to the next, however the tokens come.
TEST(TextGuide, ClassWeightsChangeAtPositionsDivisibleBySixteen) {
  for (const int64_t position : {int64_t{0}, int64_t{5}, int64_t{16}, int64_t{31}}) {
    TextGuide step(GuideSettings{}, Words(), Classes()), jump(GuideSettings{}, Words(), Classes());
    step.Begin(position);
    jump.Begin(position);
    std::vector<float> held;
    const std::vector<int32_t> ids =
        Words()->Encode(Repeated("The king (who was old) went home. Then he slept", 20));
    for (size_t i = 0; i < ids.size(); ++i) {
      VerifyNode node;
      step.Weigh(&node);
      if ((position + static_cast<int64_t>(i)) % kGuideInterval != 0) {
        ASSERT_EQ(node.class_weights, held) << i;
      }
      held = node.class_weights;
      step.Take(ids[i]);
      jump.Take(ids[i]);
    }
    VerifyNode a, b;
    step.Weigh(&a);
    jump.Weigh(&b);
    EXPECT_EQ(a.class_weights, b.class_weights);
    EXPECT_FALSE(a.class_weights.empty());
  }
}

TEST(TextGuide, ADanglingWordWithholdsTheEnd) {
  EXPECT_TRUE(Guide({}, "He went to the").WithholdsEnd());
  EXPECT_FALSE(Guide({}, "He went home").WithholdsEnd());
  EXPECT_FALSE(Guide(kNothing, "He went to the").WithholdsEnd());
}

}  // namespace
}  // namespace chimera
