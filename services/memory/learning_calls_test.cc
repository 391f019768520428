// Cases, guidelines and entities over a real store and a real socket.
#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "chimera/memory/v1/memory.grpc.pb.h"
#include "cluster/channel.h"
#include "cluster/remote_learning.h"
#include "cluster/remote_memory.h"
#include "cluster/server.h"
#include "memory/learned_memory.h"
#include "memory/rocksdb_store.h"
#include "services/memory/service.h"
#include "services/memory/store_metrics.h"
#include "train/jobs_tokenizer.h"

namespace chimera {
namespace {

namespace pb = memory::v1;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kSlow[] = "the build of the parser is slow on the machine with two cores";
constexpr char kLikeSlow[] = "a build of the parser is slow on a machine with two cores";

class LearningServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = ::testing::TempDir() + "/learning_" + info->name() + "_" + std::to_string(::getpid());
    std::filesystem::remove_all(path_);
    Start();
  }
  void TearDown() override {
    Stop();
    std::filesystem::remove_all(path_);
  }
  void Start() {
    LocalMemoryOptions options;
    options.path = path_;
    options.tokenizer =
        LoadTokenizerFile(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/o200k_8192.tiktoken",
                          4096)
            .value();
    store_ = LocalMemory::Open(options).value();
    learning_ = std::make_unique<UserLearning>(store_.get());
    learned_memory_ = std::make_unique<LearnedMemory>(store_.get(), learning_.get());
    MemoryServiceOptions service;
    service.text_bytes_max = 1000;
    service_ = std::make_unique<MemoryServer>(learned_memory_.get(), service, learning_.get());
    server_ = Server::Start({}, service_->service(), "chimera.memory.v1.MemoryService").value();
    memory_ = std::make_unique<RemoteMemory>(RemoteMemoryOptions{server_->address()});
    remote_ = std::make_unique<RemoteLearning>(RemoteMemoryOptions{server_->address()});
  }
  void Stop() {
    remote_.reset();
    memory_.reset();
    server_.reset();
    service_.reset();
    learned_memory_.reset();
    learning_.reset();
    store_.reset();
  }
  std::vector<FoundCase> Find(const std::string& user, const std::string& situation) {
    return remote_->FindCases(user, std::span(&situation, 1), 4).value().at(0);
  }
  void LearnOfEach(const std::string& user) {
    const NewCase one = {.situation = kSlow, .plan = "use a cache", .tags = "ci", .outcome = 1};
    ASSERT_TRUE(remote_->AddCases(user, std::span(&one, 1)).ok());
    ASSERT_TRUE(remote_
                    ->LearnGuideline(user, {.context = kSlow,
                                            .action = GuidelineAction::kForceGrammar,
                                            .text = "Say it in JSON.",
                                            .delta = -0.2})
                    .ok());
    const std::vector<EntityStatement> said = {
        {.name = "Eve", .role = EntityRole::kGender, .filler = "female"},
        {.name = "Bob", .role = EntityRole::kGender, .filler = "male"}};
    ASSERT_TRUE(remote_->SetEntities(user, said).ok());
  }
  void ExpectNothing(const std::string& user) {
    EXPECT_THAT(Find(user, kSlow), IsEmpty());
    EXPECT_FALSE(remote_->AskGuidelines(user, kSlow).value().has_value());
    EXPECT_THAT(remote_->ListEntities(user, {}).value(), IsEmpty());
  }

  std::string path_;
  std::unique_ptr<LocalMemory> store_;
  std::unique_ptr<UserLearning> learning_;
  std::unique_ptr<LearnedMemory> learned_memory_;
  std::unique_ptr<MemoryServer> service_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<RemoteMemory> memory_;
  std::unique_ptr<RemoteLearning> remote_;
};

