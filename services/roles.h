// A role is one service of a process: knot, surface, memory or trainer. `chimera serve` makes the
// roles it was asked for in this order, gives each its own gRPC listener, and drains them in the
// opposite order. services/cli/role_table.cc lists the factories.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cluster/local_knot.h"
#include "cluster/memory_report.h"
#include "cluster/metrics.h"
#include "config/service_config.h"
#include "decode/knot.h"
#include "memory/memory.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace chimera {

// What a factory may use. Everything is borrowed and outlives the role.
struct RoleContext {
  const ServiceConfig* config = nullptr;
  Metrics* metrics = nullptr;
  // Where roles say what memory they count.
  MemoryReport* memory_report = nullptr;
  // The knot of this process, or a remote one. Null for roles that do not need a knot.
  Knot* knot = nullptr;
  // The same when it is in this process; null otherwise.
  LocalKnot* local_knot = nullptr;
  // The memory of this process, or a remote one, which connects when it is first used.
  Memory* memory = nullptr;
};

// Owns its grpc::Service and everything behind it. The destructor runs after the listener is gone,
// so no call is running then; it stops the role's threads.
class Role {
 public:
  virtual ~Role() = default;
  virtual grpc::Service* service() = 0;
  // Full proto name, for health: "chimera.memory.v1.MemoryService".
  virtual std::string health_name() const = 0;
  // For the start-up line: "12,345 facts in data/memory".
  virtual std::string Summary() const = 0;
  // Empty, or why the role must not get requests: its health then answers NOT_SERVING, and /readyz
  // says why. Asked a few times a second from a thread of its own; must not block.
  virtual std::string Unhealthy() const { return ""; }
  // What other roles of this process may use; null for roles that are no memory.
  virtual Memory* memory() { return nullptr; }
  // Called when draining starts, before the listener stops: admit nothing new, let streams that
  // never end by themselves (watches) end. Must not block.
  virtual void StartDrain() {}
};

// In services/<role>/role.cc each.
absl::StatusOr<std::unique_ptr<Role>> MakeKnotRole(const RoleContext& context);
absl::StatusOr<std::unique_ptr<Role>> MakeSurfaceRole(const RoleContext& context);
absl::StatusOr<std::unique_ptr<Role>> MakeMemoryRole(const RoleContext& context);
absl::StatusOr<std::unique_ptr<Role>> MakeTrainerRole(const RoleContext& context);

}  // namespace chimera
