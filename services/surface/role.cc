// The surface role: what clients talk to.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "services/roles.h"
#include "services/surface/service.h"

namespace chimera {
namespace {

constexpr int kQueuedPerWorker = 4;

class SurfaceRole final : public Role {
 public:
  SurfaceRole(const RoleContext& context, const SurfaceServiceOptions& options, std::string summary)
      : server_(context.knot, options, context.metrics, context.memory),
        summary_(std::move(summary)) {}

  grpc::Service* service() override { return server_.service(); }
  std::string health_name() const override { return "chimera.surface.v1.SurfaceService"; }
  std::string Summary() const override { return summary_; }
  const SurfaceServer& server() const { return server_; }

 private:
  SurfaceServer server_;
  const std::string summary_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Role>> MakeSurfaceRole(const RoleContext& context) {
  if (context.knot == nullptr) {
    return absl::FailedPreconditionError("the surface role needs a knot");
  }
  CHIMERA_ASSIGN_OR_RETURN(const KnotModelInfo info, context.knot->CurrentModel());
  SurfaceServiceOptions options;
  options.limits.max_tokens_max = context.config->max_new_tokens;
  options.limits.prompt_bytes_max = context.config->max_prompt_bytes;
  options.workers = std::max(1, info.streams_max);
  options.queue_max = kQueuedPerWorker * options.workers;
  options.request_deadline_ms = context.config->request_deadline_ms;
  options.learn = context.config->memory.learn;
  auto role = std::make_unique<SurfaceRole>(
      context, options,
      absl::StrCat("model ", info.model_id.substr(0, 12), " (", info.name, "), ", options.workers,
                   " completions at once, ", options.queue_max, " may wait"));
  context.metrics->OnScrape([server = &role->server()](MetricsSink* sink) {
    sink->Gauge("chimera_requests_waiting", "", server->requests_waiting());
    sink->Gauge("chimera_requests_running", "", server->requests_running());
  });
  return std::unique_ptr<Role>(std::move(role));
}

}  // namespace chimera
