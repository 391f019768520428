// chimera.knot.v1.KnotService over a LocalKnot. Reactions only hand over; passes run on the
// service's own threads (DESIGN D21).
#pragma once

#include <memory>

#include "cluster/local_knot.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace chimera {

struct KnotServiceOptions {
  int request_deadline_ms = 300000;  // of a stream whose client set none
  int fork_claim_ms = 10000;         // how long a fork waits for its call
};

// Must outlive the server it is registered with. Thread-safe.
class KnotServer {
 public:
  // knot is borrowed.
  KnotServer(LocalKnot* knot, const KnotServiceOptions& options);
  ~KnotServer();

  grpc::Service* service();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
