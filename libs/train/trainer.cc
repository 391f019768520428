#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/exec_context.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/model.h"
#include "model/weight_file.h"
#include "tensor/matmul.h"
#include "train/batch_draws.h"
#include "train/batches.h"
#include "train/checkpoint.h"
#include "train/corpus.h"
#include "train/curve_svg.h"
#include "train/expert_balance.h"
#include "train/expert_settle.h"
#include "train/init_model.h"
#include "train/mezo.h"
#include "train/optimizer.h"
#include "train/router_fit.h"
#include "train/validation.h"

namespace chimera {
namespace {

std::string Platform() { return absl::StrCat(IsaName(BestIsa()), ", ", MatmulLibrary()); }

// Everything that must be the same for a checkpoint to continue a run.
uint64_t RecipeHash(const TrainRecipe& r, const TokenStream& stream) {
  const std::string_view tokens(reinterpret_cast<const char*>(stream.tokens.data()),
                                stream.tokens.size() * sizeof(int32_t));
  std::string all = absl::StrCat(ConfigJson(r.config), "|", r.seed, "|", r.seq_len, "|",
                                 r.batch_seqs, "|", r.StepsTotal(), "|", r.lr, "|", r.lr_min_ratio,
                                 "|", r.warmup_steps, "|", r.weight_decay, "|", r.beta1, "|",
                                 r.beta2, "|", r.eps, "|", r.grad_clip, "|", Xxh3(tokens));
  if (r.optimizer == OptimizerKind::kMezo) absl::StrAppend(&all, "|", r.mezo_eps);
  return Xxh3(all);
}

// One run: the pieces, their state, and the loop over them.
class Run final : private BatchLoss {
 public:
  Run(const TrainRecipe& recipe, const TrainOptions& options, TokenStream train,
      std::vector<Document> valid)
      : recipe_(recipe),
        options_(options),
        train_(std::move(train)),
        valid_(std::move(valid)),
        hash_(RecipeHash(recipe, train_)),
        exec_(recipe.threads > 0 ? recipe.threads : UsableCpus()),
        tape_(&exec_),
        parameters_(recipe.config.model),
        network_(recipe.config.model, &parameters_),
        optimizer_(MakeOptimizer(recipe, &parameters_)),
        draws_(recipe.config.model, recipe.seed),
        balance_(recipe.config.model, &network_, &parameters_),
        batches_(train_.tokens, recipe.config.tokens.eot, recipe.batch_seqs, recipe.seq_len) {
    states_.resize(static_cast<size_t>(network_.StateFloats() * recipe.batch_seqs));
    next_states_.resize(states_.size());
    network_.set_checkpointing(recipe.gradient_checkpointing);
    progress_.steps_total = recipe.StepsTotal();
  }

  // Initial parameters, or those of the work folder's checkpoint.
  absl::Status Restore() {
    absl::StatusOr<Checkpoint> saved = LoadCheckpoint(CheckpointPath());
    if (absl::IsNotFound(saved.status())) {
      CHIMERA_ASSIGN_OR_RETURN(init_model_id_,
                               StartParameters(recipe_, *options_.tokenizer, &parameters_));
      return absl::OkStatus();
    }
    if (!saved.ok()) return saved.status();
    CHIMERA_RETURN_IF_ERROR(CheckOrigin(CheckpointPath(), *saved, recipe_));
    if (saved->recipe_hash != hash_ || saved->values.size() != parameters_.values().size() ||
        saved->states.size() != states_.size() || !optimizer_->Restore(*saved) ||
        !balance_.Restore(saved->balance)) {
      return absl::FailedPreconditionError(
          absl::StrCat(CheckpointPath(),
                       ": belongs to another recipe or other data; give this run a "
                       "fresh work folder, or remove the checkpoint to start over"));
    }
    if (saved->platform != Platform()) {
      LogWarning(absl::StrCat("checkpoint was written on ", saved->platform, ", this is ",
                              Platform(), ": the run goes on, its bits will differ"));
    }
    std::copy(saved->values.begin(), saved->values.end(), parameters_.values().begin());
    init_model_id_ = saved->init_model;
    states_ = std::move(saved->states);
    curve_ = std::move(saved->curve);
    step_ = saved->step;
    seconds_before_ = saved->seconds;
    progress_.checkpoint_step = step_;
    return absl::OkStatus();
  }

