// chimera.trainer.v1.TrainerService over a JobRunner. Reactions only hand over: calls run on the
// service's own threads, watches are fed by one notifier thread (DESIGN D21).
#pragma once

#include <memory>

#include "train/jobs.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace chimera {

struct TrainerServiceOptions {
  int workers = 4;
  int queue_max = 64;
  int watches_max = 256;
  int heartbeat_ms = 3000;    // a watch hears of its job at least this often
  int cancel_wait_ms = 3000;  // how long CancelJob waits for the step in flight
};

// Must outlive the server it is registered with. Thread-safe.
class TrainerServer {
 public:
  // runner is borrowed.
  TrainerServer(JobRunner* runner, const TrainerServiceOptions& options);
  ~TrainerServer();

  grpc::Service* service();
  // Ends the watches: they would hold a draining server for ever. Jobs go on.
  void EndWatches();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace chimera
