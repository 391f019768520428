#include "services/memory/service.h"

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "chimera/memory/v1/memory.grpc.pb.h"
#include "cluster/channel.h"
#include "cluster/remote_memory.h"
#include "cluster/server.h"
#include "memory/rocksdb_store.h"
#include "train/jobs_tokenizer.h"

namespace chimera {
namespace {

using ::testing::HasSubstr;

class MemoryServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ =
        ::testing::TempDir() + "/memory_service_" + info->name() + "_" + std::to_string(::getpid());
    std::filesystem::remove_all(path_);
    LocalMemoryOptions options;
    options.path = path_;
    options.facts_per_user_max = 4;
    options.tokenizer =
        LoadTokenizerFile(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/o200k_8192.tiktoken",
                          4096)
            .value();
    store_ = LocalMemory::Open(options).value();
    MemoryServiceOptions service;
    service.text_bytes_max = 1000;
    service.backup_dir = path_ + "_backups";
    service_ = std::make_unique<MemoryServer>(store_.get(), service);
    server_ = Server::Start({}, service_->service(), "chimera.memory.v1.MemoryService").value();
    memory_ = std::make_unique<RemoteMemory>(RemoteMemoryOptions{server_->address()});
  }
  void TearDown() override {
    memory_.reset();
    server_.reset();
    service_.reset();
    store_.reset();
    for (const char* suffix : {"", "_backups", "_restored"}) {
      std::filesystem::remove_all(path_ + suffix);
    }
  }

  std::string path_;
  std::unique_ptr<LocalMemory> store_;
  std::unique_ptr<MemoryServer> service_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<RemoteMemory> memory_;
};

TEST_F(MemoryServiceTest, RemembersRecallsAndForgetsOverTheWire) {
  const RememberedFact fact = memory_->Remember("ada", "the river keeps its stones").value();
  EXPECT_TRUE(fact.created);
  EXPECT_FALSE(memory_->Remember("ada", "the river keeps its stones").value().created);
  ASSERT_TRUE(memory_->Remember("ada", "bread needs salt and time").ok());
  const auto facts = memory_->Recall("ada", "what does the river keep", 1).value();
  ASSERT_EQ(facts.size(), 1u);
  EXPECT_EQ(facts[0].fact_id, fact.fact_id);
  EXPECT_EQ(facts[0].text, "the river keeps its stones");
  EXPECT_GT(facts[0].similarity, 0.0f);
  EXPECT_GT(facts[0].created_ms, 0);
  EXPECT_TRUE(memory_->Recall("bob", "the river", 8).value().empty()) << "users are apart";
  EXPECT_EQ(memory_->Stats("ada").value().facts, 2);
  EXPECT_EQ(memory_->Stats("").value().users, 1);
  EXPECT_EQ(memory_->Forget("ada", fact.fact_id).value(), 1);
  EXPECT_EQ(memory_->Forget("ada", fact.fact_id).value(), 0);
  EXPECT_EQ(memory_->ForgetAll("ada").value(), 1);
}

TEST_F(MemoryServiceTest, ErrorsKeepTheirCodeAndSentence) {
  EXPECT_EQ(memory_->Remember("a b", "x").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory_->Recall("ada", "x", 65).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory_->Forget("ada", "xyz").status().code(), absl::StatusCode::kInvalidArgument);
  const absl::Status longer = memory_->Remember("ada", std::string(1001, 'x')).status();
  EXPECT_EQ(longer.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(longer.message()), HasSubstr("1000"));
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(memory_->Remember("full", "fact number " + std::to_string(i)).ok());
  }
  EXPECT_EQ(memory_->Remember("full", "one more").status().code(),
            absl::StatusCode::kResourceExhausted);
}

