#include "cluster/local_knot.h"

#include <algorithm>
#include <atomic>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "cluster/local_stream.h"
#include "cluster/memory_budget.h"
#include "cluster/memory_plan.h"
#include "cluster/model_transfer.h"
#include "cluster/pass_scheduler.h"
#include "cluster/stream_host.h"
#include "cluster/stream_snapshot.h"
#include "model/model.h"
#include "model/snapshot.h"

namespace chimera {
namespace {

constexpr size_t kSmallFileBytesMax = 64 << 20;

std::string ModelsDir(const std::string& data_dir) { return data_dir + "/models"; }

std::string Short(const std::string& id) { return id.substr(0, 12); }

// The model, counted with the passes over it until the last who holds it lets go.
absl::StatusOr<std::shared_ptr<const Model>> Held(std::shared_ptr<const Model> model,
                                                  MemoryBudget* memory) {
  struct Holder {
    std::shared_ptr<const Model> model;
    MemoryHold weights, passes;
  };
  CHIMERA_ASSIGN_OR_RETURN(MemoryHold weights,
                           memory->Hold(MemoryPart::kWeights, model->weight_bytes(), "a model"));
  CHIMERA_ASSIGN_OR_RETURN(MemoryHold passes,
                           memory->Hold(MemoryPart::kScratch, PassEngine::Bytes(model->shape()),
                                        "the passes over a model"));
  const Model* const raw = model.get();
  auto holder =
      std::make_shared<Holder>(Holder{std::move(model), std::move(weights), std::move(passes)});
  return std::shared_ptr<const Model>(std::move(holder), raw);
}

// "1: 1.20 ms, 2: 1.31 ms, ..., head 0.40 ms".
std::string CostText(const CostCurve& curve) {
  std::string text;
  for (const CostPoint& point : curve.points) {
    absl::StrAppendFormat(&text, "%d: %.2f ms, ", point.positions,
                          static_cast<double>(point.pass_ns) * 1e-6);
  }
  absl::StrAppendFormat(&text, "head %.2f ms", static_cast<double>(curve.head_ns) * 1e-6);
  return text;
}

}  // namespace

struct LocalKnot::Core final : StreamHost, std::enable_shared_from_this<LocalKnot::Core> {
  // model is held already; memory counts it.
  Core(const LocalKnotOptions& options_in, std::shared_ptr<const Model> model, int max_streams_in,
       std::shared_ptr<MemoryBudget> memory_in, MetricsSink* metrics_in)
      : options(options_in),
        metrics(metrics_in),
        scheduler(options_in.threads, [this](const PassEngine& engine, int rows,
                                             int64_t ns) { Timed(engine.model(), rows, ns); }),
        budget(std::move(memory_in)),
        max_streams(max_streams_in) {
    current = model;
    engine = scheduler.EngineOf(model);
    loaded.push_back(model);
    RaiseBudget(*model);
  }

  // A published model may have larger states; running streams keep theirs.
  void RaiseBudget(const Model& model) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    budget_bytes = std::max(budget_bytes, BraidState::Bytes(model.shape()) * max_streams);
  }

  // The model of this id if anybody still holds it.
  std::shared_ptr<const Model> Find(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (id.empty()) return current;
    for (const std::weak_ptr<const Model>& weak : loaded) {
      std::shared_ptr<const Model> model = weak.lock();
      if (model != nullptr && model->id() == id) return model;
    }
    return nullptr;
  }

  absl::Status Mismatch(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return absl::FailedPreconditionError(
        absl::StrCat("model ", id.substr(0, 64), " is not served, current is ", current->id()));
  }

  // A slot, and what its stream holds. The slot is free when it is destroyed.
  struct Admission {
    ~Admission() {
      state = MemoryHold();
      scratch = MemoryHold();
      core->running.fetch_sub(1);
    }
    std::shared_ptr<Core> core;
    MemoryHold state, scratch;
  };