TEST_F(LearningServiceTest, RewardRaisesACaseAndARestartKeepsIt) {
  const std::vector<NewCase> cases = {
      {.situation = kSlow, .plan = "wait", .tags = "ci", .outcome = 0.8},
      {.situation = kSlow, .plan = "use a cache", .tags = "ci", .outcome = 0.8},
      {.situation = kSlow, .plan = "shrug", .outcome = 0.5}};
  const std::vector<AddedCase> added = remote_->AddCases("ada", cases).value();
  ASSERT_THAT(added, SizeIs(3));
  EXPECT_TRUE(added[0].created && added[1].created);
  EXPECT_FALSE(added[2].created);
  double before = 0;
  for (const FoundCase& one : Find("ada", kLikeSlow)) {
    if (one.plan == "use a cache") before = one.probability;
  }
  EXPECT_GT(before, 0.4);
  for (int i = 0; i < 5; ++i) {
    std::vector<CaseOutcome> outcomes;
    for (const FoundCase& one : Find("ada", kLikeSlow)) {
      outcomes.push_back({.case_id = one.case_id,
                          .outcome = one.plan == "use a cache" ? 1.0 : 0.0,
                          .share = one.share});
    }
    EXPECT_EQ(remote_->RecordCaseOutcomes("ada", outcomes).value(), 2);
  }
  for (const bool restarted : {false, true}) {
    if (restarted) {
      Stop();
      Start();
    }
    const std::vector<FoundCase> found = Find("ada", kLikeSlow);
    ASSERT_THAT(found, SizeIs(2)) << restarted;
    EXPECT_EQ(found[0].plan, "use a cache");
    EXPECT_EQ(found[0].tags, "ci");
    EXPECT_EQ(found[0].outcomes, 6u);
    EXPECT_GT(found[0].q, 0.85);
    EXPECT_GT(found[0].probability, before + 0.2);
    EXPECT_EQ(found[0].share, 1);
  }
  const CaseOutcome others = {.case_id = added[0].case_id, .outcome = 1};
  EXPECT_EQ(remote_->RecordCaseOutcomes("bob", std::span(&others, 1)).value(), 0);
}

TEST_F(LearningServiceTest, AdviceFollowsItsOutcomes) {
  LearnOfEach("ada");
  const auto advice = remote_->AskGuidelines("ada", kLikeSlow).value();
  ASSERT_TRUE(advice.has_value());
  EXPECT_EQ(advice->action, GuidelineAction::kForceGrammar);
  EXPECT_EQ(advice->votes, 0.5);
  ASSERT_THAT(advice->voters, SizeIs(1));
  EXPECT_EQ(advice->voters[0].text, "Say it in JSON.");
  const std::vector<std::string> voters = {advice->voters[0].guideline_id};
  EXPECT_EQ(remote_->RecordAdviceOutcome("ada", voters, 1).value(), 1);
  EXPECT_EQ(remote_->RecordAdviceOutcome("bob", voters, 1).value(), 0);
  Stop();
  Start();
  EXPECT_NEAR(remote_->AskGuidelines("ada", kLikeSlow).value()->votes, 0.55, 1e-6);
}

TEST_F(LearningServiceTest, APronounFindsWhomItMayMean) {
  LearnOfEach("ada");
  Stop();
  Start();
  const auto she = remote_->ListEntities("ada", {.gender = "female"}).value();
  ASSERT_THAT(she, SizeIs(1));
  EXPECT_EQ(she[0].name, "Eve");
  ASSERT_THAT(she[0].parts, SizeIs(1));
  EXPECT_EQ(she[0].parts[0].role, EntityRole::kGender);
  EXPECT_EQ(she[0].parts[0].filler, "female");
  const EntityStatement now = {.name = "Eve", .role = EntityRole::kGender, .filler = "none"};
  EXPECT_EQ(remote_->SetEntities("ada", std::span(&now, 1)).value().at(0).replaced, "female");
  EXPECT_EQ(remote_->ListEntities("ada", {}).value().at(0).name, "Eve");
  EXPECT_FALSE(remote_->ForgetEntity("bob", "Eve").value());
  EXPECT_TRUE(remote_->ForgetEntity("ada", "Eve").value());
  EXPECT_THAT(remote_->ListEntities("ada", {}).value(), SizeIs(1));
}

TEST_F(LearningServiceTest, UsersAreApartAndResetLeavesNone) {
  LearnOfEach("ada");
  ExpectNothing("bob");
  LearnOfEach("bob");
  EXPECT_THAT(Find("ada", kSlow), SizeIs(1));
  EXPECT_EQ(memory_->Reset("ada").value(), 3);
  ExpectNothing("ada");
  EXPECT_EQ(memory_->Stats("ada").value().entries, 0);
  EXPECT_THAT(Find("bob", kSlow), SizeIs(1));
  Stop();
  Start();
  ExpectNothing("ada");
  EXPECT_THAT(remote_->ListEntities("bob", {}).value(), SizeIs(2));
}

TEST_F(LearningServiceTest, AnExportCarriesAllOfIt) {
  LearnOfEach("ada");
  ExpectNothing("bob");  // a copy of nothing that the import has to replace
  std::string lines;
  ASSERT_TRUE(memory_
                  ->Export("ada",
                           [&](std::string_view line) {
                             lines.append(line).push_back('\n');
                             return absl::OkStatus();
                           })
                  .ok());
  EXPECT_EQ(memory_->Import("bob", lines, 1).value().refused, 0);
  EXPECT_THAT(Find("bob", kLikeSlow), SizeIs(1));
  EXPECT_TRUE(remote_->AskGuidelines("bob", kLikeSlow).value().has_value());
  EXPECT_THAT(remote_->ListEntities("bob", {}).value(), SizeIs(2));
}

