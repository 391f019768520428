// What a user was told to remember makes its continuation likelier in a later session of the same
// user, and of nobody else (FEATURES M10, H8).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include "base/philox.h"
#include "cluster/memory_reader.h"
#include "decode/memory_track.h"
#include "memory/rocksdb_store.h"
#include "services/serving_testing.h"
#include "train/jobs_tokenizer.h"

namespace chimera {
namespace {

using ::testing::HasSubstr;

struct Told {
  std::string prompt, continuation;
  std::string fact() const { return prompt + continuation; }
};

// "Edith Marlowe keeps the brass key in the orchard.": no two have the same person.
std::vector<Told> Facts(int n) {
  static constexpr const char* kFirst[] = {"Edith", "Walter", "Clara", "Hugh",   "Maud",
                                           "Silas", "Agnes",  "Oscar", "Winnie", "Jasper"};
  static constexpr const char* kLast[] = {"Marlowe",  "Pettigrew", "Blackwood", "Ashdown",
                                          "Farleigh", "Quimby",    "Thornton",  "Wycliffe",
                                          "Holloway", "Prewitt"};
  static constexpr const char* kDoes[] = {"keeps the brass key in", "was born in", "lives in",
                                          "hid the letters in", "was last seen in"};
  static constexpr const char* kWhere[] = {
      "the orchard", "Tavistock", "a house by the mill", "the north tower",  "Lisbon",
      "the library", "Norwich",   "the old boat house",  "a garret in Rome", "the chapel"};
  std::vector<Told> facts;
  for (int i = 0; i < n; ++i) {
    const PhiloxBlock draw = Philox4x32({uint32_t(i), 0, 0, 0}, 7, 0);
    // Ten first names, ten last names and two middle letters are all different people.
    const std::string middle = i < 100 ? "" : std::string(" ") + static_cast<char>('A' + i / 100);
    facts.push_back({std::string(kFirst[i % 10]) + middle + " " + kLast[i / 10 % 10] + " " +
                         kDoes[draw[0] % std::size(kDoes)],
                     std::string(" ") + kWhere[draw[1] % std::size(kWhere)] + "."});
  }
  return facts;
}

// Nothing is read while these texts grow.
class NoView final : public MemoryView {
 public:
  void Issue(int64_t, std::string) override {}
  absl::StatusOr<std::vector<RecalledText>> Collect(int64_t) override {
    return absl::UnavailableError("no view");
  }
};

class MemoryUse : public ::testing::Test {
 protected:
  MemoryUse() {
    path_ = ::testing::TempDir() + "/memory_use_" + std::to_string(::getpid());
    std::filesystem::remove_all(path_);
    LocalMemoryOptions options;
    options.path = path_;
    options.tokenizer =
        LoadTokenizerFile(CHIMERA_SOURCE_DIR "/models/nano/tokenizer.model", 0).value();
    store_ = LocalMemory::Open(options).value();
    ServingOptions serving;
    serving.memory = store_.get();
    serving_ = std::make_unique<Serving>(CHIMERA_SOURCE_DIR "/models/nano", serving);
  }
  ~MemoryUse() override {
    serving_.reset();
    store_.reset();
    std::filesystem::remove_all(path_);
  }

  struct Logprobs {
    double model = 0;    // of the network, which has read the recalled facts
    double session = 0;  // of what a session draws from: with the weights of facts it repeats
    size_t facts = 0;    // recalled
  };

