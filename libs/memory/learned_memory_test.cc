#include "memory/learned_memory.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "gmock/gmock.h"
#include "memory/test_store.h"

namespace chimera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// "Number 17 on the list is the green kettle.": no two are alike.
std::string Sentence(int n) {
  static constexpr const char* kWhat[] = {"kettle", "lantern", "violin", "compass", "ladder",
                                          "teapot", "mirror",  "saddle", "anchor",  "whistle"};
  static constexpr const char* kColour[] = {"green", "yellow", "purple", "brown", "scarlet"};
  return absl::StrCat("Number ", n, " on the list is the ", kColour[n % 5], " ", kWhat[n / 5 % 10],
                      " of cousin ", n * 7919 % 1000, ".");
}

class LearnedMemoryTest : public StoreTest {
 protected:
  LearnedMemoryTest() {
    options_.evolution.pool = {.facts_max = 256, .batch_max = 4, .seed = 3};
    Start(MustOpen(Options()));
  }
  ~LearnedMemoryTest() override { Stop(); }
  void Stop() {
    memory_.reset();
    learning_.reset();
    store_.reset();
  }
  void Start(std::unique_ptr<LocalMemory> store) {
    store_ = std::move(store);
    learning_ = std::make_unique<UserLearning>(store_.get(), options_);
    memory_ = std::make_unique<LearnedMemory>(store_.get(), learning_.get());
  }
  void Restart() {
    Stop();
    Start(Reopen());
  }

  // A dull sentence, then one that surprises.
  static void Read(const std::string& sentence, bool offered, LearnBatch* batch) {
    for (int i = 0; i < 32; ++i) {
      batch->tokens.push_back({.text = i == 31 ? ". " : " dull",
                               .surprise = 1.0f + 0.01f * static_cast<float>(i % 3),
                               .offered = offered});
    }
    bool first = true;
    for (const auto word : absl::StrSplit(sentence, ' ')) {
      batch->tokens.push_back({.text = absl::StrCat(first ? "" : " ", word),
                               .surprise = first ? 9.0f : 1.0f,
                               .offered = offered});
      first = false;
    }
  }
  LearnReport MustLearn(const LearnBatch& batch, const std::string& user = "ada") {
    const auto report = memory_->Learn(user, batch);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : LearnReport();
  }
  LearnReport LearnSentence(int n) {
    LearnBatch batch;
    Read(Sentence(n), true, &batch);
    return MustLearn(batch);
  }
  FactEvaluation EvaluationOf(const std::string& fact_id, double delta,
                              const std::string& context) const {
    return {.fact_id = fact_id,
            .nll_with = 128.0 - 64 * delta,
            .nll_without = 128.0,
            .tokens = 64,
            .context = context};
  }
  std::vector<RecalledFact> Recall(const std::string& query, const std::string& user = "ada") {
    return memory_->Recall(user, query, 1).value();
  }
  // By text, everything the user's memory answers with.
  std::map<std::string, float> All() {
    std::map<std::string, float> all;
    for (int n = 0; n < 400; ++n) {
      for (const RecalledFact& fact : Recall(Sentence(n))) all[fact.text] = fact.weight;
    }
    return all;
  }
  // Sentences that help, until a state with all of them is trusted; returns the facts evaluated.
  std::vector<std::string> LearnWell(int* next) {
    std::vector<std::string> ids;
    while (ids.size() < 6 && *next < 200) {
      LearnSentence(*next);
      const std::vector<RecalledFact> facts = Recall(Sentence((*next)++));
      if (!facts.empty() && facts[0].evaluate) ids.push_back(facts[0].fact_id);
    }
    EXPECT_EQ(ids.size(), 6u);
    for (size_t i = 0; i < 140; ++i) {  // two windows: one makes the candidate, one trusts it
      LearnBatch batch;
      Read("Nothing to see here, my friend.", false, &batch);
      batch.evaluations.push_back(EvaluationOf(ids[i % ids.size()], 0.2, "here"));
      EXPECT_EQ(MustLearn(batch).evaluated, 1);
    }
    return ids;
  }
  static std::vector<std::string> TextsOf(const std::map<std::string, float>& facts) {
    std::vector<std::string> texts;
    for (const auto& [text, weight] : facts) texts.push_back(text);
    return texts;
  }
  std::string StateFolder(const std::string& user = "ada") const {
    return path_ + "/learning/user-" + user;
  }

