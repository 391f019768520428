// The knot role: serves the process's LocalKnot to others.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "services/knot/service.h"
#include "services/roles.h"

namespace chimera {
namespace {

class KnotRole final : public Role {
 public:
  KnotRole(LocalKnot* knot, const KnotServiceOptions& options)
      : knot_(knot), server_(knot, options) {}

  grpc::Service* service() override { return server_.service(); }
  std::string health_name() const override { return "chimera.knot.v1.KnotService"; }
  std::string Summary() const override {
    const KnotModelInfo info = knot_->Info();
    return absl::StrCat("model ", info.model_id.substr(0, 12), " (", info.name, "), ",
                        info.streams_max, " streams");
  }
  std::string Unhealthy() const override {
    const KnotModelInfo info = knot_->Info();
    if (info.weights_check != WeightsCheck::kDamaged) return "";
    return absl::StrCat("the weights of model ", info.model_id.substr(0, 12), " are damaged");
  }

 private:
  LocalKnot* const knot_;
  KnotServer server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Role>> MakeKnotRole(const RoleContext& context) {
  if (context.local_knot == nullptr) {
    return absl::FailedPreconditionError("the knot role needs a model in this process");
  }
  context.metrics->OnScrape([knot = context.local_knot](MetricsSink* sink) {
    const KnotModelInfo info = knot->Info();
    sink->Gauge("chimera_memory_limit_bytes", "", static_cast<double>(info.memory_limit_bytes));
    sink->Gauge("chimera_streams_running", "", info.streams_running);
    sink->Gauge("chimera_streams_limit", "", info.streams_max);
    const std::pair<const char*, WeightsCheck> states[] = {{"running", WeightsCheck::kRunning},
                                                           {"good", WeightsCheck::kGood},
                                                           {"damaged", WeightsCheck::kDamaged}};
    for (const auto& [state, check] : states) {
      sink->Gauge("chimera_weights_check", state, info.weights_check == check ? 1 : 0);
    }
    for (const CostPoint& point : info.cost.points) {
      sink->Gauge("chimera_knot_pass_seconds", absl::StrCat(point.positions),
                  static_cast<double>(point.pass_ns) * 1e-9);
    }
    sink->Gauge("chimera_knot_head_seconds", "", static_cast<double>(info.cost.head_ns) * 1e-9);
  });
  for (const MemoryPart part :
       {MemoryPart::kWeights, MemoryPart::kStates, MemoryPart::kSnapshots, MemoryPart::kScratch}) {
    context.memory_report->Add(
        MemoryPartName(part), part != MemoryPart::kWeights,
        [knot = context.local_knot, part] { return knot->memory().held(part); });
  }
  KnotServiceOptions options;
  options.request_deadline_ms = context.config->request_deadline_ms;
  return std::unique_ptr<Role>(std::make_unique<KnotRole>(context.local_knot, options));
}

}  // namespace chimera