  // Of the continuation's tokens behind the prompt and what the user's memory has for it, as a
  // session of that user would run them.
  Logprobs Of(const Told& told, const std::string& user, const std::string& but = "") {
    std::vector<RecalledText> facts;
    if (!user.empty()) facts = RecallForPrompt(store_.get(), user, told.prompt).value();
    std::erase_if(facts, [&](const RecalledText& fact) { return fact.text == but; });
    const Tokenizer& tokenizer = store_->tokenizer();
    std::vector<int32_t> tokens = {tokenizer.eot()};
    tokenizer.EncodeAppend(PromptWithFacts(told.prompt, facts), &tokens);
    const size_t prompt = tokens.size();
    tokenizer.EncodeAppend(told.continuation, &tokens);
    MemoryTrack track(std::make_unique<NoView>(), TokenizerOfStore(), facts);
    VerifyRequest request;
    request.transform.rows_max = 64;
    request.fields = track.fields();
    for (size_t i = 0; i + 1 < tokens.size(); ++i) {
      VerifyNode& node = request.nodes.emplace_back();
      node.parent = static_cast<int32_t>(i) - 1;
      node.token_id = tokens[i];
      node.want_distribution = i + 1 >= prompt;
      if (node.want_distribution) track.Weigh(std::span(&tokens[i], 1), &node);
      track.Ran(std::span(&tokens[i], 1));
    }
    auto stream = serving_->local->Open("", 0, 0).value();
    const VerifyResult result = stream->Verify(request).value();
    Logprobs sum = {.facts = facts.size()};
    for (NodeDistribution all : result.distributions) {
      const int32_t token = tokens[static_cast<size_t>(all.node) + 1];
      auto at = std::ranges::find(all.token_ids, token);
      while (at == all.token_ids.end() &&
             static_cast<int>(all.token_ids.size()) < all.allowed_rows) {
        const auto held = static_cast<int>(all.token_ids.size());
        const NodeDistribution more =
            stream->MoreRows(all.node, held, std::min(kRowsMax, all.allowed_rows - held)).value();
        all.token_ids.insert(all.token_ids.end(), more.token_ids.begin(), more.token_ids.end());
        all.logits.insert(all.logits.end(), more.logits.begin(), more.logits.end());
        all.raw_logits.insert(all.raw_logits.end(), more.raw_logits.begin(), more.raw_logits.end());
        at = std::ranges::find(all.token_ids, token);
      }
      const auto row = static_cast<size_t>(at - all.token_ids.begin());
      EXPECT_LT(row, all.token_ids.size());
      sum.model += static_cast<double>(all.raw_logits[row] - all.raw_log_sum_exp);
      sum.session += static_cast<double>(all.logits[row] - all.log_sum_exp);
    }
    return sum;
  }

  std::shared_ptr<const Tokenizer> TokenizerOfStore() const {
    return {std::shared_ptr<const Tokenizer>(), &store_->tokenizer()};
  }

