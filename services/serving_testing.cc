#include "services/serving_testing.h"

#include <fcntl.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/file.h"
#include "cluster/channel.h"
#include "model/model_testing.h"

extern char** environ;

namespace chimera {
namespace {

constexpr int kTokensMax = 50'000'000;

// Takes the end-of-text row out of what a stream answers.
class EndlessStream final : public KnotStream {
 public:
  EndlessStream(std::unique_ptr<KnotStream> stream, int eot)
      : stream_(std::move(stream)), eot_(eot) {}

  const std::string& model_id() const override { return stream_->model_id(); }
  absl::StatusOr<VerifyResult> Verify(const VerifyRequest& request) override {
    VerifyRequest wider = request;
    wider.transform.rows_max = std::max(2, request.transform.rows_max);
    auto result = stream_->Verify(wider);
    if (result.ok()) {
      for (NodeDistribution& distribution : result->distributions) Remove(&distribution);
    }
    return result;
  }
  absl::StatusOr<NodeDistribution> MoreRows(int32_t node, int32_t first, int32_t count) override {
    return stream_->MoreRows(node, first, count);
  }
  void Cancel() override { stream_->Cancel(); }

 private:
  void Remove(NodeDistribution* d) const {
    const auto it = std::find(d->token_ids.begin(), d->token_ids.end(), eot_);
    if (it == d->token_ids.end()) return;
    const auto row = it - d->token_ids.begin();
    d->token_ids.erase(it);
    d->logits.erase(d->logits.begin() + row);
    d->raw_logits.erase(d->raw_logits.begin() + row);
  }

  const std::unique_ptr<KnotStream> stream_;
  const int eot_;
};

class EndlessKnot final : public Knot {
 public:
  EndlessKnot(Knot* knot, int eot) : knot_(knot), eot_(eot) {}

  absl::StatusOr<KnotModelInfo> CurrentModel() override { return knot_->CurrentModel(); }
  absl::StatusOr<std::unique_ptr<KnotStream>> Open(const std::string& model_id, int64_t deadline_ns,
                                                   int loops) override {
    auto stream = knot_->Open(model_id, deadline_ns, loops);
    if (!stream.ok()) return stream.status();
    return std::make_unique<EndlessStream>(*std::move(stream), eot_);
  }
  absl::StatusOr<std::vector<ModelFile>> FetchModel(const std::string& model_id) override {
    return knot_->FetchModel(model_id);
  }
  absl::StatusOr<std::string> Publish(const std::string& folder) override {
    return knot_->Publish(folder);
  }

