#include "memory/guidelines.h"

#include <cmath>
#include <set>
#include <string>

#include "base/philox.h"
#include "gtest/gtest.h"
#include "memory/policy_testing.h"

namespace chimera {
namespace {

constexpr GuidelineAction kIgnore = GuidelineAction::kIgnoreItemClass;
constexpr GuidelineAction kNewest = GuidelineAction::kPreferNewest;
constexpr GuidelineAction kAsk = GuidelineAction::kAskUser;

class GuidelinesTest : public testing::Test {
 protected:
  HyperVector Context(uint64_t n) const { return RandomVector(6, n); }
  ActionCodes codes_{FeatureCodebook()};
};

TEST_F(GuidelinesTest, ActionsAreRecoveredFromSimilarContexts) {
  std::set<std::string> names;
  for (int a = 0; a < kGuidelineActions; ++a) {
    const auto action = static_cast<GuidelineAction>(a);
    names.insert(GuidelineActionName(action));
    for (uint64_t n = 0; n < 30; ++n) {
      const HyperVector vector = Bind(Context(n), codes_.code(action));
      EXPECT_EQ(codes_.Unbind(vector, Context(n)), action);
      EXPECT_EQ(codes_.Unbind(vector, Flipped(Context(n), 3700, n)), action);
    }
  }
  EXPECT_EQ(names.size(), 6u);
}

TEST_F(GuidelinesTest, HarmBelowTheTriggerMakesAGuideline) {
  Guidelines bank(codes_);
  EXPECT_FALSE(*bank.Learn(Context(0), kIgnore, "old prices", 0.3));
  EXPECT_FALSE(*bank.Learn(Context(0), kIgnore, "old prices", -0.05));
  EXPECT_TRUE(*bank.Learn(Context(0), kIgnore, "old prices", -0.0501));
  EXPECT_FALSE(*bank.Learn(Context(0), kIgnore, "again", -1));  // it is there
  EXPECT_TRUE(*bank.Learn(Context(0), kAsk, "old prices", -1));
  ASSERT_EQ(bank.guidelines().size(), 2u);
  EXPECT_EQ(bank.guidelines()[0].action, Bind(Context(0), codes_.code(kIgnore)));
  EXPECT_FALSE(bank.Learn(Context(1), kAsk, "", std::nan("")).ok());
  EXPECT_FALSE(bank.Learn(Context(1), kAsk, "\xff", -1).ok());
  EXPECT_EQ(bank.Learn(Context(1), kAsk, std::string(2049, 'x'), -1).status().message(),
            "guideline text of 2049 bytes; the limit is 2048");
}

TEST_F(GuidelinesTest, TheNearestVoteByWeight) {
  Guidelines bank(codes_);
  const HyperVector context = Context(0);
  EXPECT_EQ(bank.Ask(context), std::nullopt);
  ASSERT_TRUE(*bank.Learn(Flipped(context, 1000, 1), kIgnore, "", -1));
  ASSERT_TRUE(*bank.Learn(Flipped(context, 1100, 2), kNewest, "", -1));
  ASSERT_TRUE(*bank.Learn(Flipped(context, 1200, 3), kNewest, "", -1));
  ASSERT_TRUE(*bank.Learn(Flipped(context, 1300, 4), kAsk, "", -1));
  for (uint64_t n = 0; n < 3; ++n) {  // too late or too far
    ASSERT_TRUE(*bank.Learn(Flipped(context, 3000, 10 + n), kAsk, "", -1));
  }
  auto advice = bank.Ask(context);
  ASSERT_TRUE(advice.has_value());
  EXPECT_EQ(advice->action, kNewest);
  EXPECT_DOUBLE_EQ(advice->votes, 1.0);
  EXPECT_EQ(advice->voters,
            (std::vector<uint64_t>{bank.guidelines()[1].id, bank.guidelines()[2].id}));
  // It went badly: its voters lose weight, until another action has more.
  double want = 0.5;
  while (advice->action == kNewest) {
    ASSERT_TRUE(bank.RecordOutcome(*advice, 0).ok());
    want += 0.1 * (0 - want);
    ASSERT_NEAR(bank.guidelines()[1].weight, want, 1e-6);
    advice = bank.Ask(context);
  }
  EXPECT_EQ(advice->action, kIgnore);
  EXPECT_EQ(bank.guidelines()[1].uses, 7u);
  EXPECT_FALSE(bank.RecordOutcome(*advice, 1.5).ok());
  EXPECT_EQ(bank.Ask(Context(1)), std::nullopt);
}

TEST_F(GuidelinesTest, DistanceLimitAndLeastWeight) {
  Guidelines bank(codes_);
  ASSERT_TRUE(*bank.Learn(Context(0), kAsk, "", -1));
  EXPECT_TRUE(bank.Ask(Flipped(Context(0), 3700, 1)).has_value());
  EXPECT_FALSE(bank.Ask(Flipped(Context(0), 3701, 1)).has_value());
  const Advice advice = *bank.Ask(Context(0));
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(bank.RecordOutcome(advice, 0).ok());
  EXPECT_TRUE(bank.Ask(Context(0)).has_value());  // 0.5 * 0.9^6 = 0.266
  ASSERT_TRUE(bank.RecordOutcome(advice, 0).ok());
  EXPECT_FALSE(bank.Ask(Context(0)).has_value());  // 0.239
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(bank.RecordOutcome(advice, i % 2).ok());
  EXPECT_GE(bank.guidelines()[0].weight, 0.0f);
  EXPECT_LE(bank.guidelines()[0].weight, 1.0f);
}

TEST_F(GuidelinesTest, EvictsTheLeastWeightOfTheOldAndStaysBelowTwoMib) {
  Guidelines bank(codes_);
  for (uint64_t n = 0; n < 256; ++n) {
    ASSERT_TRUE(*bank.Learn(Context(n), kAsk, std::string(2048, 'x'), -1));
  }
  EXPECT_LE(bank.Encode().size(), size_t{2} << 20);
  EXPECT_EQ(bank.bytes(), 256 * (1024 + 1024 + 24 + 2048));
  EXPECT_EQ(bank.Learn(Context(999), kAsk, "", -1).status().message(),
            "guidelines: all 256 are younger than 64 retrievals");
  const Advice weak{.voters = {bank.guidelines()[77].id}};
  ASSERT_TRUE(bank.RecordOutcome(weak, 0).ok());
  for (int i = 0; i < 64; ++i) bank.Ask(Context(1000));
  EXPECT_FALSE(bank.Learn(Context(999), kAsk, "", -1).ok());
  bank.Ask(Context(1000));
  ASSERT_TRUE(*bank.Learn(Context(999), kAsk, "", -1));
  EXPECT_EQ(bank.guidelines().size(), 256u);
  EXPECT_EQ(bank.guidelines()[77].trigger, Context(999));
  EXPECT_EQ(bank.evicted(), 1u);
}

// In four of eight contexts memory does harm (-0.3), in the others good (+0.3). Returns the mean
// benefit of 400 episodes.
double MeanBenefit(const ActionCodes& codes, bool with_guidelines) {
  Guidelines bank(codes);
  double benefit = 0;
  for (uint64_t e = 0; e < 400; ++e) {
    const uint64_t kind = PhiloxStream(1, RngPurpose::kDataShuffle, 7).Word(e) % 8;
    const HyperVector context = Flipped(RandomVector(6, kind), 700, e);
    const std::optional<Advice> advice = bank.Ask(context);
    const bool use_memory = !(advice.has_value() && advice->action == kIgnore);
    const double delta = kind < 4 ? -0.3 : 0.3;
    if (use_memory) benefit += delta / 400;
    if (!with_guidelines) continue;
    if (use_memory) {
      EXPECT_TRUE(bank.Learn(context, kIgnore, "", delta).ok());
    } else {
      EXPECT_TRUE(bank.RecordOutcome(*advice, delta < 0 ? 1 : 0).ok());
    }
  }
  return benefit;
}

TEST_F(GuidelinesTest, AblationHarmGoesOnWithoutThem) {
  EXPECT_GT(MeanBenefit(codes_, true), 0.13);  // 0.15 is the best there is
  EXPECT_NEAR(MeanBenefit(codes_, false), 0, 0.05);
}

TEST_F(GuidelinesTest, DecodeSurvivesHostileBytes) {
  Guidelines bank(codes_);
  ASSERT_TRUE(*bank.Learn(Context(0), kAsk, "ask first", -1));
  ASSERT_TRUE(*bank.Learn(Context(1), kNewest, "", -1));
  ASSERT_TRUE(bank.RecordOutcome(*bank.Ask(Context(0)), 1).ok());
  const GuidelineOptions options{.guidelines_max = 3};
  ExpectHardenedDecode(
      bank.Encode(),
      [&](std::string_view bytes) -> absl::StatusOr<std::string> {
        auto decoded = Guidelines::Decode(codes_, options, bytes);
        if (!decoded.ok()) return decoded.status();
        return decoded->Encode();
      },
      2000, 7);
  EXPECT_EQ(Guidelines::Decode(codes_, {.guidelines_max = 1}, bank.Encode()).status().message(),
            "guidelines: it holds 2 guidelines; the limit is 1");
}

TEST_F(GuidelinesTest, ARecordOfOneComesBack) {
  Guidelines bank(codes_);
  ASSERT_TRUE(*bank.Learn(Context(0), kAsk, std::string(2048, 'x'), -1));
  for (int i = 0; i < 5; ++i) bank.Ask(Context(0));
  ASSERT_TRUE(*bank.Learn(Context(1), kNewest, "newest", -1));
  ASSERT_TRUE(bank.RecordOutcome(*bank.Ask(Context(1)), 1).ok());
  EXPECT_EQ(bank.EncodeOne(bank.guidelines()[0]).size(), kGuidelineRecordBytesMax);
  Guidelines other(codes_, {.guidelines_max = 2});
  for (const Guideline& guideline : bank.guidelines()) {
    const std::string record = bank.EncodeOne(guideline);
    ASSERT_TRUE(other.Restore(guideline.id, record).ok());
    EXPECT_EQ(other.Restore(guideline.id, record).code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(other.Restore(guideline.id + 1, record).code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_EQ(other.retrievals(), bank.retrievals());
  ASSERT_EQ(other.guidelines().size(), 2u);
  const Guideline& one = *other.Find(bank.guidelines()[1].id);
  EXPECT_EQ(one.action, Bind(Context(1), codes_.code(kNewest)));
  EXPECT_EQ(one.weight, bank.guidelines()[1].weight);
  EXPECT_EQ(one.uses, 1u);
  EXPECT_EQ(one.created, 5u);
  EXPECT_EQ(one.text, "newest");

  const Guideline& sample = bank.guidelines()[1];
  ExpectHardenedDecode(
      bank.EncodeOne(sample),
      [&](std::string_view bytes) -> absl::StatusOr<std::string> {
        Guidelines fresh(codes_);
        const absl::Status restored = fresh.Restore(sample.id, bytes);
        if (!restored.ok()) return restored;
        return fresh.EncodeOne(fresh.guidelines()[0]);
      },
      2000, 7);
  Guidelines full(codes_, {.guidelines_max = 1});
  ASSERT_TRUE(*full.Learn(Context(2), kAsk, "", -1));
  EXPECT_EQ(full.Restore(sample.id, bank.EncodeOne(sample)).code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace chimera
