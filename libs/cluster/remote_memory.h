// The Memory over the wire: the same interface, answered by a MemoryService (DESIGN D9). Pages of
// facts, records and sections stay within the service: UNIMPLEMENTED here.
#pragma once

#include <cstdint>
#include <functional>
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
  absl::StatusOr<int64_t> Reinforce(const std::string& user,
                                    std::span<const FactUse> uses) override;
  absl::StatusOr<LearnReport> Learn(const std::string& user, const LearnBatch& batch) override;
  absl::StatusOr<int64_t> Forget(const std::string& user, const std::string& fact_id) override;
  absl::StatusOr<int64_t> ForgetAll(const std::string& user) override;
  absl::StatusOr<int64_t> Relate(const std::string& user, std::span<const Relation> relations,
                                 Source source) override;
  absl::StatusOr<std::vector<Relation>> Related(const std::string& user,
                                                const RelationPattern& pattern, int limit) override;
  absl::StatusOr<int64_t> Unrelate(const std::string& user,
                                   const RelationPattern& pattern) override;
  absl::Status Export(const std::string& user,
                      const std::function<absl::Status(std::string_view)>& receive) override;
  // first_line is 1: each call is an import of its own here.
  absl::StatusOr<ImportReport> Import(const std::string& user, std::string_view lines,
                                      int64_t first_line) override;
  absl::StatusOr<int64_t> Reset(const std::string& user) override;
  // The folder is the service's own: folder must be empty.
  absl::StatusOr<BackupReport> Backup(const std::string& folder, int keep) override;
  absl::StatusOr<MemoryStats> Stats(const std::string& user) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
