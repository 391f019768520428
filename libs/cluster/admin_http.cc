#include "cluster/admin_http.h"

#include <httplib.h>

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace chimera {
namespace {

void AddProbe(httplib::Server* server, const char* path, std::function<std::string()> fault) {
  server->Get(path, [fault](const httplib::Request&, httplib::Response& response) {
    const std::string reason = fault ? fault() : "";
    response.status = reason.empty() ? 200 : 503;
    response.set_content(reason.empty() ? "ok\n" : reason + "\n", "text/plain");
  });
}

}  // namespace

struct AdminHttp::Impl {
  httplib::Server server;
  std::thread thread;
  int port = 0;
};

AdminHttp::AdminHttp(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

absl::StatusOr<std::unique_ptr<AdminHttp>> AdminHttp::Start(const AdminHttpOptions& options) {
  auto impl = std::make_unique<Impl>();
  httplib::Server& server = impl->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(2); };
  server.set_payload_max_length(4096);
  server.set_read_timeout(5, 0);
  server.set_write_timeout(5, 0);
  server.set_keep_alive_max_count(100);
  // The library's default sets SO_REUSEPORT, which would let two processes share a port unseen.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  if (options.metrics_text) {
    server.Get("/metrics",
               [text = options.metrics_text](const httplib::Request&, httplib::Response& response) {
                 response.set_content(text(), "text/plain; version=0.0.4; charset=utf-8");
               });
  }
  AddProbe(&server, "/healthz", options.unhealthy);
  AddProbe(&server, "/readyz", options.not_ready);
  if (options.port == 0) {
    impl->port = server.bind_to_any_port(options.bind_address.c_str());
  } else if (server.bind_to_port(options.bind_address.c_str(), options.port)) {
    impl->port = options.port;
  }
  if (impl->port <= 0) {
    return absl::UnavailableError(absl::StrCat("admin port ", options.port, " on ",
                                               options.bind_address,
                                               " is taken or not ours: choose another one"));
  }
  impl->thread = std::thread([server = &impl->server] { server->listen_after_bind(); });
  while (!server.is_running()) std::this_thread::yield();
  return std::unique_ptr<AdminHttp>(new AdminHttp(std::move(impl)));
}

AdminHttp::~AdminHttp() {
  impl_->server.stop();
  impl_->thread.join();
}

int AdminHttp::port() const { return impl_->port; }

}  // namespace chimera