  // A slot, and room for its state: streams that may loop more often take the room of several
  // (DESIGN D14).
  absl::StatusOr<std::shared_ptr<Admission>> Admit(const Model& model, int loops) {
    MutexLock lock(&mutex);
    if (model.id() == damaged_model_id) return damage;
    if (running.load() >= max_streams) {
      return absl::ResourceExhaustedError(
          absl::StrCat("all ", max_streams, " stream slots of the knot are taken"));
    }
    const int64_t bytes = BraidState::Bytes(model.shape(), loops);
    const int64_t taken = budget->held(MemoryPart::kStates);
    if (taken + bytes > budget_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a stream of ", bytes, " bytes exceeds the knot's budget of ", budget_bytes,
                       " bytes of state, of which ", taken, " are taken"));
    }
    CHIMERA_ASSIGN_OR_RETURN(MemoryHold state,
                             budget->Hold(MemoryPart::kStates, bytes, "a stream"));
    CHIMERA_ASSIGN_OR_RETURN(MemoryHold scratch,
                             budget->Hold(MemoryPart::kScratch, StreamScratchBytes(model.shape()),
                                          "the buffers of a stream"));
    running.fetch_add(1);
    return std::shared_ptr<Admission>(
        new Admission{shared_from_this(), std::move(state), std::move(scratch)});
  }

  absl::StatusOr<std::unique_ptr<LocalStream>> NewStream(std::shared_ptr<const Model> model,
                                                         int loops, int64_t deadline_ns) override {
    CHIMERA_ASSIGN_OR_RETURN(std::shared_ptr<Admission> admission, Admit(*model, loops));
    auto stream = std::make_unique<LocalStream>(
        std::move(model), loops, &scheduler, metrics, deadline_ns,
        [admission = std::move(admission)]() mutable { admission.reset(); });
    stream->SetHost(shared_from_this());
    return stream;
  }

  MemoryBudget* memory() override { return budget.get(); }

  // Passes of a measurement take their turn among those of the streams.
  ModelCheckupTasks CheckupTasks(const std::string& id, bool check_weights) {
    const std::shared_ptr<Core> core = shared_from_this();
    ModelCheckupTasks tasks;
    tasks.run = [core](absl::FunctionRef<void(ExecContext*)> pass, const std::atomic<bool>* stop) {
      return core->scheduler.RunAlone(pass, {stop, 0});
    };
    tasks.wake = [core] { core->scheduler.Wake(); };
    if (check_weights) {
      tasks.on_checked = [core, id](const absl::Status& status) { core->Checked(id, status); };
    }
    if (options.measure_cost) {
      tasks.on_measured = [core, id](const CostCurve& curve) { core->Measured(id, curve); };
    }
    return tasks;
  }

  void Checked(const std::string& id, const absl::Status& status) {
    if (status.ok()) {
      std::shared_ptr<const Model> model;
      {
        MutexLock lock(&mutex);
        model = Find(id);
      }
      const double huge = model == nullptr ? 0.0 : model->weights().huge_page_share();
      LogInfo(absl::StrFormat("weights of %s are as their digests say, %.0f %% on huge pages",
                              Short(id), 100 * huge));
    } else {
      LogError(absl::StrCat("weights of ", Short(id),
                            " are damaged, no new streams: ", status.message()));
    }
    MutexLock lock(&mutex);
    unchecked_model_id.clear();
    if (!status.ok()) {
      damage = status;
      damaged_model_id = id;
    }
  }

  // Counts passes of steps that took longer than they should; no text depends on it.
  void Timed(const Model& model, int rows, int64_t ns) {
    if (metrics == nullptr) return;
    {
      MutexLock lock(&mutex);
      const int tick_ms = model.config().deployment.watchdog_tick_ms;
      if (cost_model_id != model.id() || ns <= WatchdogLimitNs(cost, rows, tick_ms)) return;
    }
    metrics->Count("chimera_watchdog_overruns_total", "", 1);
  }

  void Measured(const std::string& id, const CostCurve& curve) {
    LogInfo(absl::StrCat("cost of a pass of ", Short(id), ": ", CostText(curve)));
    MutexLock lock(&mutex);
    cost = curve;
    cost_model_id = id;
  }

  WeightsCheck CheckOf(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (id == damaged_model_id) return WeightsCheck::kDamaged;
    return id == unchecked_model_id ? WeightsCheck::kRunning : WeightsCheck::kGood;
  }

  const LocalKnotOptions options;
  MetricsSink* const metrics;
  PassScheduler scheduler;
  const std::shared_ptr<MemoryBudget> budget;
  std::string plan_text;        // set once, before anybody else sees the core
  std::atomic<int> running{0};  // goes up under the mutex
  const int max_streams;
  mutable Mutex mutex;
  int64_t budget_bytes ABSL_GUARDED_BY(mutex) = 0;  // every slot with the default loops
  std::shared_ptr<const Model> current ABSL_GUARDED_BY(mutex);
  std::shared_ptr<PassEngine> engine ABSL_GUARDED_BY(mutex);  // of current, between its streams too
  std::vector<std::weak_ptr<const Model>> loaded ABSL_GUARDED_BY(mutex);
  CostCurve cost ABSL_GUARDED_BY(mutex);
  std::string cost_model_id ABSL_GUARDED_BY(mutex);  // whose curve it is; empty: nobody's yet
  std::string unchecked_model_id ABSL_GUARDED_BY(mutex);
  std::string damaged_model_id ABSL_GUARDED_BY(mutex);
  absl::Status damage ABSL_GUARDED_BY(mutex);  // of that model
};

