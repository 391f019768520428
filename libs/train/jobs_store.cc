#include "train/jobs_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace chimera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kJobFileBytesMax = 4 << 20;
constexpr char kJobFile[] = "/job.json";

json SpecJson(const JobSpec& spec) {
  json out = {{"data_path", spec.data_path},
              {"recipe_json", spec.recipe_json},
              {"publish", spec.publish},
              {"name", spec.name}};
  if (spec.steps) out["steps"] = *spec.steps;
  if (spec.minutes_max) out["minutes_max"] = *spec.minutes_max;
  if (spec.seed) out["seed"] = *spec.seed;
  return out;
}

json ProgressJson(const TrainProgress& p) {
  return {{"step", p.step},
          {"steps_total", p.steps_total},
          {"tokens", p.tokens},
          {"train_loss_nats", p.train_loss_nats},
          {"valid_bpb", p.valid_bpb},
          {"tokens_per_s", p.tokens_per_s},
          {"eta_s", p.eta_s},
          {"learning_rate", p.learning_rate},
          {"gradient_norm", p.gradient_norm},
          {"projected_gradient", p.projected_gradient},
          {"mean_loops", p.mean_loops},
          {"expert_imbalance", p.expert_imbalance},
          {"checkpoint_step", p.checkpoint_step}};
}

// Reads values of the right type; the first fault sticks.
class Reader {
 public:
  explicit Reader(const json& object) : object_(object) {}

  void Text(const char* key, std::string* out) {
    if (const json* value = Find(key, true); value != nullptr) {
      value->is_string() ? void(*out = value->get<std::string>()) : Fail(key, "text");
    }
  }
  void Bool(const char* key, bool* out) {
    if (const json* value = Find(key, true); value != nullptr) {
      value->is_boolean() ? void(*out = value->get<bool>()) : Fail(key, "true or false");
    }
  }
  template <typename T>
  void Number(const char* key, T* out) {
    if (const json* value = Find(key, true); value != nullptr) Assign(key, *value, out);
  }
  template <typename T>
  void Optional(const char* key, std::optional<T>* out) {
    if (const json* value = Find(key, false); value != nullptr) {
      Assign(key, *value, &out->emplace());
    }
  }
  const absl::Status& status() const { return status_; }

 private:
  template <typename T>
  void Assign(const char* key, const json& value, T* out) {
    const bool fits = std::is_floating_point_v<T> ? value.is_number() || value.is_null()
                                                  : value.is_number_integer();
    if (!fits) return Fail(key, "a number");
    // Not-a-number is written as null.
    *out = value.is_null() ? T{} : value.get<T>();
  }
  const json* Find(const char* key, bool required) {
    if (!object_.is_object()) {
      Fail(key, "present");
      return nullptr;
    }
    const auto it = object_.find(key);
    if (it != object_.end()) return &*it;
    if (required) Fail(key, "present");
    return nullptr;
  }
  void Fail(const char* key, const char* wanted) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is not ", wanted));
  }

  const json& object_;
  absl::Status status_;
};

absl::Status ReadSpec(const json& in, JobSpec* spec) {
  Reader r(in);
  r.Text("data_path", &spec->data_path);
  r.Text("recipe_json", &spec->recipe_json);
  r.Bool("publish", &spec->publish);
  r.Text("name", &spec->name);
  r.Optional("steps", &spec->steps);
  r.Optional("minutes_max", &spec->minutes_max);
  r.Optional("seed", &spec->seed);
  return r.status();
}

absl::Status ReadProgress(const json& in, TrainProgress* p) {
  Reader r(in);
  r.Number("step", &p->step);
  r.Number("steps_total", &p->steps_total);
  r.Number("tokens", &p->tokens);
  r.Number("train_loss_nats", &p->train_loss_nats);
  r.Number("valid_bpb", &p->valid_bpb);
  r.Number("tokens_per_s", &p->tokens_per_s);
  r.Number("eta_s", &p->eta_s);
  r.Number("learning_rate", &p->learning_rate);
  r.Number("checkpoint_step", &p->checkpoint_step);
  // Jobs of earlier versions lack these.
  std::optional<double> norm, projected, loops, imbalance;
  r.Optional("gradient_norm", &norm);
  r.Optional("projected_gradient", &projected);
  r.Optional("mean_loops", &loops);
  r.Optional("expert_imbalance", &imbalance);
  p->gradient_norm = norm.value_or(0);
  p->projected_gradient = projected.value_or(0);
  p->mean_loops = loops.value_or(1);
  p->expert_imbalance = imbalance.value_or(0);
  return r.status();
}

}  // namespace

