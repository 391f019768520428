// chimera.surface.v1.SurfaceService over any Knot, local or remote. Reactors only hand over;
// completions run on the service's own threads, as many at once as the knot has slots, behind a
// bounded queue (DESIGN D21).
#pragma once

#include <memory>

#include "cluster/metrics.h"
#include "decode/knot.h"
#include "decode/params.h"
#include "memory/memory.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace chimera {

struct SurfaceServiceOptions {
  ParamLimits limits;
  int workers = 16;                  // completions at once
  int queue_max = 64;                // completions waiting; beyond that RESOURCE_EXHAUSTED
  int request_deadline_ms = 300000;  // of a request whose client set none
  int stall_timeout_ms = 30000;      // a client that reads nothing for this long loses its slot
  bool learn = false;                // users' memories learn from completions
};

// Must outlive the server it is registered with. Thread-safe.
class SurfaceServer {
 public:
  // All are borrowed; metrics may be null, and so may memory: then no request may name a user.
  SurfaceServer(Knot* knot, const SurfaceServiceOptions& options, Metrics* metrics,
                Memory* memory = nullptr);
  ~SurfaceServer();

  grpc::Service* service();
  int requests_waiting() const;
  int requests_running() const;
  // Completions that a memory has not learned from yet.
  size_t learning() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