LocalKnot::LocalKnot(std::shared_ptr<Core> core) : core_(std::move(core)) {}
LocalKnot::~LocalKnot() = default;

absl::StatusOr<std::unique_ptr<LocalKnot>> LocalKnot::Create(const LocalKnotOptions& options,
                                                             const std::string& model_folder,
                                                             MetricsSink* metrics) {
  if (options.threads < 1 || options.max_streams < 0) {
    return absl::InvalidArgumentError(absl::StrCat("threads ", options.threads,
                                                   " must be at least 1 and max_streams ",
                                                   options.max_streams, " at least 0"));
  }
  if (!options.data_dir.empty()) RemovePartialModels(ModelsDir(options.data_dir));
  const auto load = options.check_weights_later ? Model::Map : Model::Load;
  CHIMERA_ASSIGN_OR_RETURN(std::shared_ptr<const Model> model, load(model_folder));
  const int max_streams =
      options.max_streams > 0 ? options.max_streams : model->config().deployment.max_streams;
  const MemoryPlan plan = PlanMemory(*model, max_streams);
  auto memory = MemoryBudget::Create(options.memory_limit_bytes > 0 ? options.memory_limit_bytes
                                                                    : plan.limit_bytes);
  CHIMERA_ASSIGN_OR_RETURN(model, Held(std::move(model), memory.get()));
  auto core = std::make_shared<Core>(options, model, max_streams, std::move(memory), metrics);
  core->plan_text = MemoryPlanText(plan);
  std::unique_ptr<LocalKnot> knot(new LocalKnot(std::move(core)));
  knot->StartCheckup(std::move(model), options.check_weights_later);
  return knot;
}

void LocalKnot::StartCheckup(std::shared_ptr<const Model> model, bool check_weights) {
  MutexLock lock(&background_mutex_);
  checkup_.reset();
  {
    MutexLock core_lock(&core_->mutex);
    core_->unchecked_model_id = check_weights ? model->id() : "";
  }
  if (!check_weights && !core_->options.measure_cost) return;
  ModelCheckupTasks tasks = core_->CheckupTasks(model->id(), check_weights);
  checkup_ = std::make_unique<ModelCheckup>(std::move(model), std::move(tasks));
}

KnotModelInfo LocalKnot::Info() const {
  std::shared_ptr<const Model> model;
  {
    MutexLock lock(&core_->mutex);
    model = core_->current;
  }
  KnotModelInfo info;
  info.model_id = model->id();
  info.name = model->shape().name;
  info.vocab_size = model->shape().vocab_size;
  info.weight_bytes = model->weight_bytes();
  info.state_bytes = BraidState::Bytes(model->shape());
  info.streams_running = core_->running.load();
  info.streams_max = core_->max_streams;
  info.memory_bytes = core_->budget->held();
  info.memory_limit_bytes = core_->budget->limit_bytes();
  MutexLock lock(&core_->mutex);
  if (core_->cost_model_id == info.model_id) info.cost = core_->cost;
  info.weights_check = core_->CheckOf(info.model_id);
  return info;
}

const std::string& LocalKnot::memory_plan() const { return core_->plan_text; }

const MemoryBudget& LocalKnot::memory() const { return *core_->budget; }

const std::string& LocalKnot::data_dir() const { return core_->options.data_dir; }

absl::StatusOr<KnotModelInfo> LocalKnot::CurrentModel() { return Info(); }