// The client checks first, so the server's own checks need a client that does not.
TEST_F(MemoryServiceTest, ServerChecksWhatClientsMayNot) {
  using memory::v1::MemoryService;
  const auto stub = MemoryService::NewStub(MakeChannel(server_->address()));
  const auto remember = [&](const std::string& user, const std::string& text, int source) {
    grpc::ClientContext context;
    memory::v1::RememberRequest request;
    request.set_user(user);
    memory::v1::NewFact* const fact = request.add_facts();
    fact->set_text(text);
    fact->set_source(static_cast<memory::v1::FactSource>(source));
    const auto stream = stub->Remember(&context);
    stream->Write(request);
    memory::v1::RememberResponse response;
    EXPECT_FALSE(stream->Read(&response));
    return stream->Finish().error_code();
  };
  EXPECT_EQ(remember("../x", "t", 0), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(remember("ada", "\xff\xfe", 1), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(remember("ada", "t", 3), grpc::StatusCode::INVALID_ARGUMENT);
  {
    grpc::ClientContext context;
    memory::v1::ForgetRequest request;
    request.set_user("ada");
    memory::v1::ForgetResponse response;
    EXPECT_EQ(stub->Forget(&context, request, &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
  {
    grpc::ClientContext context;
    memory::v1::RecallRequest request;
    request.set_user("ada");
    request.add_queries("q");
    request.set_limit(-1);
    const auto stream = stub->Recall(&context);
    stream->Write(request);
    memory::v1::RecallResponse response;
    EXPECT_FALSE(stream->Read(&response));
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(MemoryServiceTest, AStreamTakesBatchAfterBatch) {
  const auto stub = memory::v1::MemoryService::NewStub(MakeChannel(server_->address()));
  grpc::ClientContext context;
  const auto stream = stub->Remember(&context);
  for (int i = 0; i < 4; ++i) {
    memory::v1::RememberRequest request;
    request.set_user("ada");
    request.add_facts()->set_text("fact number " + std::to_string(i));
    ASSERT_TRUE(stream->Write(request));
    memory::v1::RememberResponse response;
    ASSERT_TRUE(stream->Read(&response));
    ASSERT_EQ(response.facts_size(), 1);
    EXPECT_TRUE(response.facts(0).created());
    EXPECT_EQ(store_->Stats("ada").value().facts, i + 1);
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(MemoryServiceTest, BatchesKeepTheirOrder) {
  const std::vector<NewFact> facts = {{.text = "the river keeps its stones"},
                                      {.text = "bread needs salt", .about = "bread", .tags = 4}};
  const auto remembered = memory_->Remember("ada", facts).value();
  ASSERT_EQ(remembered.size(), 2u);
  const std::vector<std::string> queries = {"bread and salt", "stones of the river"};
  const auto answers = memory_->Recall("ada", queries, {.k = 1, .with_sketches = true}).value();
  ASSERT_EQ(answers.size(), 2u);
  ASSERT_EQ(answers[0].size(), 1u);
  EXPECT_EQ(answers[0][0].fact_id, remembered[1].fact_id);
  EXPECT_EQ(answers[0][0].about, "bread");
  EXPECT_EQ(answers[0][0].tags, 4u);
  EXPECT_EQ(answers[0][0].source, Source::kUser);
  EXPECT_TRUE(answers[0][0].sketch.has_value());
  EXPECT_EQ(answers[1][0].fact_id, remembered[0].fact_id);
  const auto tagged = memory_->Recall("ada", queries, {.k = 8, .tags_any = 4}).value();
  EXPECT_EQ(tagged[1].size(), 1u);
}

TEST_F(MemoryServiceTest, RelatesOverTheWire) {
  const std::vector<Relation> relations = {{"Ada", "lives in", "Paris"},
                                           {"Ada", "likes", "rivers", 0.5f}};
  EXPECT_EQ(memory_->Relate("ada", relations, Source::kUser).value(), 2);
  EXPECT_EQ(memory_->Relate("ada", relations, Source::kUser).value(), 0);
  EXPECT_EQ(memory_->Related("ada", {.subject = "Ada"}, 8).value(), relations);
  EXPECT_TRUE(memory_->Related("bob", {}, 8).value().empty()) << "users are apart";
  EXPECT_EQ(memory_->Unrelate("ada", {.object = "rivers"}).value(), 1);
  EXPECT_EQ(memory_->Related("ada", {}, 8).value().size(), 1u);
  EXPECT_EQ(memory_->Related("ada", {}, 0).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(MemoryServiceTest, WhatIsExportedCanBeImported) {
  const std::vector<NewFact> facts = {{.text = "the river keeps its stones", .about = "river"},
                                      {.text = "line\nbreaks \"and\" quotes"}};
  ASSERT_TRUE(memory_->Remember("ada", facts).ok());
  const Relation relation = {"Ada", "lives in", "Paris"};
  ASSERT_TRUE(memory_->Relate("ada", std::span(&relation, 1), Source::kUser).ok());
  std::string lines;
  ASSERT_TRUE(memory_
                  ->Export("ada",
                           [&](std::string_view line) {
                             lines.append(line).push_back('\n');
                             return absl::OkStatus();
                           })
                  .ok());
  const absl::Status stopped =
      memory_->Export("ada", [](std::string_view) { return absl::ResourceExhaustedError("full"); });
  EXPECT_EQ(stopped, absl::ResourceExhaustedError("full"));
  EXPECT_EQ(memory_->Reset("ada").value() > 0, true);
  EXPECT_EQ(memory_->Stats("ada").value().entries, 0);

  const ImportReport report = memory_->Import("bob", lines + "{\"no\":\n", 1).value();
  EXPECT_EQ(report.refused, 1);
  ASSERT_EQ(report.refused_lines.size(), 1u);
  EXPECT_EQ(report.refused_lines[0].line, report.imported + 1);
  EXPECT_EQ(memory_->Stats("bob").value().facts, 2);
  const auto recalled = memory_->Recall("bob", "stones of the river", 1).value();
  ASSERT_EQ(recalled.size(), 1u);
  EXPECT_EQ(recalled[0].text, facts[0].text);
  EXPECT_EQ(recalled[0].about, "river");
  EXPECT_EQ(memory_->Related("bob", {}, 8).value().size(), 1u);
}

TEST_F(MemoryServiceTest, BackupsAreKeptBesideTheStore) {
  ASSERT_TRUE(memory_->Remember("ada", "the river keeps its stones").ok());
  EXPECT_EQ(memory_->Backup("", 1).value().backup_id, 1u);
  const BackupReport second = memory_->Backup("", 1).value();
  EXPECT_EQ(second.backup_id, 2u);
  EXPECT_EQ(second.backups_kept, 1);
  EXPECT_EQ(memory_->Backup("/elsewhere", 1).status().code(), absl::StatusCode::kInvalidArgument);
  LocalMemoryOptions options;
  options.path = path_ + "_restored";
  ASSERT_TRUE(RestoreMemory(path_ + "_backups", options.path).ok());
  const auto restored = LocalMemory::Open(options).value();
  EXPECT_EQ(restored->Recall("ada", "river", 1).value().at(0).text, "the river keeps its stones");
}

TEST(RemoteMemoryTest, UnreachableServiceIsOneSentence) {
  RemoteMemoryOptions options;
  options.address = "127.0.0.1:1";
  options.connect_timeout_ms = 200;
  RemoteMemory memory(options);
  const absl::Status status = memory.Stats("").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("127.0.0.1:1"));
}

// A store that takes its time: calls beyond the queue are refused, none blocks a reaction.
class SlowMemory final : public Memory {
 public:
  absl::StatusOr<std::vector<RememberedFact>> Remember(const std::string&,
                                                       std::span<const NewFact>) override {
    while (!release) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return std::vector<RememberedFact>{{.fact_id = "0123456789abcdef", .created = true}};
  }
  absl::StatusOr<std::vector<std::vector<RecalledFact>>> Recall(const std::string&,
                                                                std::span<const std::string>,
                                                                const RecallOptions&) override {
    return std::vector<std::vector<RecalledFact>>(1);
  }
  absl::StatusOr<int64_t> Forget(const std::string&, const std::string&) override { return 0; }
  absl::StatusOr<int64_t> ForgetAll(const std::string&) override { return 0; }
  absl::StatusOr<MemoryStats> Stats(const std::string&) override { return MemoryStats(); }
  std::atomic<bool> release{false};
};

TEST(MemoryServerTest, FullQueueRefusesAtOnce) {
  SlowMemory slow;
  MemoryServiceOptions options;
  options.workers = 1;
  options.queue_max = 1;
  MemoryServer service(&slow, options);
  auto server = Server::Start({}, service.service(), "chimera.memory.v1.MemoryService").value();
  RemoteMemory client(RemoteMemoryOptions{server->address()});
  std::atomic<int> refused{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      const auto answer = client.Remember("u", "t");
      if (answer.status().code() == absl::StatusCode::kResourceExhausted) ++refused;
    });
  }
  for (int i = 0; i < 1000 && refused < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(refused, 2);
  slow.release = true;
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
}  // namespace chimera
