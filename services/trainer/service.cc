#include "services/trainer/service.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "chimera/trainer/v1/trainer.grpc.pb.h"
#include "cluster/executor.h"
#include "cluster/status_map.h"
#include "services/trainer/messages.h"
#include "services/trainer/watch_call.h"

namespace chimera {
namespace {

namespace pb = trainer::v1;

// How often the notifier looks for watches whose heartbeat is due.
constexpr int kLookIntervalMs = 500;

}  // namespace

struct TrainerServer::Impl final : public pb::TrainerService::CallbackService {
  Impl(JobRunner* runner_in, const TrainerServiceOptions& options_in)
      : runner(runner_in),
        options(options_in),
        calls("trainer", options.workers, static_cast<size_t>(options.queue_max)),
        publishing("publish", 1, 16),
        notifier([this] { Notify(); }) {}

  ~Impl() override {
    {
      MutexLock lock(&mutex);
      stop = true;
    }
    runner->WakeWaiters();
    notifier.join();
  }

  grpc::ServerUnaryReactor* SubmitJob(grpc::CallbackServerContext* context,
                                      const pb::SubmitJobRequest* request,
                                      pb::SubmitJobResponse* response) override {
    return Answer(&calls, context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const Job job, runner->Submit(ReadJobSpec(request->spec())));
      WriteJob(job, response->mutable_job());
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* GetJob(grpc::CallbackServerContext* context,
                                   const pb::GetJobRequest* request,
                                   pb::GetJobResponse* response) override {
    return Answer(&calls, context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const Job job, runner->Get(request->job_id()));
      WriteJob(job, response->mutable_job());
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ListJobs(grpc::CallbackServerContext* context,
                                     const pb::ListJobsRequest* request,
                                     pb::ListJobsResponse* response) override {
    return Answer(&calls, context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const JobPage page,
                               runner->List(request->page_size(), request->page_token()));
      for (const Job& job : page.jobs) {
        pb::Job* out = response->add_jobs();
        WriteJob(job, out);
        // Up to a megabyte each; GetJob has it.
        out->mutable_spec()->clear_recipe_json();
      }
      response->set_next_page_token(page.next_page_token);
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* CancelJob(grpc::CallbackServerContext* context,
                                      const pb::CancelJobRequest* request,
                                      pb::CancelJobResponse* response) override {
    return Answer(&calls, context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const Job job, CancelAndWait(request->job_id()));
      WriteJob(job, response->mutable_job());
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* ResumeJob(grpc::CallbackServerContext* context,
                                      const pb::ResumeJobRequest* request,
                                      pb::ResumeJobResponse* response) override {
    return Answer(&calls, context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const Job job, runner->Resume(request->job_id()));
      WriteJob(job, response->mutable_job());
      return absl::OkStatus();
    });
  }

  grpc::ServerUnaryReactor* PublishJob(grpc::CallbackServerContext* context,
                                       const pb::PublishJobRequest* request,
                                       pb::PublishJobResponse* response) override {
    return Answer(&publishing, context, [this, request, response]() -> absl::Status {
      CHIMERA_ASSIGN_OR_RETURN(const std::string id, runner->Publish(request->job_id()));
      response->set_model_id(id);
      return absl::OkStatus();
    });
  }

  grpc::ServerWriteReactor<pb::WatchJobResponse>* WatchJob(
      grpc::CallbackServerContext*, const pb::WatchJobRequest* request) override {
    auto call = std::make_shared<WatchCall>(request->job_id());
    WatchCall* reactor = call.get();
    call->Begin();
    const auto posted = calls.Post([this, call] { StartWatch(call); });
    if (!posted.ok()) reactor->End(posted.status());
    return reactor;
  }

  // request and response live until Finish.
  static grpc::ServerUnaryReactor* Answer(Executor* executor, grpc::CallbackServerContext* context,
                                          std::function<absl::Status()> work) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    const auto posted =
        executor->Post([reactor, work = std::move(work)] { reactor->Finish(ToGrpc(work())); });
    if (!posted.ok()) reactor->Finish(ToGrpc(posted.status()));
    return reactor;
  }

  // Most steps are short: so the usual answer says cancelled already.
  absl::StatusOr<Job> CancelAndWait(const std::string& job_id) {
    const int64_t until_ns = Clock::Real().NowNs() + int64_t{options.cancel_wait_ms} * 1000000;
    uint64_t seen = runner->version();
    CHIMERA_ASSIGN_OR_RETURN(Job job, runner->Cancel(job_id));
    while (!IsTerminal(job.state)) {
      const int64_t left_ms = (until_ns - Clock::Real().NowNs()) / 1000000;
      if (left_ms <= 0) break;
      seen = runner->WaitForChange(seen, std::chrono::milliseconds(left_ms));
      CHIMERA_ASSIGN_OR_RETURN(job, runner->Get(job_id));
      if (Stopping()) break;
    }
    return job;
  }

  void StartWatch(const std::shared_ptr<WatchCall>& call) {
    const absl::StatusOr<Job> job = runner->Get(call->job_id());
    if (!job.ok()) {
      call->End(job.status());
      return;
    }
    {
      MutexLock lock(&mutex);
      if (draining) {
        call->End(Draining());
        return;
      }
      if (watches.size() >= static_cast<size_t>(options.watches_max)) {
        call->End(absl::ResourceExhaustedError(
            absl::StrCat(watches.size(), " watches run, the limit is ", options.watches_max)));
        return;
      }
      watches.push_back(call);
    }
    OfferTo(call);
  }

  // False when the call needs no more.
  bool OfferTo(const std::shared_ptr<WatchCall>& call) {
    const absl::StatusOr<Job> job = runner->Get(call->job_id());
    if (!job.ok()) {
      call->End(job.status());
      return false;
    }
    return call->Offer(*job, Clock::Real().NowNs(), int64_t{options.heartbeat_ms} * 1000000);
  }

  void Notify() {
    uint64_t seen = 0;
    while (!Stopping()) {
      std::vector<std::shared_ptr<WatchCall>> live;
      {
        MutexLock lock(&mutex);
        live = watches;
      }
      std::vector<std::shared_ptr<WatchCall>> ended;
      for (const auto& call : live) {
        if (!OfferTo(call)) ended.push_back(call);
      }
      {
        MutexLock lock(&mutex);
        std::erase_if(watches, [&](const auto& call) {
          return std::find(ended.begin(), ended.end(), call) != ended.end();
        });
      }
      seen = runner->WaitForChange(seen, std::chrono::milliseconds(kLookIntervalMs));
    }
  }

  void EndWatches() {
    std::vector<std::shared_ptr<WatchCall>> live;
    {
      MutexLock lock(&mutex);
      draining = true;
      live.swap(watches);
    }
    for (const auto& call : live) call->End(Draining());
  }

  static absl::Status Draining() {
    return absl::UnavailableError("the trainer is shutting down; its jobs go on when it is back");
  }

  bool Stopping() {
    MutexLock lock(&mutex);
    return stop;
  }

  JobRunner* const runner;
  const TrainerServiceOptions options;
  Mutex mutex;
  std::vector<std::shared_ptr<WatchCall>> watches ABSL_GUARDED_BY(mutex);
  bool draining ABSL_GUARDED_BY(mutex) = false;
  bool stop ABSL_GUARDED_BY(mutex) = false;
  Executor calls;
  Executor publishing;
  std::thread notifier;
};

TrainerServer::TrainerServer(JobRunner* runner, const TrainerServiceOptions& options)
    : impl_(std::make_unique<Impl>(runner, options)) {}

TrainerServer::~TrainerServer() = default;

grpc::Service* TrainerServer::service() { return impl_.get(); }
void TrainerServer::EndWatches() { impl_->EndWatches(); }

}  // namespace chimera
