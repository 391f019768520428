#include "services/surface/service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "chimera/surface/v1/surface.grpc.pb.h"
#include "cluster/completer.h"
#include "cluster/executor.h"
#include "cluster/server_deadline.h"
#include "cluster/status_map.h"
#include "services/surface/complete_call.h"
#include "services/surface/messages.h"

namespace chimera {
namespace {

namespace pb = surface::v1;

}  // namespace

struct SurfaceServer::Impl final : public pb::SurfaceService::CallbackService {
  Impl(Knot* knot_in, const SurfaceServiceOptions& options_in, Metrics* metrics_in, Memory* memory)
      : knot(knot_in),
        options(options_in),
        metrics(metrics_in),
        completer(knot_in, options_in.limits, metrics_in, memory, options_in.learn),
        completions("completion", options_in.workers, static_cast<size_t>(options_in.queue_max)),
        lookups("surface", 2, 64) {}

  grpc::ServerWriteReactor<pb::CompleteResponse>* Complete(grpc::CallbackServerContext* context,
                                                           const pb::CompleteRequest* in) override {
    CompletionRequest request = ReadRequest(*in);
    request.arrival_ns = Clock::Real().NowNs();
    request.deadline_ns = ServerDeadlineNs(context->deadline(), options.request_deadline_ms);
    auto call =
        std::make_shared<CompleteCall>(context, &completer, &completions, options.stall_timeout_ms);
    CompleteCall* reactor = call.get();
    const absl::Status status = call->Begin(std::move(request));
    if (!status.ok() && metrics != nullptr) {
      metrics->CountRequest(StatusCodeLabel(status.code()), "none");
    }
    return reactor;
  }

  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const pb::TokenizeRequest* request,
                                     pb::TokenizeResponse* response) override {
    return Answer(context, [this, request, response] {
      const auto ids = completer.Tokenize(request->text());
      if (ids.ok()) response->mutable_token_ids()->Add(ids->begin(), ids->end());
      return ids.status();
    });
  }

  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const pb::GetServerInfoRequest*,
                                          pb::GetServerInfoResponse* response) override {
    return Answer(context, [this, response] {
      const absl::StatusOr<KnotModelInfo> info = knot->CurrentModel();
      if (!info.ok()) return info.status();
      response->set_version(BuildVersion());
      response->set_model_id(info->model_id);
      response->set_model_name(info->name);
      response->set_vocab_size(info->vocab_size);
      response->set_prompt_bytes_max(static_cast<int64_t>(options.limits.prompt_bytes_max));
      response->set_max_tokens_max(options.limits.max_tokens_max);
      response->set_streams_max(options.workers);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context,
                                   std::function<absl::Status()> work) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const auto posted =
        lookups.Post([reactor, work = std::move(work)] { reactor->Finish(ToGrpc(work())); });
    if (!posted.ok()) reactor->Finish(ToGrpc(posted.status()));
    return reactor;
  }

  Knot* const knot;
  const SurfaceServiceOptions options;
  Metrics* const metrics;
  Completer completer;
  Executor completions;
  Executor lookups;
};

SurfaceServer::SurfaceServer(Knot* knot, const SurfaceServiceOptions& options, Metrics* metrics,
                             Memory* memory)
    : impl_(std::make_unique<Impl>(knot, options, metrics, memory)) {}

SurfaceServer::~SurfaceServer() = default;

grpc::Service* SurfaceServer::service() { return impl_.get(); }

int SurfaceServer::requests_waiting() const {
  return static_cast<int>(impl_->completions.waiting());
}

int SurfaceServer::requests_running() const {
  return static_cast<int>(impl_->completions.running());
}

size_t SurfaceServer::learning() const { return impl_->completer.learning(); }

}  // namespace chimera
