#include "memory/user_learning.h"

#include <thread>

#include "gmock/gmock.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

using ::testing::HasSubstr;

constexpr char kFlaky[] =
    "the integration test of the parser fails now and then on the slow machine";
constexpr char kLikeFlaky[] =
    "an integration test of the parser fails now and then on a slow machine";

class UserLearningTest : public StoreTest {
 protected:
  UserLearningTest() { Start(MustOpen(Options())); }
  void Start(std::unique_ptr<LocalMemory> store, const UserLearningOptions& options = {}) {
    learning_.reset();
    store_.reset();
    store_ = std::move(store);
    learning_ = std::make_unique<UserLearning>(store_.get(), options);
  }
  void Restart(const UserLearningOptions& options = {}) {
    learning_.reset();
    store_.reset();
    Start(Reopen(), options);
  }
  AddedCase Add(const std::string& user, const std::string& situation, const std::string& plan,
                double outcome = 0.8) {
    const NewCase one = {.situation = situation, .plan = plan, .tags = "t", .outcome = outcome};
    return learning_->AddCases(user, std::span(&one, 1)).value().at(0);
  }
  std::vector<FoundCase> Find(const std::string& user, const std::string& situation, int k = 4) {
    return learning_->FindCases(user, std::span(&situation, 1), k).value().at(0);
  }
  EntityChange Say(const std::string& user, const std::string& name, EntityRole role,
                   const std::string& filler) {
    const EntityStatement one = {.name = name, .role = role, .filler = filler};
    return learning_->SetEntities(user, std::span(&one, 1)).value().at(0);
  }

  std::unique_ptr<LocalMemory> store_;
  std::unique_ptr<UserLearning> learning_;
};

TEST_F(UserLearningTest, CasesSurviveAndRewardRaisesThem) {
  const AddedCase retry = Add("ada", kFlaky, "run it again");
  const AddedCase pin = Add("ada", kFlaky, "pin the thread count");
  EXPECT_TRUE(retry.created && pin.created);
  EXPECT_FALSE(Add("ada", kFlaky, "run it again").created) << "it is there";
  EXPECT_FALSE(Add("ada", kFlaky, "shrug", 0.6).created) << "went neither well nor badly";
  for (int i = 0; i < 20; ++i) {
    const CaseOutcome good = {.case_id = pin.case_id, .outcome = 1};
    const CaseOutcome bad = {.case_id = retry.case_id, .outcome = 0};
    EXPECT_EQ(learning_->RecordCaseOutcomes("ada", std::vector{good, bad}).value(), 2);
  }
  const auto before = Find("ada", kLikeFlaky);
  Restart();
  const auto after = Find("ada", kLikeFlaky);
  ASSERT_EQ(after.size(), 2u);
  EXPECT_EQ(after[0].plan, "pin the thread count");
  EXPECT_GT(after[0].q, 0.95);
  EXPECT_LT(after[1].q, 0.15);
  EXPECT_EQ(after[0].outcomes, 21u);
  EXPECT_EQ(after[0].share, 1);
  EXPECT_GT(after[0].similarity, 0.3f);
  for (size_t i = 0; i < after.size(); ++i) {
    EXPECT_EQ(after[i].case_id, before[i].case_id);
    EXPECT_EQ(after[i].probability, before[i].probability) << "the same after a restart";
  }
  EXPECT_EQ(Find("ada", kLikeFlaky, 1).size(), 1u);
}

TEST_F(UserLearningTest, HitsAreNearCases) {
  Add("ada", kFlaky, "pin the thread count");
  Find("ada", kFlaky);
  Find("ada", "bread needs salt, water and a little time");
  Find("bob", kFlaky);
  EXPECT_EQ(learning_->Figures().case_retrievals, 3);
  EXPECT_EQ(learning_->Figures().case_hits, 1);
}

