// The Knot over the wire: the same interface, answered by a KnotService (DESIGN D9).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "decode/knot.h"

namespace chimera {

struct RemoteKnotOptions {
  std::string address;             // HOST:PORT
  int connect_timeout_ms = 10000;  // how long a service that is not up yet is waited for
  int call_timeout_ms = 30000;     // of small calls
  int stream_timeout_ms = 300000;  // of a stream opened without a deadline
  int publish_timeout_ms = 3600000;
};

// Calls run on the caller's thread; never use it from a gRPC reaction. UNAVAILABLE names the
// address. Thread-safe.
class RemoteKnot final : public Knot {
 public:
  // Connects on first use.
  explicit RemoteKnot(const RemoteKnotOptions& options);
  ~RemoteKnot() override;

  absl::StatusOr<KnotModelInfo> CurrentModel() override;
  absl::StatusOr<std::unique_ptr<KnotStream>> Open(const std::string& model_id, int64_t deadline_ns,
                                                   int loops) override;
  absl::StatusOr<std::unique_ptr<KnotRestore>> Restore(std::string_view first,
                                                       int64_t deadline_ns) override;
  absl::StatusOr<std::vector<ModelFile>> FetchModel(const std::string& model_id) override;
  absl::StatusOr<std::string> Publish(const std::string& folder) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace chimera