// The client checks first, so the server's own checks need a client that does not.
TEST_F(LearningServiceTest, ServerChecksWhatClientsMayNot) {
  const auto stub = pb::MemoryService::NewStub(MakeChannel(server_->address()));
  const auto refused = [&](const auto& request, auto method, auto response) {
    grpc::ClientContext context;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    return status.error_message();
  };
  const auto cases = [&](const pb::CasesRequest& request) {
    return refused(request, &pb::MemoryService::Stub::Cases, pb::CasesResponse());
  };
  pb::CasesRequest add;
  add.set_user("ada");
  EXPECT_THAT(cases(add), HasSubstr("add, find or record"));
  pb::NewCase* const one = add.mutable_add()->add_cases();
  one->set_situation(kSlow);
  one->set_plan(std::string(901, 'p'));
  EXPECT_THAT(cases(add), HasSubstr("outcome must be set"));
  one->set_outcome(1);
  EXPECT_THAT(cases(add), HasSubstr("plan of 901 bytes"));
  one->set_situation(std::string(1001, 's'));
  EXPECT_THAT(cases(add), HasSubstr("this server takes 1000"));
  pb::CasesRequest find;
  find.set_user("ada");
  find.mutable_find()->add_situations("s");
  find.mutable_find()->set_limit(-1);
  EXPECT_THAT(cases(find), HasSubstr("-1"));
  pb::CasesRequest record;
  record.set_user("../ada");
  pb::CaseOutcome* const outcome = record.mutable_record()->add_outcomes();
  outcome->set_case_id("0123456789abcdef");
  outcome->set_outcome(0);
  EXPECT_THAT(cases(record), HasSubstr("user id"));
  record.set_user("ada");
  outcome->set_share(-0.5);
  EXPECT_THAT(cases(record), HasSubstr("share -0.5"));

  pb::GuidelinesRequest learn;
  learn.set_user("ada");
  learn.mutable_learn()->set_context(kSlow);
  learn.mutable_learn()->set_text("t");
  learn.mutable_learn()->set_delta(-1);
  const auto guidelines = [&](const pb::GuidelinesRequest& request) {
    return refused(request, &pb::MemoryService::Stub::Guidelines, pb::GuidelinesResponse());
  };
  EXPECT_THAT(guidelines(learn), HasSubstr("guideline action 0"));
  learn.mutable_learn()->set_action(static_cast<pb::GuidelineAction>(7));
  EXPECT_THAT(guidelines(learn), HasSubstr("guideline action 7"));

  pb::EntitiesRequest set;
  set.set_user("ada");
  pb::EntityStatement* const said = set.mutable_set()->add_statements();
  said->set_name("Eve");
  said->set_filler("f");
  const auto entities = [&](const pb::EntitiesRequest& request) {
    return refused(request, &pb::MemoryService::Stub::Entities, pb::EntitiesResponse());
  };
  EXPECT_THAT(entities(set), HasSubstr("entity role 0"));
  said->set_role(pb::ENTITY_ROLE_OTHER);
  said->set_filler("");
  EXPECT_THAT(entities(set), HasSubstr("filler of 0 bytes"));
  EXPECT_EQ(store_->Stats("").value().entries, 0);
}

TEST_F(LearningServiceTest, MetricsCountWhatWasAsked) {
  Metrics metrics;
  ASSERT_TRUE(ExportLearningMetrics(learning_.get(), &metrics).ok());
  EXPECT_THAT(metrics.Text(), HasSubstr("chimera_memory_case_hits_total 0\n"));
  LearnOfEach("ada");
  Find("ada", kLikeSlow);
  Find("ada", "bread needs salt, water and a little time");
  ASSERT_TRUE(remote_->AskGuidelines("ada", kLikeSlow).ok());
  ASSERT_TRUE(remote_->AskGuidelines("ada", "bread needs salt").ok());
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("chimera_memory_case_retrievals_total 2\n"));
  EXPECT_THAT(text, HasSubstr("chimera_memory_case_hits_total 1\n"));
  EXPECT_THAT(text, HasSubstr("chimera_memory_guidelines_advised_total 1\n"));
}

TEST(LearningServerTest, WithoutLearningItSaysSo) {
  Memory nothing;
  MemoryServer service(&nothing, {});
  auto server = Server::Start({}, service.service(), "chimera.memory.v1.MemoryService").value();
  RemoteLearning remote(RemoteMemoryOptions{server->address()});
  EXPECT_EQ(remote.ListEntities("ada", {}).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace chimera