TEST_F(UserLearningTest, GuidelinesAdviseAndFollowTheirOutcomes) {
  const NewGuideline guideline = {.context = kFlaky,
                                  .action = GuidelineAction::kPreferNewest,
                                  .text = "Notes about flaky tests grow old.",
                                  .delta = -0.3};
  const LearnedGuideline learned = learning_->LearnGuideline("ada", guideline).value();
  EXPECT_TRUE(learned.created);
  EXPECT_FALSE(learning_->LearnGuideline("ada", guideline).value().created);
  NewGuideline harmless = guideline;
  harmless.action = GuidelineAction::kAskUser;
  harmless.delta = -0.05;
  EXPECT_FALSE(learning_->LearnGuideline("ada", harmless).value().created);
  Restart();
  const auto advice = learning_->AskGuidelines("ada", kLikeFlaky).value();
  ASSERT_TRUE(advice.has_value());
  EXPECT_EQ(advice->action, GuidelineAction::kPreferNewest);
  ASSERT_EQ(advice->voters.size(), 1u);
  EXPECT_EQ(advice->voters[0].guideline_id, learned.guideline_id);
  EXPECT_EQ(advice->voters[0].text, guideline.text);
  EXPECT_EQ(advice->votes, 0.5);
  EXPECT_FALSE(learning_->AskGuidelines("bob", kLikeFlaky).value().has_value());
  EXPECT_FALSE(learning_->AskGuidelines("ada", "bread needs salt").value().has_value());
  EXPECT_EQ(learning_->Figures().guidelines_advised, 1);

  // Bad advice loses its voice, also over restarts.
  const std::vector<std::string> voters = {learned.guideline_id, learned.guideline_id,
                                           "0123456789abcdef"};
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(learning_->RecordAdviceOutcome("ada", voters, 0).value(), 1);
    EXPECT_EQ(learning_->RecordAdviceOutcome("bob", voters, 0).value(), 0);
    Restart();
  }
  EXPECT_FALSE(learning_->AskGuidelines("ada", kLikeFlaky).value().has_value());
}

TEST_F(UserLearningTest, EntitiesSurvive) {
  EXPECT_TRUE(Say("ada", "Bob", EntityRole::kGender, "male").created);
  EXPECT_TRUE(Say("ada", "Eve", EntityRole::kGender, "female").created);
  Restart();
  EXPECT_EQ(Say("ada", "Bob", EntityRole::kGender, "unknown").replaced, "male");
  Restart();
  const auto all = learning_->ListEntities("ada", {}).value();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].name, "Bob");
  EXPECT_EQ(all[0].parts.at(0).filler, "unknown");
  const auto she = learning_->ListEntities("ada", {.gender = "female"}).value();
  ASSERT_EQ(she.size(), 1u);
  EXPECT_EQ(she[0].name, "Eve");
  EXPECT_TRUE(learning_->ListEntities("bob", {}).value().empty()) << "users are apart";
  EXPECT_FALSE(learning_->ForgetEntity("bob", "Eve").value());
  EXPECT_TRUE(learning_->ForgetEntity("ada", "Eve").value());
  Restart();
  EXPECT_EQ(learning_->ListEntities("ada", {}).value().size(), 1u);
}

