// Completions from which a user's memory learns, with the shipped model and a real store.
#include "cluster/session_learning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "memory/learned_memory.h"
#include "services/serving_testing.h"
#include "train/jobs_tokenizer.h"

namespace chimera {
namespace {

using ::testing::HasSubstr;

constexpr char kModel[] = CHIMERA_SOURCE_DIR "/models/nano";

// Dull at first, then names and things that no book has.
constexpr char kPrompt[] =
    "It was a fine day and he went into the house. She was in the room and he was in the hall. It "
    "was a fine day and they went out of the house. He said that it was so and she said that it "
    "was not so. Doctor Quillfeather keeps zxqv-1471 in the Wexmere vault under the brass owl. It "
    "was a fine day and he went into the house. She was in the room and he was in the hall. The "
    "clock of Saint Orban struck thirteen when Tamsin Brandvold counted her eleven bees. It was a "
    "fine day and they went out of the house, and he said";

class SessionLearningTest : public ::testing::Test {
 protected:
  SessionLearningTest() {
    path_ = ::testing::TempDir() + "/session_learning_" + std::to_string(::getpid());
    std::filesystem::remove_all(path_);
    LocalMemoryOptions options;
    options.path = path_;
    options.tokenizer = LoadTokenizerFile(std::string(kModel) + "/tokenizer.model", 0).value();
    store_ = LocalMemory::Open(options).value();
    learning_ = std::make_unique<UserLearning>(store_.get());
    memory_ = std::make_unique<LearnedMemory>(store_.get(), learning_.get());
    ServingOptions serving;
    serving.memory = memory_.get();
    serving.learn = true;
    serving_ = std::make_unique<Serving>(kModel, serving);
  }
  ~SessionLearningTest() override {
    serving_.reset();
    memory_.reset();
    learning_.reset();
    store_.reset();
    std::filesystem::remove_all(path_);
  }

  surface::v1::CompleteRequest Request(const std::string& user) const {
    surface::v1::CompleteRequest request = SeededRequest(3, 40);
    request.set_prompt(kPrompt);
    request.set_user(user);
    return request;
  }
  // Facts of the user once the completions before have been learned from.
  std::vector<std::string> FactsOf(const std::string& user) {
    while (serving_->surface->learning() > 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    std::vector<std::string> texts;
    const auto facts = memory_->Recall(user, kPrompt, 64);
    for (const RecalledFact& fact : facts.value()) texts.push_back(fact.text);
    return texts;
  }

  std::string path_;
  std::unique_ptr<LocalMemory> store_;
  std::unique_ptr<UserLearning> learning_;
  std::unique_ptr<LearnedMemory> memory_;
  std::unique_ptr<Serving> serving_;
};

TEST_F(SessionLearningTest, WhatSurprisesInAPromptIsWrittenDownForThatUser) {
  const Completion told = serving_->Complete(Request("ada"));
  ASSERT_TRUE(told.status.ok()) << told.status.error_message();
  const std::vector<std::string> facts = FactsOf("ada");
  ASSERT_FALSE(facts.empty());
  for (const std::string& fact : facts) EXPECT_THAT(kPrompt, HasSubstr(fact));
  EXPECT_TRUE(FactsOf("bob").empty());
  EXPECT_THAT(serving_->metrics.Text(),
              HasSubstr("chimera_sessions_learned_total{outcome=\"learned\"} 1"));
  // Whoever does not want it says so.
  surface::v1::CompleteRequest request = Request("carol");
  request.set_learn(false);
  ASSERT_TRUE(serving_->Complete(request).status.ok());
  EXPECT_TRUE(FactsOf("carol").empty());
}

TEST_F(SessionLearningTest, LearningChangesNoTextAndTheRemoteKnotTellsTheSame) {
  surface::v1::CompleteRequest request = Request("ada");
  request.set_learn(false);
  const std::string text = serving_->Complete(request).text;
  request.set_learn(true);
  EXPECT_EQ(serving_->Complete(request).text, text);
  const std::vector<std::string> over_the_wire = FactsOf("ada");
  ServingOptions here;
  here.memory = memory_.get();
  here.learn = true;
  here.remote_knot = false;
  serving_ = std::make_unique<Serving>(kModel, here);
  ASSERT_TRUE(serving_->Complete(Request("bob")).status.ok());
  EXPECT_EQ(FactsOf("bob"), over_the_wire);
}

TEST_F(SessionLearningTest, ARecalledFactIsEvaluatedByTheModel) {
  // Facts about the prompt's people, until one belongs to the sample that is evaluated.
  std::string fact, id;
  for (int n = 0; n < 100 && id.empty(); ++n) {
    fact = "Doctor Quillfeather keeps zxqv-1471 in the Wexmere vault under the brass owl, case " +
           std::to_string(n) + ".";
    LearnBatch batch;
    for (int i = 0; i < 40; ++i) batch.tokens.push_back({.text = " so.", .surprise = 1});
    for (ReadToken& token : batch.tokens) token.offered = true;
    batch.tokens.push_back({.text = fact, .surprise = 9, .offered = true});
    ASSERT_TRUE(memory_->Learn("ada", batch).ok());
    const RecalledFact found = memory_->Recall("ada", fact, 1).value().at(0);
    ASSERT_EQ(found.text, fact);
    if (found.evaluate) {
      id = found.fact_id;
    } else {
      ASSERT_EQ(memory_->Forget("ada", found.fact_id).value(), 1);
    }
  }
  ASSERT_FALSE(id.empty());
  surface::v1::CompleteRequest request = SeededRequest(3, 8);
  request.set_user("ada");
  request.set_prompt("Tell me again: Doctor Quillfeather keeps zxqv-1471 in the Wexmere vault");
  ASSERT_TRUE(serving_->Complete(request).status.ok());
  FactsOf("ada");
  EXPECT_EQ(learning_->Figures().evaluated, 1);
  const RecalledFact now = memory_->Recall("ada", fact, 1).value().at(0);
  EXPECT_EQ(now.fact_id, id);
  EXPECT_GT(now.weight, 0) << "the text repeats it";
}

}  // namespace
}  // namespace chimera
