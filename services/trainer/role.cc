// The trainer role: the job queue of this process, served to others; models go to the knot.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "services/roles.h"
#include "services/trainer/service.h"
#include "train/jobs.h"
#include "train/jobs_tokenizer.h"

namespace chimera {
namespace {

constexpr char kDefaultRecipe[] = "configs/recipes/quick.json";

class TrainerRole final : public Role {
 public:
  explicit TrainerRole(std::unique_ptr<JobRunner> runner, std::string folder)
      : runner_(std::move(runner)), server_(runner_.get(), {}), folder_(std::move(folder)) {}

  grpc::Service* service() override { return server_.service(); }
  std::string health_name() const override { return "chimera.trainer.v1.TrainerService"; }
  std::string Summary() const override {
    const JobRunner::Counts counts = runner_->CountJobs();
    return absl::StrCat(counts.queued + counts.running, " jobs to do, ", counts.finished,
                        " done, in ", folder_);
  }
  void StartDrain() override { server_.EndWatches(); }
  const JobRunner& runner() const { return *runner_; }

 private:
  const std::unique_ptr<JobRunner> runner_;
  TrainerServer server_;
  const std::string folder_;
};

// The working folder's, or one above it.
std::string FindDefaultRecipe() {
  for (const std::string& place : PlacesAbove(kDefaultRecipe)) {
    std::error_code error;
    if (std::filesystem::exists(place, error)) return place;
  }
  return kDefaultRecipe;
}

std::vector<std::string> TokenizerPlaces(const ServiceConfig& config) {
  std::vector<std::string> places = {config.model_dir + "/tokenizer.model"};
  for (std::string& place : RankFilePlaces()) places.push_back(std::move(place));
  return places;
}

absl::Status DeclareMetrics(const JobRunner* runner, Metrics* metrics) {
  CHIMERA_RETURN_IF_ERROR(metrics->Declare({.name = "chimera_training_jobs",
                                            .help = "Training jobs, by what they wait for.",
                                            .type = MetricType::kGauge,
                                            .label = "state",
                                            .label_values = {"queued", "running", "finished"}}));
  metrics->OnScrape([runner](MetricsSink* sink) {
    const JobRunner::Counts counts = runner->CountJobs();
    sink->Gauge("chimera_training_jobs", "queued", counts.queued);
    sink->Gauge("chimera_training_jobs", "running", counts.running);
    sink->Gauge("chimera_training_jobs", "finished", counts.finished);
  });
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Role>> MakeTrainerRole(const RoleContext& context) {
  const ServiceConfig& config = *context.config;
  JobRunnerOptions options;
  options.folder = config.data_dir + "/jobs";
  options.rules.data_root = config.trainer.data_root;
  // A loopback port trusts the users of its machine (DESIGN D19).
  options.rules.any_path = IsLoopback(config.bind_address);
  options.rules.default_recipe_path = FindDefaultRecipe();
  options.tokenizer_paths = TokenizerPlaces(config);
  options.checkpoint_interval_s = config.trainer.checkpoint_interval_s;
  options.threads = config.threads;
  options.max_jobs = config.trainer.max_jobs;
  if (context.knot != nullptr) {
    options.publish = [knot = context.knot](const std::string& folder) {
      return knot->Publish(folder);
    };
  }
  CHIMERA_ASSIGN_OR_RETURN(std::unique_ptr<JobRunner> runner, JobRunner::Create(options));
  auto role = std::make_unique<TrainerRole>(std::move(runner), options.folder);
  CHIMERA_RETURN_IF_ERROR(DeclareMetrics(&role->runner(), context.metrics));
  return std::unique_ptr<Role>(std::move(role));
}

}  // namespace chimera