  // Trains to the end. false: asked to stop; a checkpoint holds everything done.
  absl::StatusOr<bool> Loop() {
    start_ns_ = Clock::Real().NowNs();
    int64_t last_save_ns = start_ns_;
    while (step_ < recipe_.StepsTotal() && !OutOfTime()) {
      if (options_.should_stop && options_.should_stop()) {
        CHIMERA_RETURN_IF_ERROR(Save());
        return false;
      }
      CHIMERA_RETURN_IF_ERROR(TrainStep());
      const bool evaluate = recipe_.eval_every_steps > 0 && step_ % recipe_.eval_every_steps == 0;
      if (evaluate) progress_.valid_bpb = Validate(recipe_.eval_bytes);
      if (evaluate || step_ % recipe_.log_every_steps == 0) Report(evaluate);
      const int64_t now = Clock::Real().NowNs();
      if (recipe_.checkpoint_interval_s > 0 &&
          now - last_save_ns >= int64_t{recipe_.checkpoint_interval_s} * 1'000'000'000) {
        CHIMERA_RETURN_IF_ERROR(Save());
        last_save_ns = Clock::Real().NowNs();
      }
    }
    // The checkpoint is the end of training: what follows is computed from it, also once more.
    CHIMERA_RETURN_IF_ERROR(Save());
    SettleExpertBiases();
    CHIMERA_RETURN_IF_ERROR(FitRouter());
    // The figure that ships: the whole held-out text.
    progress_.valid_bpb = Validate(INT64_MAX);
    Report(true);
    CHIMERA_RETURN_IF_ERROR(WriteCurve());
    return true;
  }

  absl::StatusOr<std::string> Export(std::string* folder) {
    *folder = options_.work_folder + "/model";
    CHIMERA_RETURN_IF_ERROR(MakeDirs(*folder));
    CHIMERA_RETURN_IF_ERROR(
        WriteWeights(*folder + "/" + kWeightsFile, recipe_.config.model,
                     [&](const std::string& n) { return parameters_.value(n); }));
    CHIMERA_RETURN_IF_ERROR(
        WriteFileAtomic(*folder + "/" + kConfigFile, ConfigJson(recipe_.config)));
    CHIMERA_RETURN_IF_ERROR(options_.tokenizer->WriteFile(*folder + "/" + kTokenizerFile));
    return WriteManifest(*folder, recipe_.config.model.name);
  }

  const TrainProgress& progress() const { return progress_; }

 private:
  std::string CheckpointPath() const { return options_.work_folder + "/checkpoint.ckpt"; }

  double Seconds() const {
    return seconds_before_ + static_cast<double>(Clock::Real().NowNs() - start_ns_) * 1e-9;
  }

  bool OutOfTime() const {
    return recipe_.max_minutes > 0 && Seconds() >= recipe_.max_minutes * 60.0;
  }

  absl::Status TrainStep() {
    batch_ = batches_.At(step_);
    const int64_t last = std::max<int64_t>(1, recipe_.StepsTotal() - 1);
    parameters_.SetProgress(static_cast<double>(step_) / static_cast<double>(last));
    const StepResult result = optimizer_->Step(&exec_, step_ + 1, this);
    if (!std::isfinite(result.loss)) {
      return absl::InternalError(absl::StrCat("training loss is not finite at step ", step_ + 1,
                                              "; lower the learning rate (now ", recipe_.lr, ")"));
    }
    states_.swap(next_states_);
    ++step_;
    balance_.Update(step_, recipe_.StepsTotal(), LearningRate(ScheduleOf(recipe_), step_));
    loss_sum_ += result.loss;
    gradient_squares_ += result.gradient_norm * result.gradient_norm;
    ++loss_count_;
    progress_.projected_gradient = result.projected_gradient;
    return absl::OkStatus();
  }

  // The batch in flight from the lanes' states, which stay as they are. The states after it are
  // those of the last evaluation.
  double Evaluate(bool recorded) override {
    network_.Prepare(&exec_);
    tape_.Reset();
    tape_.set_recording(recorded);
    TrainBatch view;
    view.n_seqs = recipe_.batch_seqs;
    view.seq_len = recipe_.seq_len;
    view.tokens = batch_.tokens.data();
    view.targets = batch_.targets.data();
    view.reset = batch_.reset.data();
    draws_.Draw(&exec_, step_, &view);
    nll_.resize(batch_.tokens.size());
    return network_.Forward(&tape_, view, states_.data(), next_states_.data(), nll_.data());
  }

  void Backward() override { tape_.Backward(); }

  // The model as it will be exported.
  void PrepareFinished() {
    parameters_.SetProgress(1.0);
    network_.Prepare(&exec_);
  }

  void SettleExpertBiases() {
    PrepareFinished();
    SettleExperts(train_.tokens, recipe_.config.tokens.eot, recipe_.expert_settle_passes, &network_,
                  &tape_, &balance_);
  }

  // The last act of a looped model: its router learns from the finished backbone.
  absl::Status FitRouter() {
    const ModelConfig& model = recipe_.config.model;
    if (!model.loop.enabled) return absl::OkStatus();
    PrepareFinished();
    const absl::StatusOr<DepthRouterReport> report =
        FitDepthRouter(model, train_.tokens, recipe_.seed, &network_, &tape_, &parameters_);
    balance_.Discard();
    if (absl::IsInvalidArgument(report.status())) {
      LogWarning(absl::StrCat("the depth router stays untrained: ", report.status().message()));
      return absl::OkStatus();
    }
    if (!report.ok()) return report.status();
    return WriteFileAtomic(options_.work_folder + "/router.json", RouterReportJson(*report));
  }

  double Validate(int64_t bytes_max) {
    PrepareFinished();
    const double bpb =
        ValidationBpb(recipe_.config, &network_, &tape_, *options_.tokenizer, valid_, bytes_max);
    balance_.Discard();
    return bpb;
  }

