// The plaintext admin listener (DESIGN D19): /metrics, /healthz, /readyz. It has its own threads,
// so it answers while every other thread of the process is busy (D21).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace chimera {

struct AdminHttpOptions {
  std::string bind_address = "127.0.0.1";
  int port = 0;  // 0 picks a free one
  // /metrics. May be empty: 404.
  std::function<std::string()> metrics_text;
  // /healthz: empty string is healthy, else the reason (503). May be empty: always healthy.
  std::function<std::string()> unhealthy;
  // /readyz: the same, for "may receive requests".
  std::function<std::string()> not_ready;
};

// Serves from Start until destroyed. Thread-safe.
class AdminHttp {
 public:
  // UNAVAILABLE when the port is taken.
  static absl::StatusOr<std::unique_ptr<AdminHttp>> Start(const AdminHttpOptions& options);
  ~AdminHttp();

  int port() const;

 private:
  struct Impl;
  explicit AdminHttp(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