absl::StatusOr<std::unique_ptr<KnotStream>> LocalKnot::Open(const std::string& model_id,
                                                            int64_t deadline_ns, int loops) {
  std::shared_ptr<const Model> model;
  {
    MutexLock lock(&core_->mutex);
    if (!model_id.empty() && model_id != core_->current->id()) return core_->Mismatch(model_id);
    model = core_->current;
  }
  const int loops_max = model->shape().loop.loops_max;
  if (loops < 0 || loops > loops_max) {
    return absl::InvalidArgumentError(absl::StrCat("loops ", loops, " is outside 1..", loops_max,
                                                   " of model ", model->shape().name));
  }
  return core_->NewStream(std::move(model), loops, deadline_ns);
}

absl::StatusOr<std::unique_ptr<KnotRestore>> LocalKnot::Restore(std::string_view first,
                                                                int64_t deadline_ns) {
  CHIMERA_RETURN_IF_ERROR(CheckRestoreChunk(first, kRestoreFirstChunkBytesMin));
  CHIMERA_ASSIGN_OR_RETURN(const std::string id, SnapshotModelId(first));
  std::shared_ptr<const Model> model;
  {
    MutexLock lock(&core_->mutex);
    model = core_->Find(id);
    if (model == nullptr) return core_->Mismatch(absl::CHexEscape(id));
  }
  return LocalRestore::Begin(core_.get(), std::move(model), first, deadline_ns);
}

absl::StatusOr<std::vector<ModelFile>> LocalKnot::FetchModel(const std::string& model_id) {
  std::shared_ptr<const Model> model;
  {
    MutexLock lock(&core_->mutex);
    model = core_->Find(model_id);
    if (model == nullptr) return core_->Mismatch(model_id);
  }
  std::vector<ModelFile> files;
  for (const char* name : {kConfigFile, kTokenizerFile}) {
    CHIMERA_ASSIGN_OR_RETURN(std::string bytes,
                             ReadFile(model->folder() + "/" + name, kSmallFileBytesMax));
    files.push_back({name, std::move(bytes)});
  }
  return files;
}

absl::StatusOr<std::string> LocalKnot::Publish(const std::string& folder) {
  if (core_->options.data_dir.empty()) {
    return absl::FailedPreconditionError("this knot has no data folder to publish models to");
  }
  {
    CHIMERA_ASSIGN_OR_RETURN(const std::shared_ptr<const Model> model, Model::Load(folder));
    CHIMERA_RETURN_IF_ERROR(CheckPublish(model->weight_bytes()));
  }
  CHIMERA_ASSIGN_OR_RETURN(const std::string copy,
                           CopyModel(folder, ModelsDir(core_->options.data_dir), kModelBytesMax));
  return Adopt(copy);
}

absl::Status LocalKnot::CheckPublish(int64_t weight_bytes) const {
  return core_->budget->CheckRoom(weight_bytes, "a model");
}

absl::StatusOr<std::string> LocalKnot::Adopt(const std::string& folder) {
  CHIMERA_ASSIGN_OR_RETURN(std::shared_ptr<const Model> model, Model::Load(folder));
  CHIMERA_ASSIGN_OR_RETURN(model, Held(std::move(model), core_->budget.get()));
  const std::string id = model->id();
  if (!core_->options.data_dir.empty()) {
    CHIMERA_RETURN_IF_ERROR(
        WriteFileAtomic(ModelsDir(core_->options.data_dir) + "/current", id + "\n"));
  }
  std::string replaced;
  std::shared_ptr<PassEngine> engine = core_->scheduler.EngineOf(model);
  {
    MutexLock lock(&core_->mutex);
    replaced = core_->current->id();
    core_->current = model;
    core_->engine.swap(engine);
    std::erase_if(core_->loaded, [](const auto& weak) { return weak.expired(); });
    core_->loaded.push_back(model);
    core_->RaiseBudget(*model);
  }
  StartCheckup(model, false);
  LogInfo(absl::StrCat("model ", Short(id), " (", model->shape().name, ") is current, it replaces ",
                       Short(replaced)));
  return id;
}

std::string PublishedModelFolder(const std::string& data_dir) {
  const absl::StatusOr<std::string> text = ReadFile(ModelsDir(data_dir) + "/current", 128);
  if (!text.ok()) return "";
  const std::string id = text->substr(0, text->find('\n'));
  if (id.size() != 64 || id.find_first_not_of("0123456789abcdef") != std::string::npos) return "";
  return ModelsDir(data_dir) + "/" + id;
}

}  // namespace chimera
