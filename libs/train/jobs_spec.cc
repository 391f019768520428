#include "train/jobs_spec.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "config/inspect.h"
#include "text/utf8.h"
#include "train/init_model.h"

namespace chimera {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::pair<JobState, const char*>, 5> kStateNames = {{
    {JobState::kQueued, "queued"},
    {JobState::kRunning, "running"},
    {JobState::kSucceeded, "succeeded"},
    {JobState::kFailed, "failed"},
    {JobState::kCancelled, "cancelled"},
}};

// Enough to tell text from anything else; the run itself reads and checks every byte.
constexpr size_t kSniffBytes = 4096;
constexpr int kSniffFilesMax = 1000;
constexpr size_t kUtf8TailBytes = 3;  // a character may be cut at the end of what was read

absl::Status ValidateName(const std::string& name) {
  const bool good = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
  if (good && name.size() <= kJobNameBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "name must be at most ", kJobNameBytesMax, " characters of [A-Za-z0-9_.-], this one has ",
      name.size(), good ? "" : " and others than these"));
}

absl::Status ValidateLimits(const JobSpec& spec) {
  if (spec.steps && (*spec.steps < 1 || *spec.steps > kJobStepsMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("steps ", *spec.steps, " is outside 1..", kJobStepsMax));
  }
  if (spec.minutes_max && !(*spec.minutes_max > 0 && *spec.minutes_max <= kJobMinutesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("minutes_max ", *spec.minutes_max, " is outside (0, ", kJobMinutesMax, "]"));
  }
  if (spec.recipe_json.size() > kJobRecipeBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("recipe_json has ", spec.recipe_json.size(),
                                                   " bytes, the limit is ", kJobRecipeBytesMax));
  }
  return ValidateName(spec.name);
}

// The first bytes of a file must look like text.
absl::Status SniffFile(const std::string& path, bool* empty) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::PermissionDeniedError(absl::StrCat(path, ": cannot be read"));
  std::string head(kSniffBytes, '\0');
  const ssize_t n = ::read(fd, head.data(), head.size());
  ::close(fd);
  if (n < 0) return absl::PermissionDeniedError(absl::StrCat(path, ": cannot be read"));
  head.resize(static_cast<size_t>(n));
  *empty = head.empty();
  if (const size_t zero = head.find('\0'); zero != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": looks binary (zero byte at offset ",
                                                   zero, "); training data must be UTF-8 text"));
  }
  const size_t good = ValidUtf8Prefix(head);
  const bool cut = head.size() == kSniffBytes && head.size() - good <= kUtf8TailBytes;
  if (good != head.size() && !cut) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not UTF-8 at byte offset ", good,
                                                   "; training data must be UTF-8 text"));
  }
  return absl::OkStatus();
}

absl::Status SniffFolder(const std::string& path) {
  std::error_code error;
  fs::recursive_directory_iterator it(path, error), end;
  if (error) return absl::PermissionDeniedError(absl::StrCat(path, ": ", error.message()));
  int files = 0;
  bool text = false;
  while (it != end && files < kSniffFilesMax) {
    const bool hidden = it->path().filename().string().starts_with(".");
    if (hidden && it->is_directory(error)) it.disable_recursion_pending();
    if (!hidden && it->is_regular_file(error)) {
      bool empty = false;
      CHIMERA_RETURN_IF_ERROR(SniffFile(it->path().string(), &empty));
      text = text || !empty;
      ++files;
    }
    it.increment(error);
    if (error) return absl::PermissionDeniedError(absl::StrCat(path, ": ", error.message()));
  }
  if (text) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      path, ": no text found (", files, " files, 0 bytes); training needs a text file or a folder ",
      "with at least one non-empty text file"));
}

absl::Status SniffData(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) return SniffFolder(path);
  if (!fs::is_regular_file(status)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is neither a file nor a folder"));
  }
  bool empty = false;
  CHIMERA_RETURN_IF_ERROR(SniffFile(path, &empty));
  if (!empty) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path, ": is empty, there is nothing to train on"));
}

std::string RecipeFolder(const JobRules& rules) {
  if (!rules.recipe_folder.empty()) return rules.recipe_folder;
  return fs::path(rules.default_recipe_path).parent_path().string();
}

absl::Status CheckMemory(const TrainRecipe& recipe) {
  const int64_t have = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  const int64_t need = TrainingBytes(recipe);
  if (need <= have) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "training this recipe needs at least ", need >> 20, " MiB of main memory, this machine has ",
      have >> 20, " MiB; take a smaller scale, batch_seqs or seq_len"));
}

// The recipe's text with the job's overrides and the resolved init_model written into it.
absl::StatusOr<std::string> FixRecipe(const JobSpec& spec, const TrainRecipe& parsed,
                                      const std::string& init_model, const std::string& text) {
  nlohmann::json recipe = nlohmann::json::parse(text, nullptr, false);
  if (!recipe.is_object()) return absl::InvalidArgumentError("the recipe is not a JSON object");
  if (spec.steps) recipe["train"]["steps"] = *spec.steps;
  if (spec.steps && parsed.warmup_steps >= *spec.steps) {
    recipe["train"]["warmup_steps"] = WarmupFor(*spec.steps);
  }
  if (spec.minutes_max) recipe["train"]["max_minutes"] = *spec.minutes_max;
  if (spec.seed) recipe["train"]["seed"] = *spec.seed;
  if (!init_model.empty()) recipe["train"]["init_model"] = init_model;
  if (!spec.name.empty()) recipe["overlay"]["_name_or_path"] = spec.name;
  return recipe.dump(1);
}

}  // namespace

