// What a knot does with a model beside its streams: reads the weights through once for their
// checksums (FEATURES M14), then measures what passes cost (DESIGN D6). Neither is on the way to
// the first token.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/exec_context.h"
#include "cluster/cost_probe.h"
#include "model/model.h"

namespace chimera {

struct ModelCheckupTasks {
  // Gets the outcome of Model::CheckWeights; null: the weights are not checked. Runs on the thread
  // of the checkup, as the others.
  std::function<void(const absl::Status&)> on_checked;
  // Gets the curve; null: nothing is measured. Damaged weights are not measured.
  std::function<void(const CostCurve&)> on_measured;
  // Runs a pass in its turn among those of the streams; false when stop became true.
  std::function<bool(absl::FunctionRef<void(ExecContext*)>, const std::atomic<bool>* stop)> run;
  // Wakes run; called after stop became true, from any thread.
  std::function<void()> wake;
};

// One thread from start to end of the tasks. Thread-compatible.
class ModelCheckup {
 public:
  ModelCheckup(std::shared_ptr<const Model> model, ModelCheckupTasks tasks);
  ~ModelCheckup();  // gives up within one tensor or pass, and waits for that

 private:
  void Run(const Model& model);

  const ModelCheckupTasks tasks_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace chimera