TEST_F(UserLearningTest, BadArgumentsNameValueAndLimit) {
  const auto message = [](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  const auto add = [&](NewCase one) {
    return message(learning_->AddCases("ada", std::span(&one, 1)).status());
  };
  EXPECT_THAT(add({.situation = "s", .plan = std::string(901, 'p'), .outcome = 1}),
              HasSubstr("case 0: plan of 901 bytes; it has 1 to 900"));
  EXPECT_THAT(add({.situation = "s", .plan = "p", .tags = std::string(97, 't'), .outcome = 1}),
              HasSubstr("97 bytes; it has 0 to 96"));
  EXPECT_THAT(add({.situation = "", .plan = "p", .outcome = 1}), HasSubstr("situation"));
  EXPECT_THAT(add({.situation = "s", .plan = "\xff", .outcome = 1}), HasSubstr("UTF-8"));
  EXPECT_THAT(add({.situation = "s", .plan = "p", .outcome = 1.5}), HasSubstr("1.5"));
  EXPECT_THAT(message(learning_->AddCases("ada", {}).status()), HasSubstr("1 to 64"));
  const std::string situation = "s";
  EXPECT_THAT(message(learning_->FindCases("ada", std::span(&situation, 1), 65).status()),
              HasSubstr("65"));
  const CaseOutcome outcome = {.case_id = "0123456789abcdef", .outcome = 1, .share = 2};
  EXPECT_THAT(message(learning_->RecordCaseOutcomes("ada", std::span(&outcome, 1)).status()),
              HasSubstr("share 2 is outside 0..1"));
  EXPECT_THAT(message(learning_->LearnGuideline("ada", {.context = "c", .text = ""}).status()),
              HasSubstr("guideline text of 0 bytes"));
  EXPECT_THAT(
      message(learning_->RecordAdviceOutcome("ada", std::vector<std::string>{"xyz"}, 1).status()),
      HasSubstr("guideline id of 3 bytes"));
  const EntityStatement name = {.name = "n", .role = EntityRole::kName, .filler = "f"};
  EXPECT_THAT(message(learning_->SetEntities("ada", std::span(&name, 1)).status()),
              HasSubstr("role 0"));
  EXPECT_THAT(message(learning_->ForgetEntity("a b", "n").status()), HasSubstr("user id"));
  EXPECT_EQ(store_->Stats("").value().entries, 0);
}

// A call of several that the store refuses leaves none of them, here and on disk.
TEST_F(UserLearningTest, WhatTheStoreRefusesIsNotThere) {
  LocalMemoryOptions options = Options();
  options.path = path_ + "/small";
  options.quota.entries_max = 2;
  Start(MustOpen(options));
  Add("ada", kFlaky, "first");
  const std::vector<NewCase> two = {{.situation = "one thing", .plan = "p", .outcome = 1},
                                    {.situation = "another thing", .plan = "p", .outcome = 1}};
  const absl::Status refused = learning_->AddCases("ada", two).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("ada"));
  EXPECT_EQ(Find("ada", "one thing", 64).size(), 1u);
  EXPECT_EQ(store_->Stats("ada").value().cases, 1);
  EXPECT_TRUE(Add("bob", kFlaky, "first").created) << "a quota is a user's own";
}

TEST_F(UserLearningTest, TheWeakestCaseMakesRoom) {
  std::vector<NewCase> batch;
  for (int i = 0; i < kCasesPerUserMax; ++i) {
    batch.push_back({.situation = "s", .plan = std::to_string(i), .outcome = i == 5 ? 0.0 : 0.9});
    if (batch.size() < kCasesPerCallMax) continue;
    ASSERT_TRUE(learning_->AddCases("ada", batch).ok());
    batch.clear();
  }
  const CaseOutcome weakest = {
      .case_id = FactIdToHex(CaseIdOf(store_->Sketch("s").value(), "5", "")), .outcome = 0};
  EXPECT_EQ(learning_->RecordCaseOutcomes("ada", std::span(&weakest, 1)).value(), 1);
  EXPECT_TRUE(Add("ada", "s", "one more").created);
  EXPECT_EQ(store_->Stats("ada").value().cases, kCasesPerUserMax);
  Restart();
  EXPECT_EQ(learning_->RecordCaseOutcomes("ada", std::span(&weakest, 1)).value(), 0);
  EXPECT_EQ(Find("ada", "s", 64).size(), 64u);
}

TEST_F(UserLearningTest, CopiesAreFewAndLoseNothing) {
  Restart({.users_max = 2});
  for (int i = 0; i < 8; ++i) {
    Add("user" + std::to_string(i), kFlaky, "plan " + std::to_string(i));
    Say("user" + std::to_string(i), "Bob", EntityRole::kState, "tired");
    EXPECT_LE(learning_->CacheBytes(), 3 * (int64_t{300} << 10));
  }
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(Find("user" + std::to_string(i), kFlaky).at(0).plan, "plan " + std::to_string(i));
  }
}

TEST_F(UserLearningTest, ResetLeavesNone) {
  Add("ada", kFlaky, "a plan of that kind");
  Say("ada", "Ermintrude", EntityRole::kState, "tired");
  ASSERT_TRUE(
      learning_->LearnGuideline("ada", {.context = kFlaky, .text = "unusual rule", .delta = -1})
          .ok());
  Add("bob", kFlaky, "stays");
  EXPECT_EQ(learning_->Reset("ada").value(), 3);
  EXPECT_TRUE(Find("ada", kFlaky).empty());
  EXPECT_TRUE(learning_->ListEntities("ada", {}).value().empty());
  EXPECT_FALSE(learning_->AskGuidelines("ada", kFlaky).value().has_value());
  EXPECT_EQ(store_->Stats("ada").value().entries, 0);
  EXPECT_TRUE(Say("ada", "Bob", EntityRole::kState, "awake").created) << "epochs start again";
  Restart();
  EXPECT_TRUE(Find("ada", kFlaky).empty());
  EXPECT_EQ(Find("bob", kFlaky).size(), 1u);
  for (const char* gone : {"a plan of that kind", "Ermintrude", "unusual rule"}) {
    EXPECT_THAT(FilesWith(path_, gone), testing::IsEmpty()) << gone;
  }
}

