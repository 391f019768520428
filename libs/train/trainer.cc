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
#include "train/adamw.h"
#include "train/batches.h"
#include "train/checkpoint.h"
#include "train/corpus.h"
#include "train/curve_svg.h"
#include "train/validation.h"

namespace chimera {
namespace {

AdamWOptions OptimizerOptions(const TrainRecipe& r, int64_t steps_total) {
  return {.lr = r.lr,
          .lr_min_ratio = r.lr_min_ratio,
          .warmup_steps = r.warmup_steps,
          .steps_total = steps_total,
          .beta1 = r.beta1,
          .beta2 = r.beta2,
          .eps = r.eps,
          .weight_decay = r.weight_decay,
          .grad_clip = r.grad_clip};
}

std::string Platform() { return absl::StrCat(IsaName(BestIsa()), ", ", MatmulLibrary()); }

// Everything that must be the same for a checkpoint to continue a run.
uint64_t RecipeHash(const TrainRecipe& r, const TokenStream& stream) {
  const std::string_view tokens(reinterpret_cast<const char*>(stream.tokens.data()),
                                stream.tokens.size() * sizeof(int32_t));
  return Xxh3(absl::StrCat(ConfigJson(r.config), "|", r.seed, "|", r.seq_len, "|", r.batch_seqs,
                           "|", r.StepsTotal(), "|", r.lr, "|", r.lr_min_ratio, "|", r.warmup_steps,
                           "|", r.weight_decay, "|", r.beta1, "|", r.beta2, "|", r.eps, "|",
                           r.grad_clip, "|", Xxh3(tokens)));
}

// One run: the pieces, their state, and the loop over them.
class Run {
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
        adamw_(OptimizerOptions(recipe, recipe.StepsTotal()), parameters_),
        batches_(train_.tokens, recipe.config.tokens.eot, recipe.batch_seqs, recipe.seq_len) {
    states_.resize(static_cast<size_t>(network_.StateFloats() * recipe.batch_seqs));
    next_states_.resize(states_.size());
    progress_.steps_total = recipe.StepsTotal();
  }

  // Initial parameters, or those of the work folder's checkpoint.
  absl::Status Restore() {
    absl::StatusOr<Checkpoint> saved = LoadCheckpoint(CheckpointPath());
    if (absl::IsNotFound(saved.status())) {
      parameters_.Initialize(recipe_.config.model, recipe_.seed);
      return absl::OkStatus();
    }
    if (!saved.ok()) return saved.status();
    if (saved->recipe_hash != hash_ || saved->values.size() != parameters_.values().size() ||
        saved->m.size() != saved->values.size() || saved->v.size() != saved->values.size() ||
        saved->states.size() != states_.size()) {
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
    std::copy(saved->m.begin(), saved->m.end(), adamw_.m().begin());
    std::copy(saved->v.begin(), saved->v.end(), adamw_.v().begin());
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
    // The figure that ships: the whole held-out text.
    progress_.valid_bpb = Validate(INT64_MAX);
    Report(true);
    CHIMERA_RETURN_IF_ERROR(Save());
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
    const Batch batch = batches_.At(step_);
    const int64_t last = std::max<int64_t>(1, recipe_.StepsTotal() - 1);
    parameters_.SetProgress(static_cast<double>(step_) / static_cast<double>(last));
    network_.Prepare(&exec_);
    tape_.Reset();
    TrainBatch view;
    view.n_seqs = recipe_.batch_seqs;
    view.seq_len = recipe_.seq_len;
    view.tokens = batch.tokens.data();
    view.targets = batch.targets.data();
    view.reset = batch.reset.data();
    nll_.resize(batch.tokens.size());
    const double loss =
        network_.Forward(&tape_, view, states_.data(), next_states_.data(), nll_.data());
    if (!std::isfinite(loss)) {
      return absl::InternalError(absl::StrCat("training loss is not finite at step ", step_ + 1,
                                              "; lower the learning rate (now ", recipe_.lr, ")"));
    }
    tape_.Backward();
    adamw_.Step(&exec_, step_ + 1, &parameters_);
    states_.swap(next_states_);
    ++step_;
    loss_sum_ += loss;
    ++loss_count_;
    return absl::OkStatus();
  }

  double Validate(int64_t bytes_max) {
    parameters_.SetProgress(1.0);  // the model as it would be exported
    network_.Prepare(&exec_);
    return ValidationBpb(recipe_.config, &network_, &tape_, *options_.tokenizer, valid_, bytes_max);
  }

  void Report(bool evaluated) {
    const double seconds = Seconds();
    progress_.step = step_;
    progress_.tokens = step_ * recipe_.TokensPerStep();
    if (loss_count_ > 0) progress_.train_loss_nats = loss_sum_ / static_cast<double>(loss_count_);
    progress_.learning_rate = LearningRate(OptimizerOptions(recipe_, recipe_.StepsTotal()), step_);
    progress_.tokens_per_s = static_cast<double>(progress_.tokens) / std::max(1e-9, seconds);
    progress_.eta_s = step_ == 0 ? 0
                                 : seconds / static_cast<double>(step_) *
                                       static_cast<double>(progress_.steps_total - step_);
    curve_.push_back(
        {step_, progress_.train_loss_nats, evaluated ? progress_.valid_bpb : 0, seconds});
    loss_sum_ = 0;
    loss_count_ = 0;
    if (options_.on_progress) options_.on_progress(progress_);
  }

  absl::Status Save() {
    Checkpoint c;
    c.recipe_hash = hash_;
    c.platform = Platform();
    c.step = step_;
    c.seconds = Seconds();
    c.values.assign(parameters_.values().begin(), parameters_.values().end());
    c.m.assign(adamw_.m().begin(), adamw_.m().end());
    c.v.assign(adamw_.v().begin(), adamw_.v().end());
    c.states = states_;
    c.curve = curve_;
    CHIMERA_RETURN_IF_ERROR(SaveCheckpoint(CheckpointPath(), c));
    progress_.checkpoint_step = step_;
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
  AdamW adamw_;
  Batches batches_;
  std::vector<float> states_, next_states_, nll_;
  std::vector<CurvePoint> curve_;
  TrainProgress progress_;
  int64_t step_ = 0;
  int64_t start_ns_ = 0;
  double seconds_before_ = 0;
  double loss_sum_ = 0;
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
