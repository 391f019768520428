// The Knot in this process: models, stream slots and the share of the cores (DESIGN D9, D22).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/metrics_sink.h"
#include "base/mutex.h"
#include "cluster/memory_budget.h"
#include "cluster/model_checkup.h"
#include "decode/knot.h"
#include "model/model.h"

namespace chimera {

struct LocalKnotOptions {
  std::string data_dir;  // published models go to <data_dir>/models; empty: publishing is refused
  int threads = 1;       // of a pass
  int max_streams = 0;   // 0: deployment.max_streams of the first model
  // Bytes of models, states, snapshots and buffers together; 0: recomputed from the first model
  // (cluster/memory_plan.h).
  int64_t memory_limit_bytes = 0;
  // Measure the cost curve of every model that becomes current, in the background.
  bool measure_cost = false;
  // Serve the first model as soon as it is mapped, and read its weights through for their checksums
  // in the background. Damaged weights take no new stream.
  bool check_weights_later = false;
};

// Streams are pinned to the model that was current when they opened; the old model leaves memory
// with its last stream. Passes are shared (cluster/pass_scheduler.h); streams never change each
// other's text.
// A published model is remembered in <data_dir>/models/current. Thread-safe; streams may outlive
// it.
class LocalKnot final : public Knot {
 public:
  // Loads and checks a model folder. metrics may be null, and is borrowed.
  static absl::StatusOr<std::unique_ptr<LocalKnot>> Create(const LocalKnotOptions& options,
                                                           const std::string& model_folder,
                                                           MetricsSink* metrics);
  ~LocalKnot() override;

  absl::StatusOr<KnotModelInfo> CurrentModel() override;
  absl::StatusOr<std::unique_ptr<KnotStream>> Open(const std::string& model_id, int64_t deadline_ns,
                                                   int loops) override;
  // A model that running streams still hold will do too.
  absl::StatusOr<std::unique_ptr<KnotRestore>> Restore(std::string_view first,
                                                       int64_t deadline_ns) override;
  absl::StatusOr<std::vector<ModelFile>> FetchModel(const std::string& model_id) override;
  absl::StatusOr<std::string> Publish(const std::string& folder) override;
  // The same for a folder that is in its final place already (cluster/model_transfer.h).
  absl::StatusOr<std::string> Adopt(const std::string& folder);

  // Never waits for a pass.
  KnotModelInfo Info() const;
  const std::string& data_dir() const;
  // RESOURCE_EXHAUSTED when a model of so many bytes has no room beside those that are held.
  absl::Status CheckPublish(int64_t weight_bytes) const;
  // The budget recomputed from the first model, in one line (cluster/memory_plan.h).
  const std::string& memory_plan() const;
  // What is held, by component, and the limit.
  const MemoryBudget& memory() const;

  struct Core;  // shared with the streams

 private:
  explicit LocalKnot(std::shared_ptr<Core> core);
  const std::shared_ptr<Core> core_;
  // Work on the current model beside the streams; what the former one had is given up.
  void StartCheckup(std::shared_ptr<const Model> model, bool check_weights);
  Mutex background_mutex_;
  std::unique_ptr<ModelCheckup> checkup_ ABSL_GUARDED_BY(background_mutex_);
};

// The folder that was published last under data_dir, or empty.
std::string PublishedModelFolder(const std::string& data_dir);

}  // namespace chimera