  UserLearningOptions options_;
  std::unique_ptr<LocalMemory> store_;
  std::unique_ptr<UserLearning> learning_;
  std::unique_ptr<LearnedMemory> memory_;
};

TEST_F(LearnedMemoryTest, WhatSurprisedInTheUsersWordsIsWrittenDown) {
  const LearnReport report = LearnSentence(1);
  EXPECT_EQ(report.written, 1);
  EXPECT_EQ(report.state, EvolutionState::kNormal);
  const std::vector<RecalledFact> facts = Recall(Sentence(1));
  ASSERT_EQ(facts.size(), 1u);
  EXPECT_EQ(facts[0].text, Sentence(1));
  EXPECT_EQ(facts[0].source, Source::kInferred);
  EXPECT_TRUE(facts[0].uncertain);
  EXPECT_EQ(facts[0].evaluate, IsEvaluated(ContrastiveOptions(), FactIdFromHex(facts[0].fact_id)));
  EXPECT_EQ(LearnSentence(1).written, 0) << "it is there";
  LearnBatch own;  // what the model wrote itself
  Read(Sentence(2), false, &own);
  EXPECT_EQ(MustLearn(own).written, 0);
  EXPECT_THAT(Recall(Sentence(1), "bob"), IsEmpty());
  Restart();
  EXPECT_EQ(Recall(Sentence(1)).at(0).text, Sentence(1));
}

TEST_F(LearnedMemoryTest, DullTextIsNotWrittenDown) {
  LearnBatch batch;
  Read(Sentence(1), true, &batch);
  for (ReadToken& token : batch.tokens) token.surprise = 1;
  EXPECT_EQ(MustLearn(batch).written, 0);
}

TEST_F(LearnedMemoryTest, SwitchedOffNothingIsWrittenDown) {
  Stop();
  options_.evolution.memory_growth = false;
  Start(Reopen());
  EXPECT_EQ(LearnSentence(1).written, 0);
}

TEST_F(LearnedMemoryTest, APoisonedWriterIsFrozenAndTheGoodStateComesBack) {
  ASSERT_TRUE(memory_->Remember("ada", "the kettle is on the left").ok());
  int next = 0;
  const std::vector<std::string> evaluated = LearnWell(&next);
  const auto good = All();
  const auto good_case = NewCase{
      .situation = "the parser test fails", .plan = "run it again", .tags = "", .outcome = 0.9};

  // The poison: sentences that do harm, and a case that a rollback has to take back.
  ASSERT_TRUE(learning_->AddCases("ada", std::span(&good_case, 1)).ok());
  const int first_bad = next;
  LearnReport report;
  int64_t harm = 0, tokens_since_64th = 0;
  while (report.rollbacks == 0 && next < 399) {
    LearnBatch batch;
    Read(Sentence(next++), true, &batch);
    if (harm >= kMonitoredEvaluations) tokens_since_64th += int64_t(batch.tokens.size());
    report = MustLearn(batch);
    for (const std::string& id : evaluated) {
      if (report.rollbacks > 0) break;
      LearnBatch bad;
      bad.evaluations.push_back(EvaluationOf(id, -0.5, "a poisoned context"));
      report = MustLearn(bad);
      harm += report.evaluated;
    }
  }
  EXPECT_EQ(report.rollbacks, 1);
  EXPECT_EQ(report.state, EvolutionState::kProbation);
  EXPECT_EQ(report.reason, FreezeReason::kContrast);
  EXPECT_GT(next, first_bad);
  EXPECT_LE(harm, kMonitoredEvaluations);
  EXPECT_LE(tokens_since_64th, 256);
  // Not more facts and not less, and those that were made worse have their worth again.
  const auto after = All();
  EXPECT_EQ(TextsOf(after), TextsOf(good));
  for (const auto& [text, weight] : after) EXPECT_GE(weight, 0) << text;
  const std::string situation = good_case.situation;
  EXPECT_THAT(learning_->FindCases("ada", std::span(&situation, 1), 4).value().at(0), IsEmpty());
  EXPECT_FALSE(learning_->AskGuidelines("ada", "a poisoned context").value().has_value());
  EXPECT_EQ(learning_->Figures().users_held_back, 1);
  EXPECT_EQ(Recall("the kettle is on the left").at(0).source, Source::kUser);
  Restart();
  EXPECT_EQ(All(), after);
  // On probation one write in eight is let through.
  int admitted = 0;
  for (int i = 0; i < 16; ++i) {
    const NewCase one = {
        .situation = absl::StrCat("situation ", i), .plan = "p", .tags = "", .outcome = 1};
    const auto added = learning_->AddCases("ada", std::span(&one, 1));
    admitted += added.ok();
    if (added.ok()) continue;
    EXPECT_THAT(added.status().message(), HasSubstr("probation"));
  }
  EXPECT_EQ(admitted, 2);
}