std::string JobToJson(const Job& job) {
  const json out = {{"job_id", job.job_id},
                    {"spec", SpecJson(job.spec)},
                    {"data_path", job.data_path},
                    {"recipe_text", job.recipe_text},
                    {"state", JobStateName(job.state)},
                    {"progress", ProgressJson(job.progress)},
                    {"error", job.error},
                    {"model_id", job.model_id},
                    {"published", job.published},
                    {"created_ms", job.created_ms},
                    {"started_ms", job.started_ms},
                    {"finished_ms", job.finished_ms},
                    {"sequence", job.sequence},
                    {"queue_order", job.queue_order}};
  return out.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<Job> JobFromJson(const std::string& text) {
  const json in = json::parse(text, nullptr, false);
  Job job;
  std::string state;
  Reader r(in);
  r.Text("job_id", &job.job_id);
  r.Text("data_path", &job.data_path);
  r.Text("recipe_text", &job.recipe_text);
  r.Text("state", &state);
  r.Text("error", &job.error);
  r.Text("model_id", &job.model_id);
  r.Bool("published", &job.published);
  r.Number("created_ms", &job.created_ms);
  r.Number("started_ms", &job.started_ms);
  r.Number("finished_ms", &job.finished_ms);
  r.Number("sequence", &job.sequence);
  r.Number("queue_order", &job.queue_order);
  CHIMERA_RETURN_IF_ERROR(r.status());
  CHIMERA_RETURN_IF_ERROR(ValidateJobId(job.job_id));
  const std::optional<JobState> known = JobStateFromName(state);
  if (!known) return absl::InvalidArgumentError(absl::StrCat("unknown state \"", state, "\""));
  job.state = *known;
  const json nothing;
  CHIMERA_RETURN_IF_ERROR(ReadSpec(in.contains("spec") ? in["spec"] : nothing, &job.spec));
  CHIMERA_RETURN_IF_ERROR(
      ReadProgress(in.contains("progress") ? in["progress"] : nothing, &job.progress));
  return job;
}

absl::StatusOr<JobStore> JobStore::Open(const std::string& folder) {
  CHIMERA_RETURN_IF_ERROR(MakeDirs(folder));
  const std::string path = folder + "/LOCK";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(path, ": cannot be opened: ", std::strerror(errno)));
  }
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    return absl::FailedPreconditionError(
        absl::StrCat(folder, ": another trainer works in this folder"));
  }
  return JobStore(folder, fd);
}

JobStore::JobStore(JobStore&& other) noexcept
    : folder_(std::move(other.folder_)), lock_fd_(std::exchange(other.lock_fd_, -1)) {}

JobStore::~JobStore() {
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

absl::StatusOr<std::vector<Job>> JobStore::Load() const {
  std::vector<Job> jobs;
  std::error_code error;
  fs::directory_iterator it(folder_, error), end;
  if (error) return absl::PermissionDeniedError(absl::StrCat(folder_, ": ", error.message()));
  for (; it != end && jobs.size() < kJobsStoredMax; it.increment(error)) {
    const std::string id = it->path().filename().string();
    if (!ValidateJobId(id).ok()) continue;
    const absl::StatusOr<std::string> text = ReadFile(JobFolder(id) + kJobFile, kJobFileBytesMax);
    absl::StatusOr<Job> job = text.ok() ? JobFromJson(*text) : text.status();
    if (job.ok() && job->job_id != id) job = absl::InvalidArgumentError("job_id is of another job");
    if (!job.ok()) {
      LogWarning(absl::StrCat("job ", id, " is damaged and left out: ", job.status().message()));
      continue;
    }
    jobs.push_back(*std::move(job));
  }
  std::sort(jobs.begin(), jobs.end(),
            [](const Job& a, const Job& b) { return a.sequence < b.sequence; });
  return jobs;
}

absl::Status JobStore::Save(const Job& job) const {
  CHIMERA_RETURN_IF_ERROR(MakeDirs(JobFolder(job.job_id)));
  return WriteFileAtomic(JobFolder(job.job_id) + kJobFile, JobToJson(job));
}

void JobStore::Remove(const std::string& job_id) const {
  std::error_code ignored;
  fs::remove_all(JobFolder(job_id), ignored);
}

}  // namespace chimera