const char* JobStateName(JobState state) { return kStateNames[static_cast<size_t>(state)].second; }

std::optional<JobState> JobStateFromName(std::string_view name) {
  for (const auto& [state, state_name] : kStateNames) {
    if (name == state_name) return state;
  }
  return std::nullopt;
}

bool IsTerminal(JobState state) {
  return state != JobState::kQueued && state != JobState::kRunning;
}

absl::Status ValidateJobId(const std::string& job_id) {
  const bool good = std::all_of(job_id.begin(), job_id.end(), [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  if (good && job_id.size() == kJobIdDigits) return absl::OkStatus();
  return absl::InvalidArgumentError("job_id must be 16 lower-case hex digits");
}

absl::StatusOr<std::string> ResolveJobPath(const JobRules& rules, const std::string& key,
                                           const std::string& named) {
  if (named.empty() || named.size() > kJobPathBytesMax || named.find('\0') != std::string::npos ||
      ValidUtf8Prefix(named) != named.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, " must be 1 to ", kJobPathBytesMax, " bytes of UTF-8"));
  }
  if (rules.data_root.empty() && !rules.any_path) {
    return absl::FailedPreconditionError(
        "this trainer reads no data: set trainer.data_root to the folder that jobs may read");
  }
  std::error_code error;
  const fs::path root =
      rules.data_root.empty() ? fs::path() : fs::canonical(rules.data_root, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("trainer.data_root ", rules.data_root, ": ", error.message()));
  }
  fs::path path = rules.data_root.empty() ? fs::absolute(named, error) : root / named;
  path = fs::weakly_canonical(path, error);
  if (error) return absl::NotFoundError(absl::StrCat(named, ": ", error.message()));
  // Inside or outside is said before anything about what is there.
  if (!root.empty()) {
    const auto [root_end, ignored] =
        std::mismatch(root.begin(), root.end(), path.begin(), path.end());
    if (root_end != root.end()) {
      return absl::PermissionDeniedError(
          absl::StrCat(key, " ", named, " is outside trainer.data_root ", rules.data_root));
    }
  }
  if (!fs::exists(path, error)) {
    return absl::NotFoundError(absl::StrCat(named, ": no such file or folder"));
  }
  return path.string();
}

absl::Status PrepareJob(const JobRules& rules, Job* job) {
  const JobSpec& spec = job->spec;
  CHIMERA_RETURN_IF_ERROR(ValidateLimits(spec));
  CHIMERA_ASSIGN_OR_RETURN(job->data_path, ResolveJobPath(rules, "data_path", spec.data_path));
  std::string text = spec.recipe_json;
  if (text.empty()) {
    CHIMERA_ASSIGN_OR_RETURN(text, ReadFile(rules.default_recipe_path, kJobRecipeBytesMax));
  }
  // As it came first, so that messages speak about the client's own text.
  CHIMERA_ASSIGN_OR_RETURN(const TrainRecipe parsed, ParseRecipe(text, RecipeFolder(rules)));
  std::string init_model;
  if (!parsed.init_model.empty()) {
    CHIMERA_ASSIGN_OR_RETURN(init_model,
                             ResolveJobPath(rules, "train.init_model", parsed.init_model));
  }
  CHIMERA_ASSIGN_OR_RETURN(job->recipe_text, FixRecipe(spec, parsed, init_model, text));
  CHIMERA_ASSIGN_OR_RETURN(const TrainRecipe recipe, JobRecipe(rules, *job));
  CHIMERA_RETURN_IF_ERROR(CheckTrainable(recipe.config));
  if (!init_model.empty()) CHIMERA_RETURN_IF_ERROR(CheckInitModel(recipe));
  if (recipe.StepsTotal() <= 0) {
    return absl::InvalidArgumentError("train.steps or train.tokens_budget must be positive");
  }
  CHIMERA_RETURN_IF_ERROR(CheckMemory(recipe));
  return SniffData(job->data_path);
}

absl::StatusOr<TrainRecipe> JobRecipe(const JobRules& rules, const Job& job) {
  return ParseRecipe(job.recipe_text, RecipeFolder(rules));
}

int64_t WarmupFor(int64_t steps) { return steps / 10; }

int64_t TrainingBytes(const TrainRecipe& recipe) {
  const ModelConfig& model = recipe.config.model;
  const double parameters = static_cast<double>(CountParameters(model).total);
  // Inputs and outputs of the coarse ops of a layer, four vectors of the width at the very least;
  // of every layer, or of one beside the inputs of all.
  const bool mezo = recipe.optimizer == OptimizerKind::kMezo;
  const double layer = 4.0 * model.d_model + 2.0 * model.d_ff, layers = model.n_layers;
  const double token =
      mezo || recipe.gradient_checkpointing ? layers * model.d_model + layer : layers * layer;
  const double activations = static_cast<double>(recipe.TokensPerStep()) * token;
  const double copies = mezo ? 3.0 : 4.0;
  return static_cast<int64_t>(std::min(9e18, 4.0 * (copies * parameters + activations)));
}

double RemainingSeconds(const TrainRecipe& recipe, const TrainProgress& progress) {
  if (recipe.max_minutes <= 0 || progress.tokens_per_s <= 0) return progress.eta_s;
  const double seconds = static_cast<double>(progress.tokens) / progress.tokens_per_s;
  return std::max(0.0, std::min(progress.eta_s, recipe.max_minutes * 60.0 - seconds));
}

}  // namespace chimera
