#include "cluster/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "cluster/grpc_log.h"
#include "config/service_config.h"

namespace chimera {
namespace {

// Health and reflection are process-wide plugins of the library; on for every server.
void EnablePlugins() {
  static std::once_flag once;
  std::call_once(once, [] {
    RouteGrpcLog();
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

std::string HostPort(const std::string& host, int port) {
  const bool bare_v6 = host.find(':') != std::string::npos && host.front() != '[';
  return bare_v6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

void SetLimits(const ServerOptions& options, grpc::ServerBuilder* builder) {
  const int message_bytes = static_cast<int>(options.max_message_bytes);
  builder->SetMaxReceiveMessageSize(message_bytes);
  builder->SetMaxSendMessageSize(message_bytes);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 16 << 10);
  // Off: with it two servers may share a port without noticing.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // A client that vanished is noticed within half a minute, and our own clients' pings are welcome.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Reflection is the only service with the synchronous interface; it needs no more than this.
  builder->SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);
  builder->SetSyncServerOption(grpc::ServerBuilder::MIN_POLLERS, 1);
  builder->SetSyncServerOption(grpc::ServerBuilder::MAX_POLLERS, 2);
}

}  // namespace

struct Server::Impl {
  std::unique_ptr<grpc::Server> server;
  std::string address;
  std::string health_name;
  int port = 0;
  int drain_timeout_ms = 0;
  std::atomic<bool> serving{false};
  std::once_flag drained;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      grpc::Service* service,
                                                      const std::string& health_name) {
  if (!IsLoopback(options.bind_address)) {
    if (!options.allow_insecure_bind) {
      return absl::FailedPreconditionError(absl::StrCat(
          "bind_address ", options.bind_address,
          " is not loopback and no credentials are configured; set allow_insecure_bind to true to "
          "accept plaintext from the network"));
    }
    LogWarning(absl::StrCat("listening on ", options.bind_address,
                            " without credentials: anybody who reaches it may use it"));
  }
  EnablePlugins();
  auto impl = std::make_unique<Impl>();
  grpc::ServerBuilder builder;
  SetLimits(options, &builder);
  builder.AddListeningPort(HostPort(options.bind_address, options.port),
                           grpc::InsecureServerCredentials(), &impl->port);
  builder.RegisterService(service);
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr || impl->port <= 0) {
    if (impl->server != nullptr) impl->server->Shutdown();
    return absl::UnavailableError(absl::StrCat("cannot listen on ",
                                               HostPort(options.bind_address, options.port),
                                               ": the port is taken or the address is not ours"));
  }
  impl->address = HostPort(options.bind_address, impl->port);
  impl->health_name = health_name;
  impl->drain_timeout_ms = options.drain_timeout_ms;
  std::unique_ptr<Server> server(new Server(std::move(impl)));
  server->SetServing(true);
  return server;
}

Server::~Server() { Drain(); }

int Server::port() const { return impl_->port; }
std::string Server::address() const { return impl_->address; }
bool Server::serving() const { return impl_->serving.load(); }

void Server::SetServing(bool serving) {
  impl_->serving.store(serving);
  if (auto* health = impl_->server->GetHealthCheckService(); health != nullptr) {
    health->SetServingStatus(serving);
    health->SetServingStatus(impl_->health_name, serving);
  }
}

void Server::Drain() {
  std::call_once(impl_->drained, [this] {
    SetServing(false);
    // Ends health watches too, which would otherwise hold the server for the whole timeout.
    if (auto* health = impl_->server->GetHealthCheckService(); health != nullptr) {
      health->Shutdown();
    }
    impl_->server->Shutdown(std::chrono::system_clock::now() +
                            std::chrono::milliseconds(impl_->drain_timeout_ms));
    impl_->server->Wait();
  });
}

}  // namespace chimera
