// What goes wrong on real sockets: cancelling, deadlines, clients that vanish or do not read, full
// queues, stalled workers, draining, publishing under load.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"
#include "cluster/admin_http.h"
#include "cluster/channel.h"
#include "httplib.h"
#include "model/model_testing.h"
#include "services/serving_testing.h"

extern char** environ;

namespace chimera {
namespace {

using testing::HasSubstr;
namespace pb = surface::v1;

constexpr int kEndless = 40'000'000;

// Reads until n deltas came.
void ReadDeltas(grpc::ClientReader<pb::CompleteResponse>* reader, int n) {
  pb::CompleteResponse response;
  while (n > 0 && reader->Read(&response)) n -= response.has_delta();
  EXPECT_EQ(n, 0);
}

class Trouble : public testing::TestWithParam<bool> {
 protected:
  ServingOptions Options() const {
    ServingOptions options;
    options.remote_knot = GetParam();
    options.endless = true;
    return options;
  }
};

TEST_P(Trouble, CancelFreesTheSlotAtOnce) {
  ServingOptions options = Options();
  options.max_streams = 1;
  Serving serving(TestModelFolder("trouble_cancel", true), options);
  for (int round = 0; round < 3; ++round) {
    grpc::ClientContext context;
    SetTimeout(&context, 30000);
    const auto reader = serving.stub->Complete(&context, GreedyRequest(kEndless));
    ReadDeltas(reader.get(), 5);
    EXPECT_EQ(serving.local->Info().streams_running, 1);
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_TRUE(serving.SlotsFreeWithin(200));
  }
  EXPECT_TRUE(serving.Complete(SeededRequest(1, 5)).status.ok());
}

TEST_P(Trouble, DeadlinesEndTheStream) {
  Serving serving(TestModelFolder("trouble_deadline", true), Options());
  const int64_t begin_ns = Clock::Real().NowNs();
  const Completion out = serving.Complete(GreedyRequest(kEndless), 300);
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_GT(out.deltas, 0);
  EXPECT_LT(Clock::Real().NowNs() - begin_ns, int64_t{2000} * 1000000);
  EXPECT_TRUE(serving.SlotsFreeWithin(200));
}

TEST_P(Trouble, TheServersOwnDeadlineHoldsForClientsWithoutOne) {
  ServingOptions options = Options();
  options.request_deadline_ms = 300;
  Serving serving(TestModelFolder("trouble_default_deadline", true), options);
  grpc::ClientContext context;  // no deadline
  const auto reader = serving.stub->Complete(&context, GreedyRequest(kEndless));
  pb::CompleteResponse response;
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(serving.SlotsFreeWithin(200));
}

TEST_P(Trouble, AClientThatDoesNotReadLosesItsSlot) {
  ServingOptions options = Options();
  options.stall_timeout_ms = 300;
  Serving serving(TestModelFolder("trouble_slow", true), options);
  grpc::ClientContext context;
  SetTimeout(&context, 30000);
  pb::CompleteRequest request = GreedyRequest(kEndless);
  request.set_logprobs(20);  // large messages fill the socket soon
  const auto reader = serving.stub->Complete(&context, request);
  ReadDeltas(reader.get(), 1);
  EXPECT_EQ(serving.local->Info().streams_running, 1);
  EXPECT_TRUE(serving.SlotsFreeWithin(25000));  // a busy machine fills sockets slowly
  // The worker is free a moment after its slot.
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (serving.surface->requests_running() > 0 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(serving.surface->requests_running(), 0);
  pb::CompleteResponse response;
  while (reader->Read(&response)) EXPECT_FALSE(response.has_finished());
  EXPECT_FALSE(reader->Finish().ok());
}

TEST_P(Trouble, AFullQueueRefusesWithASentence) {
  ServingOptions options = Options();
  options.max_streams = 1;
  options.queue_max = 2;
  Serving serving(TestModelFolder("trouble_queue", true), options);
  grpc::ClientContext running_context;
  SetTimeout(&running_context, 30000);
  const auto running = serving.stub->Complete(&running_context, GreedyRequest(kEndless));
  ReadDeltas(running.get(), 1);
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<pb::CompleteResponse>>> waiting;
  for (int i = 0; i < 2; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    SetTimeout(contexts.back().get(), 30000);
    waiting.push_back(serving.stub->Complete(contexts.back().get(), SeededRequest(1, 3)));
  }
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (serving.surface->requests_waiting() < 2 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const Completion refused = serving.Complete(SeededRequest(1, 3));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("1 running and 2 waiting"));
  // A waiting request that is cancelled gives its place back without ever running.
  contexts[0]->TryCancel();
  EXPECT_EQ(waiting[0]->Finish().error_code(), grpc::StatusCode::CANCELLED);
  while (serving.surface->requests_waiting() > 1 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(serving.surface->requests_waiting(), 1);
  running_context.TryCancel();
  running->Finish();
  pb::CompleteResponse response;
  while (waiting[1]->Read(&response)) {
  }
  EXPECT_TRUE(waiting[1]->Finish().ok());
}

TEST_P(Trouble, AVanishedClientFreesItsSlot) {
  Serving serving(TestModelFolder("trouble_vanish", true), Options());
  const std::string binary = std::string(CHIMERA_BINARY_DIR) + "/bin/chimera";
  if (!std::filesystem::exists(binary)) GTEST_SKIP() << binary << " is not built";
  const std::string target = serving.surface_server->address();
  const std::vector<std::string> words = {
      binary,   "complete",      "--target", target,         "--prompt", "a",
      "--json", "--temperature", "0",        "--max-tokens", "40000000", "--repetition-penalty",
      "1"};
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  ASSERT_EQ(posix_spawn(&child, binary.c_str(), nullptr, nullptr, arguments.data(), environ), 0);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (serving.local->Info().streams_running == 0 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(serving.local->Info().streams_running, 1);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(serving.SlotsFreeWithin(2000));
}

TEST_P(Trouble, DrainLetsRunningRequestsEndAndRefusesNewOnes) {
  ServingOptions options = Options();
  options.drain_timeout_ms = 4000;  // a busy machine needs seconds for the short one
  Serving serving(TestModelFolder("trouble_drain", true), options);
  grpc::ClientContext short_context;
  grpc::ClientContext long_context;
  SetTimeout(&short_context, 30000);
  SetTimeout(&long_context, 30000);
  const auto ends = serving.stub->Complete(&short_context, GreedyRequest(500));
  const auto endless = serving.stub->Complete(&long_context, GreedyRequest(kEndless));
  ReadDeltas(ends.get(), 1);
  ReadDeltas(endless.get(), 1);
  EXPECT_TRUE(HealthIsServing(serving.channel.get(), "chimera.surface.v1.SurfaceService", 2000));
  std::thread drain([&] { serving.surface_server->Drain(); });
  std::thread endless_client([&] {
    pb::CompleteResponse response;
    while (endless->Read(&response)) {
    }
    EXPECT_FALSE(endless->Finish().ok());
  });
  pb::CompleteResponse response;
  bool finished = false;
  while (ends->Read(&response)) finished |= response.has_finished();
  EXPECT_TRUE(ends->Finish().ok());
  EXPECT_TRUE(finished);
  drain.join();
  endless_client.join();
  EXPECT_TRUE(serving.SlotsFreeWithin(500));
  EXPECT_FALSE(serving.surface_server->serving());
  EXPECT_EQ(serving.Complete(SeededRequest(1, 3), 2000).status.error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_P(Trouble, PublishTakesEffectWhileStreamsGoOn) {
  ServingOptions options = Options();
  options.data_dir = TestFolder("publish_data");
  std::filesystem::remove_all(options.data_dir);
  Serving serving(TestModelFolder("publish_a", true, 1), options);
  const std::string second_folder = TestModelFolder("publish_b", true, 2);
  const std::string first_id = serving.local->Info().model_id;
  const std::vector<int32_t> first_tokens = serving.Complete(SeededRequest(3, 20)).token_ids;
  grpc::ClientContext context;
  SetTimeout(&context, 30000);
  const auto old = serving.stub->Complete(&context, GreedyRequest(2000));
  ReadDeltas(old.get(), 1);
  Knot* knot = GetParam() ? static_cast<Knot*>(serving.remote.get()) : serving.local.get();
  const auto published = knot->Publish(second_folder);
  ASSERT_TRUE(published.ok()) << published.status();
  EXPECT_NE(*published, first_id);
  EXPECT_EQ(serving.local->Info().model_id, *published);
  const Completion fresh = serving.Complete(SeededRequest(3, 20));
  EXPECT_EQ(fresh.started.model_id(), *published);
  EXPECT_NE(fresh.token_ids, first_tokens);
  pb::CompleteResponse response;
  while (old->Read(&response)) {
  }
  EXPECT_TRUE(old->Finish().ok());
  // Gone with its last stream: nobody can ask for it any more.
  EXPECT_EQ(serving.local->FetchModel(first_id).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(PublishedModelFolder(options.data_dir), options.data_dir + "/models/" + *published);

  // A damaged folder changes nothing.
  std::filesystem::resize_file(second_folder + "/weights.b158", 1000);
  EXPECT_FALSE(knot->Publish(second_folder).ok());
  EXPECT_EQ(serving.local->Info().model_id, *published);
  for (const auto& entry : std::filesystem::directory_iterator(options.data_dir + "/models")) {
    EXPECT_NE(entry.path().extension(), ".part") << entry.path();
  }
}

INSTANTIATE_TEST_SUITE_P(Knots, Trouble, testing::Bool(),
                         [](const auto& info) { return info.param ? "remote" : "local"; });

// A knot that never answers until it is let go.
class StalledKnot final : public Knot {
 public:
  absl::StatusOr<KnotModelInfo> CurrentModel() override { return Stall(); }
  absl::StatusOr<std::unique_ptr<KnotStream>> Open(const std::string&, int64_t, int) override {
    return Stall();
  }
  absl::StatusOr<std::vector<ModelFile>> FetchModel(const std::string&) override { return Stall(); }
  absl::StatusOr<std::string> Publish(const std::string&) override { return Stall(); }

  void LetGo() {
    MutexLock lock(&mutex_);
    open_ = true;
    wake_.NotifyAll();
  }
  std::atomic<int> stalled{0};

 private:
  absl::Status Stall() {
    ++stalled;
    MutexLock lock(&mutex_);
    while (!open_) wake_.Wait(&mutex_);
    return absl::UnavailableError("stalled");
  }
  Mutex mutex_;
  CondVar wake_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
};

// DESIGN D21: every handler stalls at once, health still answers on both listeners.
TEST(Stall, HealthAnswersWhileEveryHandlerHangs) {
  StalledKnot knot;
  Metrics metrics;
  SurfaceServiceOptions options;
  options.workers = 3;
  options.queue_max = 8;
  auto surface = std::make_unique<SurfaceServer>(&knot, options, &metrics);
  ServerOptions server_options;
  server_options.drain_timeout_ms = 500;
  auto server =
      Server::Start(server_options, surface->service(), "chimera.surface.v1.SurfaceService");
  ASSERT_TRUE(server.ok()) << server.status();
  AdminHttpOptions admin_options;
  admin_options.metrics_text = [&metrics] { return metrics.Text(); };
  auto admin = AdminHttp::Start(admin_options);
  ASSERT_TRUE(admin.ok()) << admin.status();

  const auto channel = MakeChannel((*server)->address());
  const auto stub = pb::SurfaceService::NewStub(channel);
  std::vector<std::thread> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back([&stub, i] {
      grpc::ClientContext context;
      SetTimeout(&context, 4000);
      if (i % 2 == 0) {
        const auto reader = stub->Complete(&context, SeededRequest(1, 5));
        pb::CompleteResponse response;
        while (reader->Read(&response)) {
        }
        EXPECT_FALSE(reader->Finish().ok());
      } else {
        pb::TokenizeRequest request;
        request.set_text("x");
        pb::TokenizeResponse response;
        EXPECT_FALSE(stub->Tokenize(&context, request, &response).ok());
      }
    });
  }
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(3);
  while (knot.stalled < 5 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(knot.stalled, 5);  // every thread of both executors
  const int64_t begin_ns = Clock::Real().NowNs();
  EXPECT_TRUE(HealthIsServing(channel.get(), "", 1000));
  EXPECT_TRUE(HealthIsServing(channel.get(), "chimera.surface.v1.SurfaceService", 1000));
  httplib::Client http("127.0.0.1", (*admin)->port());
  for (const char* path : {"/healthz", "/readyz", "/metrics"}) {
    const auto response = http.Get(path);
    ASSERT_TRUE(response) << path;
    EXPECT_EQ(response->status, 200) << path;
  }
  EXPECT_LT(Clock::Real().NowNs() - begin_ns, int64_t{1000} * 1000000);
  knot.LetGo();
  for (std::thread& client : clients) client.join();
}

}  // namespace
}  // namespace chimera