TEST_F(UserLearningTest, ImportsAreSeenAtOnceAndJunkIsSkipped) {
  Add("ada", kFlaky, "pin the thread count");
  Say("ada", "Bob", EntityRole::kState, "tired");
  ASSERT_TRUE(learning_->LearnGuideline("ada", {.context = kFlaky, .text = "r", .delta = -1}).ok());
  std::string lines;
  ASSERT_TRUE(store_
                  ->Export("ada",
                           [&](std::string_view line) {
                             lines.append(line).push_back('\n');
                             return absl::OkStatus();
                           })
                  .ok());
  EXPECT_TRUE(Find("bob", kFlaky).empty());
  EXPECT_EQ(learning_->Import("bob", lines, 1).value().refused, 0);
  EXPECT_EQ(Find("bob", kFlaky).size(), 1u);
  EXPECT_EQ(learning_->ListEntities("bob", {}).value().size(), 1u);
  EXPECT_TRUE(learning_->AskGuidelines("bob", kFlaky).value().has_value());

  for (const RecordClass junk : {RecordClass::kCase, RecordClass::kGuideline}) {
    const MemoryRecord record = {.id = 7, .bytes = "no such thing"};
    ASSERT_TRUE(store_->PutRecords("eve", junk, std::span(&record, 1), Source::kUser).ok());
  }
  EXPECT_TRUE(Add("eve", kFlaky, "p").created);
  EXPECT_EQ(Find("eve", kFlaky).size(), 1u);
  EXPECT_FALSE(learning_->AskGuidelines("eve", kFlaky).value().has_value());
}

TEST_F(UserLearningTest, UsersRunBesideEachOther) {
  Restart({.users_max = 1});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      const std::string user = "user" + std::to_string(t % 2);
      for (int i = 0; i < 25; ++i) {
        Add(user, kFlaky, std::to_string(t) + " " + std::to_string(i));
        Find(user, kFlaky);
        Say(user, "thing " + std::to_string(t), EntityRole::kValue, std::to_string(i));
        learning_->CacheBytes();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Restart();
  for (const char* user : {"user0", "user1"}) {
    EXPECT_EQ(Find(user, kFlaky, 64).size(), 50u);
    EXPECT_EQ(learning_->ListEntities(user, {}).value().size(), 2u);
  }
}

TEST_F(UserLearningTest, BanksThatAreSwitchedOffAreNeitherReadNorWritten) {
  ASSERT_TRUE(Add("ada", kFlaky, "run it again").created);
  const NewGuideline rule = {.context = kFlaky, .text = "Ask first.", .delta = -0.5};
  ASSERT_TRUE(learning_->LearnGuideline("ada", rule).value().created);
  ASSERT_EQ(Find("ada", kLikeFlaky).size(), 1u);
  ASSERT_TRUE(learning_->AskGuidelines("ada", kFlaky).value().has_value());
  UserLearningOptions off;
  off.cases_enabled = off.guidelines_enabled = false;
  Restart(off);
  EXPECT_TRUE(Find("ada", kLikeFlaky).empty());
  EXPECT_FALSE(learning_->AskGuidelines("ada", kFlaky).value().has_value());
  const NewCase one = {.situation = kFlaky, .plan = "p", .tags = "", .outcome = 1};
  EXPECT_THAT(learning_->AddCases("ada", std::span(&one, 1)).status().message(),
              HasSubstr("episodic_cases.enabled"));
  EXPECT_THAT(learning_->LearnGuideline("ada", rule).status().message(),
              HasSubstr("meta_guidelines.enabled"));
  Restart();
  EXPECT_EQ(Find("ada", kLikeFlaky).size(), 1u) << "they were kept";
}

}  // namespace
}  // namespace chimera