  std::string path_;
  std::unique_ptr<LocalMemory> store_;
  std::unique_ptr<Serving> serving_;
};

// Sign test: 200 fair coins show 119 heads or more once in 200 times.
constexpr int kFacts = 200, kRisesMin = 119;

TEST_F(MemoryUse, WhatAUserWasToldIsLikelierForThatUserOnly) {
  const std::vector<Told> facts = Facts(kFacts);
  std::vector<Logprobs> before;
  for (const Told& told : facts) {
    before.push_back(Of(told, ""));
    // The network's mass has that of specials, too.
    EXPECT_NEAR(before.back().model, before.back().session, 0.01);
    ASSERT_TRUE(store_->Remember("ada", told.fact()).ok());
  }
  int model_rises = 0, session_rises = 0, session_rises_by_it = 0;
  double model_gain = 0, session_gain = 0;
  for (size_t i = 0; i < facts.size(); ++i) {
    const Logprobs now = Of(facts[i], "ada");
    ASSERT_GT(now.facts, 0u);
    model_rises += now.model > before[i].model;
    session_rises += now.session > before[i].session;
    model_gain += (now.model - before[i].model) / kFacts;
    session_gain += (now.session - before[i].session) / kFacts;
    if (i % 4 != 0) continue;
    // Somebody who was told everything but this.
    session_rises_by_it += now.session > Of(facts[i], "ada", facts[i].fact()).session;
    if (i % 20 != 0) continue;
    const Logprobs stranger = Of(facts[i], "bob");
    EXPECT_EQ(stranger.facts, 0u);
    EXPECT_EQ(stranger.session, before[i].session) << "bob was told nothing";
  }
  std::cout << "model: " << model_rises << " of " << kFacts << " rise, mean gain " << model_gain
            << " nats; session: " << session_rises << ", " << session_gain << " nats, "
            << session_rises_by_it << " of 50 by the fact itself\n";
  EXPECT_GT(model_gain, 0);
  EXPECT_GE(model_rises, kRisesMin);
  EXPECT_GT(session_gain, model_gain);
  EXPECT_GE(session_rises, kRisesMin);
  EXPECT_GE(session_rises_by_it, 34) << "the same test for 50";
}

TEST_F(MemoryUse, AStreamReadsAgainAsTheTextGrows) {
  ASSERT_TRUE(store_->Remember("ada", "the quiet house stood at the end of the lane").ok());
  surface::v1::CompleteRequest request = SeededRequest(3, 100);
  request.set_user("ada");
  const Completion told = serving_->Complete(request);
  ASSERT_TRUE(told.status.ok()) << told.status.error_message();
  EXPECT_EQ(told.started.memory().facts_size(), 1);
  EXPECT_EQ(told.started.memory().fault(), "");
  ASSERT_GE(told.memory_reads.size(), 2u);
  for (size_t i = 0; i < told.memory_reads.size(); ++i) {
    EXPECT_EQ(told.memory_reads[i].position() % 16, 0);
    EXPECT_EQ(told.memory_reads[i].missed(), "");
  }
  EXPECT_EQ(told.finished.memory().reads_used(), int(told.memory_reads.size()));
  EXPECT_EQ(serving_->Complete(request).text, told.text) << "one seed, one text";
  request.set_user("");
  const Completion plain = serving_->Complete(request);
  EXPECT_FALSE(plain.started.has_memory());
  EXPECT_LT(plain.started.prompt_tokens(), told.started.prompt_tokens());
}

// A memory that is down.
class DeadMemory final : public Memory {
 public:
  absl::StatusOr<std::vector<std::vector<RecalledFact>>> Recall(const std::string&,
                                                                std::span<const std::string>,
                                                                const RecallOptions&) override {
    return absl::UnavailableError("the store is down");
  }
};

TEST(MemoryUseFaults, AStreamGoesOnWithoutTheStoreAndSaysSo) {
  DeadMemory dead;
  ServingOptions options;
  options.memory = &dead;
  Serving serving(CHIMERA_SOURCE_DIR "/models/nano", options);
  surface::v1::CompleteRequest request = SeededRequest(3, 100);
  const Completion plain = serving.Complete(request);
  request.set_user("ada");
  const Completion told = serving.Complete(request);
  ASSERT_TRUE(told.status.ok()) << told.status.error_message();
  EXPECT_EQ(told.text, plain.text);
  EXPECT_THAT(told.started.memory().fault(), HasSubstr("the store is down"));
  ASSERT_FALSE(told.memory_reads.empty());
  EXPECT_THAT(told.memory_reads[0].missed(), HasSubstr("the store is down"));
  EXPECT_EQ(told.finished.memory().reads_missed(), int(told.memory_reads.size()));
}

TEST(MemoryUseFaults, UsersNeedAMemoryAndAName) {
  const std::string model = CHIMERA_SOURCE_DIR "/models/nano";
  surface::v1::CompleteRequest request = SeededRequest(3, 4);
  request.set_user("ada");
  EXPECT_EQ(Serving(model, {}).Complete(request).status.error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  DeadMemory dead;
  ServingOptions options;
  options.memory = &dead;
  request.set_user("../ada");
  EXPECT_EQ(Serving(model, options).Complete(request).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(PromptWithFacts, HoldsWhatIsCertainNearestLast) {
  const std::vector<RecalledText> facts = {
      {.text = "near"}, {.text = "unsure", .uncertain = true}, {.text = "far"}};
  EXPECT_EQ(PromptWithFacts("Q", facts), "far near Q");
  EXPECT_EQ(PromptWithFacts("Q", {}), "Q");
  EXPECT_EQ(PromptWithFacts("Q", {{.text = std::string(kContextBytesMax, 'x')}}), "Q");
}

}  // namespace
}  // namespace chimera