  void Report(bool evaluated) {
    const double seconds = Seconds();
    progress_.step = step_;
    progress_.tokens = step_ * recipe_.TokensPerStep();
    if (loss_count_ > 0) progress_.train_loss_nats = loss_sum_ / static_cast<double>(loss_count_);
    if (loss_count_ > 0) {
      progress_.gradient_norm = std::sqrt(gradient_squares_ / static_cast<double>(loss_count_));
    }
    progress_.mean_loops = draws_.mean_loops();
    progress_.expert_imbalance = balance_.Violation();
    progress_.learning_rate = LearningRate(ScheduleOf(recipe_), step_);
    progress_.tokens_per_s = static_cast<double>(progress_.tokens) / std::max(1e-9, seconds);
    progress_.eta_s = step_ == 0 ? 0
                                 : seconds / static_cast<double>(step_) *
                                       static_cast<double>(progress_.steps_total - step_);
    curve_.push_back(
        {step_, progress_.train_loss_nats, evaluated ? progress_.valid_bpb : 0, seconds});
    loss_sum_ = 0;
    gradient_squares_ = 0;
    loss_count_ = 0;
    if (options_.on_progress) options_.on_progress(progress_);
  }

  absl::Status Save() {
    Checkpoint c;
    c.recipe_hash = hash_;
    c.platform = Platform();
    c.optimizer = OptimizerName(recipe_.optimizer);
    c.init_model = init_model_id_;
    c.step = step_;
    c.seconds = Seconds();
    c.values.assign(parameters_.values().begin(), parameters_.values().end());
    optimizer_->Save(&c);
    c.states = states_;
    c.balance = balance_.State();
    c.curve = curve_;
    CHIMERA_RETURN_IF_ERROR(SaveCheckpoint(CheckpointPath(), c));
    progress_.checkpoint_step = step_;
    return WriteCurve();
  }

  absl::Status WriteCurve() const {
    return WriteFileAtomic(options_.work_folder + "/curve.svg",
                           CurveSvg(recipe_.config.model.name, curve_));
  }

  const TrainRecipe& recipe_;
  const TrainOptions& options_;
  const TokenStream train_;
  const std::vector<Document> valid_;
  const uint64_t hash_;
  ExecContext exec_;
  Tape tape_;
  Parameters parameters_;
  Network network_;
  std::unique_ptr<Optimizer> optimizer_;
  BatchDraws draws_;
  ExpertBalance balance_;
  Batches batches_;
  Batch batch_;  // of the step in flight
  std::vector<float> states_, next_states_, nll_;
  std::vector<CurvePoint> curve_;
  TrainProgress progress_;
  std::string init_model_id_;
  int64_t step_ = 0;
  int64_t start_ns_ = 0;
  double seconds_before_ = 0;
  double loss_sum_ = 0;
  double gradient_squares_ = 0;
  int64_t loss_count_ = 0;
};

absl::Status CheckRun(const TrainRecipe& recipe, const TrainOptions& options) {
  CHIMERA_RETURN_IF_ERROR(CheckTrainable(recipe.config));
  const int vocab = recipe.config.model.vocab_size;
  if (options.tokenizer == nullptr || options.tokenizer->vocab_size() != vocab) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer has ", options.tokenizer ? options.tokenizer->vocab_size() : 0,
                     " ids, the recipe's vocab_size is ", vocab));
  }
  if (recipe.StepsTotal() <= 0) {
    return absl::InvalidArgumentError("train.steps or train.tokens_budget must be positive");
  }
  if (recipe.optimizer == OptimizerKind::kMezo && recipe.StepsTotal() > kMezoStepsMax) {
    return absl::InvalidArgumentError(absl::StrCat("train.optimizer = \"mezo\" takes at most ",
                                                   kMezoStepsMax, " steps, this run has ",
                                                   recipe.StepsTotal()));
  }
  return MakeDirs(options.work_folder);
}

}  // namespace

absl::StatusOr<TrainResult> RunTraining(const TrainRecipe& recipe, const TrainOptions& options) {
  CHIMERA_RETURN_IF_ERROR(CheckRun(recipe, options));
  CHIMERA_ASSIGN_OR_RETURN(std::vector<Document> documents, ReadCorpus(options.data_path));
  std::vector<Document> valid;
  if (options.valid_path.empty()) {
    valid = HoldOut(recipe.valid_fraction, &documents);
  } else {
    CHIMERA_ASSIGN_OR_RETURN(valid, ReadCorpus(options.valid_path));
  }
  TokenStream stream = EncodeCorpus(*options.tokenizer, documents);
  if (stream.tokens.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.data_path, ": only ", stream.tokens.size(), " tokens to train on"));
  }
  Run run(recipe, options, std::move(stream), std::move(valid));
  CHIMERA_RETURN_IF_ERROR(run.Restore());
  TrainResult result;
  CHIMERA_ASSIGN_OR_RETURN(result.finished, run.Loop());
  result.progress = run.progress();
  if (result.finished) {
    CHIMERA_ASSIGN_OR_RETURN(result.model_id, run.Export(&result.model_folder));
  }
  return result;
}

}  // namespace chimera
