// chimera train submit, watch, list, cancel, resume, publish: jobs on a trainer service.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cluster/signals.h"
#include "services/cli/print_json.h"
#include "services/cli/progress_line.h"
#include "services/cli/train.h"
#include "services/cli/trainer_client.h"

namespace chimera {
namespace {

using nlohmann::ordered_json;

struct JobFlags {
  std::string target = "127.0.0.1:7403";
  std::string job_id;
  std::string data;
  std::string recipe;
  std::string name;
  int steps = 0;
  double minutes = 0;
  uint64_t seed = 0;
  CLI::Option* has_seed = nullptr;
  bool no_publish = false;
  bool watch = false;
  bool json = false;
  int page_size = 0;
  std::string page_token;
};

ordered_json JobJson(const Job& job) {
  const TrainProgress& p = job.progress;
  return {{"job_id", job.job_id},
          {"state", JobStateName(job.state)},
          {"name", job.spec.name},
          {"data_path", job.spec.data_path},
          {"progress",
           {{"step", p.step},
            {"steps_total", p.steps_total},
            {"tokens", p.tokens},
            {"train_loss_nats", p.train_loss_nats},
            {"valid_bpb", p.valid_bpb},
            {"tokens_per_second", p.tokens_per_s},
            {"eta_seconds", p.eta_s},
            {"learning_rate", p.learning_rate},
            {"gradient_norm", p.gradient_norm},
            {"projected_gradient", p.projected_gradient},
            {"mean_loops", p.mean_loops},
            {"expert_imbalance", p.expert_imbalance},
            {"checkpoint_step", p.checkpoint_step}}},
          {"error", job.error},
          {"model_id", job.model_id},
          {"published", job.published},
          {"created_ms", job.created_ms},
          {"started_ms", job.started_ms},
          {"finished_ms", job.finished_ms}};
}

std::string JobLine(const Job& job) {
  const TrainProgress& p = job.progress;
  std::string line = absl::StrFormat("%s %-9s %s/%s steps", job.job_id, JobStateName(job.state),
                                     CountText(p.step), CountText(p.steps_total));
  if (p.step > 0) {
    absl::StrAppendFormat(&line, "  loss %.4f", p.train_loss_nats);
    if (p.valid_bpb > 0) absl::StrAppendFormat(&line, "  bpb %.4f", p.valid_bpb);
  }
  if (job.state == JobState::kRunning && p.step > 0) {
    absl::StrAppend(&line, "  ", CountText(static_cast<int64_t>(p.tokens_per_s)), " tok/s  eta ",
                    DurationText(p.eta_s));
  }
  if (!job.spec.name.empty()) absl::StrAppend(&line, "  ", job.spec.name);
  if (job.published) absl::StrAppend(&line, "  published");
  if (!job.error.empty()) absl::StrAppend(&line, "  ", job.error);
  return line;
}

void PrintJob(const JobFlags& flags, const Job& job) {
  flags.json ? PrintJson(JobJson(job)) : void(std::printf("%s\n", JobLine(job).c_str()));
}

// What the job's end means for the exit code.
absl::Status EndOf(const Job& job) {
  if (job.state == JobState::kFailed) {
    return absl::AbortedError(absl::StrCat("job ", job.job_id, " failed: ", job.error));
  }
  if (job.state == JobState::kCancelled) {
    return absl::AbortedError(absl::StrCat("job ", job.job_id,
                                           " was cancelled; chimera train "
                                           "resume ",
                                           job.job_id, " goes on with it"));
  }
  return absl::OkStatus();
}

absl::Status WatchToTheEnd(const JobFlags& flags, TrainerClient* client, const std::string& id) {
  absl::StatusOr<Job> last;
  {
    ProgressLine line(flags.json);
    last = client->Watch(id, [&](const Job& job) {
      flags.json ? PrintJson(JobJson(job)) : line.Show(JobLine(job));
    });
  }
  CHIMERA_RETURN_IF_ERROR(last.status());
  CHIMERA_RETURN_IF_ERROR(EndOf(*last));
  if (!flags.json) {
    std::printf("model %s, %.4f bits per byte on the held-out text%s%s\n", last->model_id.c_str(),
                last->progress.valid_bpb, last->published ? ", published" : "",
                last->error.empty() ? "" : absl::StrCat("; ", last->error).c_str());
  }
  return absl::OkStatus();
}

absl::Status RunSubmit(const JobFlags& flags) {
  JobSpec spec;
  // The trainer's working folder is another one: a path that is right here is sent whole.
  std::error_code error;
  spec.data_path = std::filesystem::exists(flags.data, error)
                       ? std::filesystem::absolute(flags.data, error).string()
                       : flags.data;
  if (!flags.recipe.empty()) {
    CHIMERA_ASSIGN_OR_RETURN(spec.recipe_json, ReadFile(flags.recipe, kJobRecipeBytesMax));
  }
  spec.name = flags.name;
  if (flags.steps > 0) spec.steps = flags.steps;
  if (flags.minutes > 0) spec.minutes_max = flags.minutes;
  if (flags.has_seed->count() > 0) spec.seed = flags.seed;
  spec.publish = !flags.no_publish;
  TrainerClient client(flags.target);
  CHIMERA_ASSIGN_OR_RETURN(const Job job, client.Submit(spec));
  if (flags.watch) return WatchToTheEnd(flags, &client, job.job_id);
  PrintJob(flags, job);
  if (!flags.json) {
    std::fprintf(stderr, "follow it with: chimera train watch %s\n", job.job_id.c_str());
  }
  return absl::OkStatus();
}

absl::Status RunWatch(const JobFlags& flags) {
  TrainerClient client(flags.target);
  return WatchToTheEnd(flags, &client, flags.job_id);
}

absl::Status RunList(const JobFlags& flags) {
  TrainerClient client(flags.target);
  CHIMERA_ASSIGN_OR_RETURN(const JobPage page, client.List(flags.page_size, flags.page_token));
  if (flags.json) {
    ordered_json jobs = ordered_json::array();
    for (const Job& job : page.jobs) jobs.push_back(JobJson(job));
    PrintJson({{"jobs", jobs}, {"next_page_token", page.next_page_token}});
    return absl::OkStatus();
  }
  for (const Job& job : page.jobs) std::printf("%s\n", JobLine(job).c_str());
  if (page.jobs.empty()) std::fprintf(stderr, "no jobs yet; chimera train submit makes one\n");
  if (!page.next_page_token.empty()) {
    std::fprintf(stderr, "older ones: --page-token %s\n", page.next_page_token.c_str());
  }
  return absl::OkStatus();
}

absl::Status RunCancel(const JobFlags& flags) {
  TrainerClient client(flags.target);
  CHIMERA_ASSIGN_OR_RETURN(const Job job, client.Cancel(flags.job_id));
  PrintJob(flags, job);
  return absl::OkStatus();
}

absl::Status RunResume(const JobFlags& flags) {
  TrainerClient client(flags.target);
  CHIMERA_ASSIGN_OR_RETURN(const Job job, client.Resume(flags.job_id));
  if (flags.watch) return WatchToTheEnd(flags, &client, job.job_id);
  PrintJob(flags, job);
  return absl::OkStatus();
}

absl::Status RunPublish(const JobFlags& flags) {
  TrainerClient client(flags.target);
  CHIMERA_ASSIGN_OR_RETURN(const std::string id, client.Publish(flags.job_id));
  if (flags.json) {
    PrintJson({{"model_id", id}});
  } else {
    std::printf("published model %s\n", id.c_str());
  }
  return absl::OkStatus();
}

// One verb below "train".
CLI::App* AddVerb(CLI::App* train, Command* run, const std::shared_ptr<JobFlags>& flags,
                  const char* name, const char* help, absl::Status (*verb)(const JobFlags&)) {
  CLI::App* sub = train->add_subcommand(name, help);
  sub->add_option("--target", flags->target, "HOST:PORT of the trainer service (127.0.0.1:7403)");
  sub->add_flag("--json", flags->json, "Jobs as JSON objects, one a line");
  sub->callback([flags, run, verb] {
    *run = [flags, verb] {
      // The job is the server's: it goes on without us.
      const SignalWatch interrupted([] { ::_exit(130); });
      return verb(*flags);
    };
  });
  return sub;
}

void AddSubmit(CLI::App& train, Command* run, const std::shared_ptr<JobFlags>& flags) {
  CLI::App* sub = AddVerb(&train, run, flags, "submit", "Queue a job on a trainer", RunSubmit);
  sub->add_option("--data", flags->data, "A text file or folder on the trainer's machine")
      ->required();
  sub->add_option("--recipe", flags->recipe, "Recipe file; without it the trainer's default");
  sub->add_option("--name", flags->name, "Name of the model");
  sub->add_option("--steps", flags->steps, "Optimizer steps, instead of the recipe's")
      ->check(CLI::Range(1, kJobStepsMax));
  sub->add_option("--minutes", flags->minutes, "At most so long, instead of the recipe's limit")
      ->check(CLI::Range(0.01, kJobMinutesMax));
  flags->has_seed = sub->add_option("--seed", flags->seed, "Seed, instead of the recipe's");
  sub->add_flag("--no-publish", flags->no_publish, "Keep the model to the trainer");
  sub->add_flag("--watch", flags->watch, "Follow the job to its end");
  sub->footer(
      "Examples:\n"
      "  chimera train submit --data ~/notes --minutes 20 --watch\n"
      "  chimera train submit --data books/ --recipe configs/recipes/nano-books.json --json");
}

}  // namespace

void AddTrainJobs(CLI::App& train, Command* run) {
  auto flags = std::make_shared<JobFlags>();
  AddSubmit(train, run, flags);
  CLI::App* watch = AddVerb(&train, run, flags, "watch", "Follow a job to its end", RunWatch);
  CLI::App* list = AddVerb(&train, run, flags, "list", "Jobs, newest first", RunList);
  CLI::App* cancel =
      AddVerb(&train, run, flags, "cancel", "Stop a job; its checkpoint stays", RunCancel);
  CLI::App* resume =
      AddVerb(&train, run, flags, "resume",
              "Queue a cancelled or failed job again, from its checkpoint", RunResume);
  CLI::App* publish =
      AddVerb(&train, run, flags, "publish", "Serve the model of a job that succeeded", RunPublish);
  for (CLI::App* sub : {watch, cancel, resume, publish}) {
    sub->add_option("job", flags->job_id, "Job id, 16 hex digits")->required();
    sub->footer(absl::StrCat("Example:\n  chimera train ", sub->get_name(), " 0123456789abcdef"));
  }
  resume->add_flag("--watch", flags->watch, "Follow the job to its end");
  list->add_option("--page-size", flags->page_size, "Jobs at once; 0 is 50")
      ->check(CLI::Range(0, kJobPageMax));
  list->add_option("--page-token", flags->page_token, "Where the page before ended");
  list->footer("Example:\n  chimera train list --json");
}

}  // namespace chimera
