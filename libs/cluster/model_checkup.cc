#include "cluster/model_checkup.h"

#include <optional>
#include <utility>

namespace chimera {

ModelCheckup::ModelCheckup(std::shared_ptr<const Model> model, ModelCheckupTasks tasks)
    : tasks_(std::move(tasks)), thread_([this, model = std::move(model)] { Run(*model); }) {}

ModelCheckup::~ModelCheckup() {
  stop_.store(true);
  tasks_.wake();
  thread_.join();
}

void ModelCheckup::Run(const Model& model) {
  if (tasks_.on_checked) {
    const absl::Status status = model.CheckWeights(&stop_);
    if (!absl::IsCancelled(status)) tasks_.on_checked(status);
    if (!status.ok()) return;
  }
  if (!tasks_.on_measured) return;
  CostProbeOptions probe;
  probe.run = [this](absl::FunctionRef<void(ExecContext*)> pass) {
    return tasks_.run(pass, &stop_);
  };
  const std::optional<CostCurve> curve = MeasureCost(model, probe);
  if (curve.has_value()) tasks_.on_measured(*curve);
}

}  // namespace chimera