TEST_F(LearnedMemoryTest, FailuresFreezeAtOnceAndTwiceForGood) {
  LearnBatch failing;
  for (int i = 0; i < 64; ++i) failing.tokens.push_back({.surprise = 1, .failed = true});
  const LearnReport first = MustLearn(failing);
  EXPECT_EQ(first.reason, FreezeReason::kFailures);
  EXPECT_EQ(first.state, EvolutionState::kOff);
  EXPECT_EQ(first.rollbacks, 2) << "from normal and, as more came, from probation";
  EXPECT_EQ(LearnSentence(1).written, 0);
  Restart();
  EXPECT_EQ(LearnSentence(1).written, 0);
  ASSERT_TRUE(memory_->Reset("ada").ok());
  EXPECT_EQ(LearnSentence(1).written, 1);
}

TEST_F(LearnedMemoryTest, HarmTeachesAGuidelineThatIsObeyed) {
  int n = 0;
  while (LearnSentence(n).written == 0 || !Recall(Sentence(n)).at(0).evaluate) ++n;
  const std::string id = Recall(Sentence(n)).at(0).fact_id;
  LearnBatch batch;
  batch.evaluations.push_back(EvaluationOf(id, -0.5, Sentence(n)));
  const LearnReport report = MustLearn(batch);
  EXPECT_EQ(report.guidelines, 1);
  EXPECT_EQ(report.rejected, 0) << "one trial of three";
  EXPECT_THAT(Recall(Sentence(n)), IsEmpty()) << "the guideline says to leave it out";
  EXPECT_EQ(store_->Recall("ada", Sentence(n), 1).value().at(0).fact_id, id) << "it is there";
  // Without guidelines it is used: the ablation.
  Stop();
  options_.guidelines_enabled = false;
  Start(Reopen());
  EXPECT_EQ(Recall(Sentence(n)).at(0).fact_id, id);
  EXPECT_LT(Recall(Sentence(n)).at(0).weight, 0);
  MustLearn(batch);
  EXPECT_EQ(MustLearn(batch).rejected, 1);
  for (const RecalledFact& fact : Recall(Sentence(n))) EXPECT_NE(fact.fact_id, id);
}

TEST_F(LearnedMemoryTest, AUserMayForgetAndSayWhatTheMachineWrote) {
  LearnSentence(1);
  LearnSentence(2);
  EXPECT_EQ(memory_->Forget("ada", Recall(Sentence(1)).at(0).fact_id).value(), 1);
  ASSERT_TRUE(memory_->Remember("ada", Sentence(2)).ok());
  const RecalledFact said = Recall(Sentence(2)).at(0);
  EXPECT_EQ(said.source, Source::kUser);
  EXPECT_FALSE(said.uncertain || said.evaluate);
  Restart();
  EXPECT_NE(Recall(Sentence(1)).at(0).text, Sentence(1));
  EXPECT_EQ(Recall(Sentence(2)).at(0).source, Source::kUser);
  EXPECT_EQ(LearnSentence(2).written, 0);
}

TEST_F(LearnedMemoryTest, ResetLeavesNothing) {
  LearnSentence(1);
  ASSERT_TRUE(std::filesystem::exists(StateFolder()));
  EXPECT_GE(memory_->Reset("ada").value(), 1);
  EXPECT_FALSE(std::filesystem::exists(StateFolder()));
  EXPECT_THAT(Recall(Sentence(1)), IsEmpty());
  Stop();
  EXPECT_THAT(FilesWith(path_, "on the list"), IsEmpty());
  Start(Reopen());
  EXPECT_EQ(LearnSentence(1).written, 1);
}

TEST_F(LearnedMemoryTest, ARestoredBackupKeepsTheFacts) {
  LearnSentence(1);
  LearnSentence(2);
  const std::string folder = path_ + "_backups", restored = path_ + "_restored";
  std::filesystem::remove_all(folder);
  std::filesystem::remove_all(restored);
  ASSERT_TRUE(memory_->Backup(folder, 1).ok());
  const auto before = All();
  Stop();
  ASSERT_TRUE(RestoreMemory(folder, restored).ok());
  Start(MustOpen({.path = restored}));
  EXPECT_EQ(All(), before);
  EXPECT_EQ(LearnSentence(3).written, 1);
  EXPECT_EQ(All().size(), before.size() + 1);
  Stop();
  std::filesystem::remove_all(folder);
  std::filesystem::remove_all(restored);
}

