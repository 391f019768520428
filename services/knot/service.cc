#include "services/knot/service.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "chimera/knot/v1/knot.grpc.pb.h"
#include "cluster/executor.h"
#include "cluster/knot_proto.h"
#include "cluster/model_transfer.h"
#include "cluster/server_deadline.h"
#include "cluster/status_map.h"
#include "services/knot/model_calls.h"
#include "services/knot/parked_forks.h"
#include "services/knot/stream_call.h"

namespace chimera {
namespace {

namespace pb = knot::v1;

constexpr size_t kStreamQueueMax = 1024;  // calls whose next message waits for a thread
constexpr int kExpiryIntervalMs = 200;

}  // namespace

struct KnotServer::Impl final : public pb::KnotService::CallbackService {
  Impl(LocalKnot* knot_in, const KnotServiceOptions& options_in)
      : knot(knot_in),
        options(options_in),
        forks(options_in.fork_claim_ms),
        // Two more than slots: opening and refusing goes on while every slot computes.
        passes("knot stream", knot_in->Info().streams_max + 2, kStreamQueueMax),
        transfers("model transfer", 2, 16),
        expiry(kExpiryIntervalMs, [this] { EndExpired(); }) {}

  grpc::ServerBidiReactor<pb::StreamRequest, pb::StreamResponse>* Stream(
      grpc::CallbackServerContext* context) override {
    auto call = std::make_shared<StreamCall>(
        knot, &caches, &forks, &passes,
        ServerDeadlineNs(context->deadline(), options.request_deadline_ms));
    {
      MutexLock lock(&mutex);
      live.push_back(call);
    }
    call->Begin();
    return call.get();
  }

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const pb::GetModelRequest*,
                                     pb::GetModelResponse* response) override {
    WriteModelInfo(knot->Info(), response);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerWriteReactor<pb::FetchModelResponse>* FetchModel(
      grpc::CallbackServerContext*, const pb::FetchModelRequest* request) override {
    return StartFetch(knot, &transfers, request->model_id());
  }

  grpc::ServerReadReactor<pb::PublishModelRequest>* PublishModel(
      grpc::CallbackServerContext*, pb::PublishModelResponse* response) override {
    return StartPublish(knot, &transfers, response);
  }

  // Streams that idle past their deadline would hold their slots for ever.
  void EndExpired() {
    std::vector<std::shared_ptr<StreamCall>> calls;
    {
      MutexLock lock(&mutex);
      std::erase_if(live, [](const auto& weak) { return weak.expired(); });
      for (const auto& weak : live) {
        if (auto call = weak.lock(); call != nullptr) calls.push_back(std::move(call));
      }
    }
    const int64_t now_ns = Clock::Real().NowNs();
    for (const auto& call : calls) call->EndIfExpired(now_ns);
    forks.DropExpired(now_ns);
  }

  LocalKnot* const knot;
  const KnotServiceOptions options;
  KnotCaches caches;
  ParkedForks forks;
  Executor passes;
  Executor transfers;
  Mutex mutex;
  std::vector<std::weak_ptr<StreamCall>> live ABSL_GUARDED_BY(mutex);
  Ticker expiry;
};

KnotServer::KnotServer(LocalKnot* knot, const KnotServiceOptions& options)
    : impl_(std::make_unique<Impl>(knot, options)) {}

KnotServer::~KnotServer() = default;

grpc::Service* KnotServer::service() { return impl_.get(); }

}  // namespace chimera
