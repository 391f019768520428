// The Memory over the wire: the same interface, answered by a MemoryService (DESIGN D9).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "memory/memory.h"

namespace chimera {

struct RemoteMemoryOptions {
  std::string address;             // HOST:PORT
  int connect_timeout_ms = 10000;  // how long a service that is not up yet is waited for
  int call_timeout_ms = 30000;
};

// Calls run on the caller's thread; never use it from a gRPC reaction. Arguments are checked here
// too, so that a bad one costs no round trip. UNAVAILABLE names the address. Thread-safe.
class RemoteMemory final : public Memory {
 public:
  // Connects on first use.
  explicit RemoteMemory(const RemoteMemoryOptions& options);
  ~RemoteMemory() override;

  using Memory::Recall;
  using Memory::Remember;
  absl::StatusOr<std::vector<RememberedFact>> Remember(const std::string& user,
                                                       std::span<const NewFact> facts) override;
  absl::StatusOr<std::vector<std::vector<RecalledFact>>> Recall(
      const std::string& user, std::span<const std::string> queries,
      const RecallOptions& options) override;
  absl::StatusOr<int64_t> Forget(const std::string& user, const std::string& fact_id) override;
  absl::StatusOr<int64_t> ForgetAll(const std::string& user) override;
  absl::StatusOr<MemoryStats> Stats(const std::string& user) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