 private:
  Knot* const knot_;
  const int eot_;
};

}  // namespace

Serving::Serving(const std::string& model_folder, const ServingOptions& options) {
  LocalKnotOptions knot_options;
  knot_options.threads = options.threads;
  knot_options.max_streams = options.max_streams;
  knot_options.data_dir = options.data_dir;
  knot_options.measure_cost = options.measure_cost;
  knot_options.check_weights_later = options.check_weights_later;
  knot_options.memory_limit_bytes = options.memory_limit_bytes;
  auto created = LocalKnot::Create(knot_options, model_folder, &metrics);
  EXPECT_TRUE(created.ok()) << created.status();
  local = *std::move(created);
  knot = std::make_unique<KnotServer>(
      local.get(), KnotServiceOptions{options.request_deadline_ms, options.fork_claim_ms});
  ServerOptions server_options;
  server_options.drain_timeout_ms = options.drain_timeout_ms;
  auto started = Server::Start(server_options, knot->service(), "chimera.knot.v1.KnotService");
  EXPECT_TRUE(started.ok()) << started.status();
  knot_server = *std::move(started);
  RemoteKnotOptions remote_options;
  remote_options.address = knot_server->address();
  remote = std::make_unique<RemoteKnot>(remote_options);
  SurfaceServiceOptions surface_options;
  surface_options.limits = {kTokensMax, 100000};
  surface_options.workers = options.max_streams;
  surface_options.queue_max = options.queue_max;
  surface_options.stall_timeout_ms = options.stall_timeout_ms;
  surface_options.request_deadline_ms = options.request_deadline_ms;
  surface_options.learn = options.learn;
  Knot* chosen = options.remote_knot ? static_cast<Knot*>(remote.get()) : local.get();
  if (options.endless) {
    endless = std::make_unique<EndlessKnot>(chosen, TestTokenizer()->eot());
    chosen = endless.get();
  }
  surface = std::make_unique<SurfaceServer>(chosen, surface_options, &metrics, options.memory);
  started = Server::Start(server_options, surface->service(), "chimera.surface.v1.SurfaceService");
  EXPECT_TRUE(started.ok()) << started.status();
  surface_server = *std::move(started);
  channel = MakeChannel(surface_server->address());
  stub = surface::v1::SurfaceService::NewStub(channel);
}

Completion Serving::Complete(const surface::v1::CompleteRequest& request, int deadline_ms) {
  Completion out;
  grpc::ClientContext context;
  SetTimeout(&context, deadline_ms);
  const auto reader = stub->Complete(&context, request);
  surface::v1::CompleteResponse response;
  while (reader->Read(&response)) {
    if (response.has_started()) out.started = response.started();
    if (response.has_finished()) out.finished = response.finished();
    if (!response.has_delta()) continue;
    ++out.deltas;
    out.text += response.delta().text();
    for (const int32_t id : response.delta().token_ids()) out.token_ids.push_back(id);
    for (const auto& logprob : response.delta().logprobs()) out.logprobs.push_back(logprob);
    for (const auto& read : response.delta().memory_reads()) out.memory_reads.push_back(read);
  }
  out.status = reader->Finish();
  return out;
}

bool Serving::SlotsFreeWithin(int ms) const {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  while (local->Info().streams_running > 0) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

KnotProcess::KnotProcess(const std::string& model_folder) {
  const std::string out = TestFolder("knot_process") + "/out";
  std::vector<std::string> words = {std::string(CHIMERA_BINARY_DIR) + "/bin/chimera", "serve"};
  for (const char* word : {"--role", "knot", "--port", "0", "--admin-port", "0", "--json"}) {
    words.push_back(word);
  }
  words.insert(words.end(), {"--model", model_folder, "--data", TestFolder("knot_process_data")});
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 1, out.c_str(), O_WRONLY | O_CREAT, 0644);
  EXPECT_EQ(::posix_spawn(&pid_, words[0].c_str(), &files, nullptr, arguments.data(), environ), 0);
  ::posix_spawn_file_actions_destroy(&files);
  for (int i = 0; i < 2000 && address_.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    const auto line = nlohmann::json::parse(ReadFile(out, 4096).value_or(""), nullptr, false);
    if (!line.is_object()) continue;
    address_ = line.at("knot");
    admin_address_ = line.at("admin");
  }
}

KnotProcess::~KnotProcess() {
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
}

surface::v1::CompleteRequest GreedyRequest(int max_tokens) {
  surface::v1::CompleteRequest request;
  request.set_prompt("the quiet house");
  request.set_temperature(0);
  request.set_repetition_penalty(1);
  request.set_max_tokens(max_tokens);
  return request;
}

surface::v1::CompleteRequest SeededRequest(uint64_t seed, int max_tokens) {
  surface::v1::CompleteRequest request;
  request.set_prompt("the quiet house");
  request.set_seed(seed);
  request.set_max_tokens(max_tokens);
  return request;
}

void SetTimeout(grpc::ClientContext* context, int ms) {
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(ms));
}

// The health proto is not installed with its C++ code; its messages are one field each.
bool HealthIsServing(grpc::Channel* channel, const std::string& service, int timeout_ms) {
  std::string request;
  if (!service.empty()) {
    request = std::string("\x0A") + static_cast<char>(service.size()) + service;
  }
  const grpc::Slice slice(request);
  const grpc::ByteBuffer message(&slice, 1);
  grpc::ClientContext context;
  SetTimeout(&context, timeout_ms);
  // The stub wants shared ownership of a channel it only borrows here.
  grpc::GenericStub stub(std::shared_ptr<grpc::Channel>(channel, [](grpc::Channel*) {}));
  grpc::CompletionQueue queue;
  const auto call =
      stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", message, &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  if (!status.ok()) return false;
  std::vector<grpc::Slice> slices;
  response.Dump(&slices);
  std::string bytes;
  for (const grpc::Slice& part : slices) {
    bytes.append(reinterpret_cast<const char*>(part.begin()), part.size());
  }
  return bytes == std::string("\x08\x01");  // status = SERVING
}

}  // namespace chimera
