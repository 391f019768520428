// One gRPC listener: services, standard health and reflection, limits, graceful drain (ecosystem
// 3.1). A process that runs several services has one Server for each, so that every service keeps
// its own port; they share one AdminHttp and one Metrics.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace chimera {

struct ServerOptions {
  std::string bind_address = "127.0.0.1";
  int port = 0;                      // 0 picks a free one
  bool allow_insecure_bind = false;  // D19: needed beyond loopback, and logged as a warning
  size_t max_message_bytes = 4 << 20;
  int max_concurrent_streams = 256;  // of one connection
  int drain_timeout_ms = 10000;
};

// Thread-safe after Start.
class Server {
 public:
  // service is borrowed and must outlive the server. health_name is the full proto name
  // ("chimera.knot.v1.KnotService"); it and "" answer SERVING until Drain.
  // UNAVAILABLE when the port is taken, FAILED_PRECONDITION for a public bind without leave.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       grpc::Service* service,
                                                       const std::string& health_name);
  ~Server();  // drains

  int port() const;
  std::string address() const;  // "127.0.0.1:7401"

  // Health answers for this server's names from here on.
  void SetServing(bool serving);
  bool serving() const;

  // NOT_SERVING, no new connections, waits for running calls up to drain_timeout_ms, then cancels
  // the rest and waits for their handlers. Idempotent.
  void Drain();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
