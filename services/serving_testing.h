// A knot and a surface on loopback sockets, for tests of whole requests.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "chimera/knot/v1/knot.grpc.pb.h"
#include "chimera/surface/v1/surface.grpc.pb.h"
#include "cluster/local_knot.h"
#include "cluster/metrics.h"
#include "cluster/remote_knot.h"
#include "cluster/server.h"
#include "services/knot/service.h"
#include "services/surface/service.h"

namespace chimera {

struct ServingOptions {
  bool remote_knot = true;  // the surface talks to the knot over its socket
  bool endless = false;     // greedy completions never meet end-of-text
  int max_streams = 4;
  int threads = 2;
  int queue_max = 64;
  int stall_timeout_ms = 30000;
  int request_deadline_ms = 60000;
  int drain_timeout_ms = 2000;
  int fork_claim_ms = 10000;
  bool measure_cost = false;
  bool check_weights_later = false;
  int64_t memory_limit_bytes = 0;
  std::string data_dir;
  Memory* memory = nullptr;  // borrowed; null: requests may not name users
  bool learn = false;        // and it learns from completions
};

// One client's view of a completion.
struct Completion {
  grpc::Status status;
  surface::v1::Started started;
  surface::v1::Finished finished;
  std::string text;
  std::vector<int32_t> token_ids;
  std::vector<surface::v1::TokenLogprob> logprobs;
  std::vector<surface::v1::MemoryRead> memory_reads;
  int deltas = 0;
};

class Serving {
 public:
  // A model folder as model/model_testing.h makes it.
  Serving(const std::string& model_folder, const ServingOptions& options);

  Completion Complete(const surface::v1::CompleteRequest& request, int deadline_ms = 30000);
  // True when no stream runs within the time.
  bool SlotsFreeWithin(int ms) const;

  Metrics metrics;
  std::unique_ptr<LocalKnot> local;
  std::unique_ptr<KnotServer> knot;
  std::unique_ptr<Server> knot_server;
  std::unique_ptr<RemoteKnot> remote;
  std::unique_ptr<Knot> endless;  // around one of the two, when asked for
  std::unique_ptr<SurfaceServer> surface;
  std::unique_ptr<Server> surface_server;
  std::shared_ptr<grpc::Channel> channel;  // to the surface
  std::unique_ptr<surface::v1::SurfaceService::Stub> stub;
};

// A knot in a process of its own, killed with this object.
class KnotProcess {
 public:
  // Waits until it is ready; the addresses stay empty when it never is.
  explicit KnotProcess(const std::string& model_folder);
  ~KnotProcess();

  const std::string& address() const { return address_; }              // HOST:PORT
  const std::string& admin_address() const { return admin_address_; }  // HOST:PORT

 private:
  int pid_ = -1;
  std::string address_, admin_address_;
};

// Greedy, no penalty: over an endless knot it goes on until max_tokens.
surface::v1::CompleteRequest GreedyRequest(int max_tokens);
surface::v1::CompleteRequest SeededRequest(uint64_t seed, int max_tokens);

void SetTimeout(grpc::ClientContext* context, int ms);

// Asks the standard health service; true when SERVING came back within the time.
bool HealthIsServing(grpc::Channel* channel, const std::string& service, int timeout_ms);

}  // namespace chimera
