// What a training job is, and what the trainer accepts as one. Everything a client says is checked
// here, at submission, so that a job that is queued can only fail for reasons of its data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/recipe.h"
#include "train/trainer.h"

namespace chimera {

inline constexpr size_t kJobIdDigits = 16;
inline constexpr size_t kJobNameBytesMax = 64;
inline constexpr size_t kJobPathBytesMax = 4096;
inline constexpr size_t kJobRecipeBytesMax = 1 << 20;
inline constexpr int kJobStepsMax = 100'000'000;
inline constexpr double kJobMinutesMax = 60.0 * 24 * 60;

enum class JobState { kQueued, kRunning, kSucceeded, kFailed, kCancelled };

// "queued", "running", ...
const char* JobStateName(JobState state);
std::optional<JobState> JobStateFromName(std::string_view name);
// Succeeded, failed or cancelled.
bool IsTerminal(JobState state);

// What the client asked for.
struct JobSpec {
  std::string data_path;    // a text file or a folder; relative: to data_root, else working folder
  std::string recipe_json;  // empty: the trainer's default recipe
  std::optional<int32_t> steps;  // these three override the recipe
  std::optional<double> minutes_max;
  std::optional<uint64_t> seed;
  bool publish = false;
  std::string name;  // of the model; empty: the recipe's
};

// A value; copies are snapshots.
struct Job {
  std::string job_id;  // 16 lower-case hex digits
  JobSpec spec;
  std::string data_path;    // resolved: absolute, without links
  std::string recipe_text;  // the recipe with the overrides, fixed at submission
  JobState state = JobState::kQueued;
  TrainProgress progress;
  std::string error;  // why it failed, or why it succeeded without being published; one sentence
  std::string model_id;
  bool published = false;
  int64_t created_ms = 0;  // since 1970; 0: not reached
  int64_t started_ms = 0;  // the first time
  int64_t finished_ms = 0;
  int64_t sequence = 0;     // order of submission
  int64_t queue_order = 0;  // order of running
  uint64_t version = 0;     // grows with every change; not stored
};

// How this trainer reads specs.
struct JobRules {
  // Jobs may read below this folder only. Empty: any path this process may read when any_path is
  // set (a trainer only its own machine can reach), none otherwise.
  std::string data_root;
  bool any_path = false;
  std::string default_recipe_path;
  // Where recipes look up their "config"; empty: the folder of default_recipe_path.
  std::string recipe_folder;
};

// 16 lower-case hex digits: nothing else ever becomes part of a path.
absl::Status ValidateJobId(const std::string& job_id);

// Checks a spec and fills data_path and recipe_text of *job; train.init_model of the recipe is
// resolved like data_path. INVALID_ARGUMENT, NOT_FOUND or
// PERMISSION_DENIED with one sentence: a name, path or limit out of range, data that is not there,
// cannot be read or is no text, a recipe with an unknown key, a wrong type, a model that cannot be
// trained here or an init_model of another shape.
absl::Status PrepareJob(const JobRules& rules, Job* job);

// The recipe of a prepared job.
absl::StatusOr<TrainRecipe> JobRecipe(const JobRules& rules, const Job& job);

// A path that a client named, with links resolved, inside data_root; `key` is its name in errors.
absl::StatusOr<std::string> ResolveJobPath(const JobRules& rules, const std::string& key,
                                           const std::string& path);

// Warm-up of a run cut to fewer steps than the recipe's own warm-up has.
int64_t WarmupFor(int64_t steps);

// Least bytes of main memory a training run needs: in float32 the parameters, their gradients, the
// moments (adamw) or a copy (mezo), and what the tape keeps of the activations.
int64_t TrainingBytes(const TrainRecipe& recipe);

// Seconds until the recipe ends, by steps or by the clock.
double RemainingSeconds(const TrainRecipe& recipe, const TrainProgress& progress);

}  // namespace chimera