TEST_F(LearnedMemoryTest, ExportedFactsAreImportedAsPlainOnes) {
  LearnSentence(1);
  std::string lines;
  ASSERT_TRUE(memory_
                  ->Export("ada",
                           [&lines](std::string_view line) {
                             lines.append(line).push_back('\n');
                             return absl::OkStatus();
                           })
                  .ok());
  EXPECT_EQ(memory_->Import("bob", lines, 1).value().imported, 1);
  LearnBatch batch;
  Read(Sentence(2), true, &batch);
  EXPECT_EQ(MustLearn(batch, "bob").written, 1);
  const RecalledFact fact = Recall(Sentence(1), "bob").at(0);
  EXPECT_EQ(fact.text, Sentence(1));
  EXPECT_EQ(fact.tags, 0u);
  EXPECT_FALSE(fact.evaluate);
}

TEST_F(LearnedMemoryTest, ADamagedStateLeavesOutWhatWasLearnedAndNothingElse) {
  LearnSentence(1);
  ASSERT_TRUE(memory_->Remember("ada", "the kettle is on the left").ok());
  Stop();
  ASSERT_TRUE(WriteFileAtomic(StateFolder() + "/" + options_.state_file, "nonsense").ok());
  Start(Reopen());
  EXPECT_EQ(Recall("the kettle is on the left").size(), 1u);
  EXPECT_THAT(store_->Recall("ada", Sentence(1), 1).value().at(0).text, Sentence(1));
  std::vector<std::string> texts;
  const auto left = memory_->Recall("ada", Sentence(1), 8);
  for (const RecalledFact& fact : left.value()) texts.push_back(fact.text);
  EXPECT_THAT(texts, ElementsAre("the kettle is on the left"));
  LearnBatch batch;
  Read(Sentence(2), true, &batch);
  EXPECT_FALSE(memory_->Learn("ada", batch).ok());
  ASSERT_TRUE(memory_->Reset("ada").ok());
  EXPECT_EQ(MustLearn(batch).written, 1);
}

TEST_F(LearnedMemoryTest, ClientsMayNotSetTheTagAndUsersMayBeSwitchedOff) {
  NewFact fact = Fact("the kettle is on the left", Source::kInferred);
  fact.tags = kEvolvedTag;
  EXPECT_THAT(RememberFact(memory_.get(), "ada", fact).status().message(), HasSubstr("bit 31"));
  Stop();
  options_.user_store = false;
  Start(Reopen());
  EXPECT_THAT(memory_->Remember("ada", "a fact").status().message(),
              HasSubstr("user_explicit_store"));
  EXPECT_TRUE(RememberFact(memory_.get(), "ada", Fact("a fact", Source::kInferred)).ok());
}

TEST_F(LearnedMemoryTest, HostileBatchesAreRefusedByName) {
  const auto refused = [this](const LearnBatch& batch) {
    return std::string(memory_->Learn("ada", batch).status().message());
  };
  EXPECT_THAT(refused({}), HasSubstr("nothing to learn"));
  LearnBatch batch;
  batch.tokens.resize(kReadTokensMax + 1);
  EXPECT_THAT(refused(batch), HasSubstr("32769 tokens"));
  batch.tokens = {{.surprise = -1}};
  EXPECT_THAT(refused(batch), HasSubstr("token 0: surprise -1"));
  batch.tokens = {{.text = std::string(kReadTokenBytesMax + 1, 'x')}};
  EXPECT_THAT(refused(batch), HasSubstr("token 0 has 1025 bytes"));
  batch.tokens.clear();
  batch.evaluations = {EvaluationOf("xyz", 0, "context")};
  EXPECT_THAT(refused(batch), HasSubstr("fact id"));
  batch.evaluations = {EvaluationOf("0123456789abcdef", 0, "context")};
  EXPECT_EQ(MustLearn(batch).evaluated, 0) << "there is no such fact";
  batch.evaluations[0].tokens = 0;
  EXPECT_NE(refused(batch), "");
}

}  // namespace
}  // namespace chimera
