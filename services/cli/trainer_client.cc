#include "services/cli/trainer_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "chimera/trainer/v1/trainer.grpc.pb.h"
#include "cluster/channel.h"
#include "cluster/status_map.h"
#include "services/trainer/messages.h"

namespace chimera {
namespace {

namespace pb = trainer::v1;

constexpr int kConnectTimeoutMs = 5000;
constexpr int kReconnectTimeoutMs = 60000;
constexpr int kCallTimeoutMs = 30000;
constexpr int kPublishTimeoutMs = 3600000;

}  // namespace

struct TrainerClient::Impl {
  explicit Impl(const std::string& address)
      : what(absl::StrCat("trainer at ", address)),
        channel(MakeChannel(address)),
        stub(pb::TrainerService::NewStub(channel)) {}

  template <typename Request, typename Response>
  absl::Status Call(grpc::Status (pb::TrainerService::Stub::*method)(grpc::ClientContext*,
                                                                     const Request&, Response*),
                    const Request& request, Response* response, int timeout_ms = kCallTimeoutMs) {
    CHIMERA_RETURN_IF_ERROR(WaitConnected(channel.get(), what, kConnectTimeoutMs));
    grpc::ClientContext context;
    SetDeadline(&context, 0, timeout_ms);
    return FromGrpc((stub.get()->*method)(&context, request, response), what);
  }

  const std::string what;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<pb::TrainerService::Stub> stub;
};

TrainerClient::TrainerClient(const std::string& address) : impl_(std::make_unique<Impl>(address)) {}

TrainerClient::~TrainerClient() = default;

absl::StatusOr<Job> TrainerClient::Submit(const JobSpec& spec) {
  pb::SubmitJobRequest request;
  WriteJobSpec(spec, request.mutable_spec());
  pb::SubmitJobResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::TrainerService::Stub::SubmitJob, request, &response));
  return ReadJob(response.job());
}

absl::StatusOr<Job> TrainerClient::Get(const std::string& job_id) {
  pb::GetJobRequest request;
  request.set_job_id(job_id);
  pb::GetJobResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::TrainerService::Stub::GetJob, request, &response));
  return ReadJob(response.job());
}

absl::StatusOr<JobPage> TrainerClient::List(int page_size, const std::string& page_token) {
  pb::ListJobsRequest request;
  request.set_page_size(page_size);
  request.set_page_token(page_token);
  pb::ListJobsResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::TrainerService::Stub::ListJobs, request, &response));
  JobPage page;
  for (const pb::Job& job : response.jobs()) page.jobs.push_back(ReadJob(job));
  page.next_page_token = response.next_page_token();
  return page;
}

absl::StatusOr<Job> TrainerClient::Cancel(const std::string& job_id) {
  pb::CancelJobRequest request;
  request.set_job_id(job_id);
  pb::CancelJobResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::TrainerService::Stub::CancelJob, request, &response));
  return ReadJob(response.job());
}

absl::StatusOr<Job> TrainerClient::Resume(const std::string& job_id) {
  pb::ResumeJobRequest request;
  request.set_job_id(job_id);
  pb::ResumeJobResponse response;
  CHIMERA_RETURN_IF_ERROR(impl_->Call(&pb::TrainerService::Stub::ResumeJob, request, &response));
  return ReadJob(response.job());
}

absl::StatusOr<std::string> TrainerClient::Publish(const std::string& job_id) {
  pb::PublishJobRequest request;
  request.set_job_id(job_id);
  pb::PublishJobResponse response;
  CHIMERA_RETURN_IF_ERROR(
      impl_->Call(&pb::TrainerService::Stub::PublishJob, request, &response, kPublishTimeoutMs));
  return response.model_id();
}

absl::StatusOr<Job> TrainerClient::Watch(const std::string& job_id,
                                         const std::function<void(const Job&)>& on_change) {
  pb::WatchJobRequest request;
  request.set_job_id(job_id);
  Job job;
  int timeout_ms = kConnectTimeoutMs;
  while (true) {
    CHIMERA_RETURN_IF_ERROR(WaitConnected(impl_->channel.get(), impl_->what, timeout_ms));
    grpc::ClientContext context;  // no deadline: a job may take days, keepalive finds a dead peer
    const auto reader = impl_->stub->WatchJob(&context, request);
    pb::WatchJobResponse response;
    bool heard = false;
    while (reader->Read(&response)) {
      heard = true;
      job = ReadJob(response.job());
      on_change(job);
    }
    const absl::Status status = FromGrpc(reader->Finish(), impl_->what);
    if (status.ok()) return job;
    if (!absl::IsUnavailable(status) || !heard) return status;
    timeout_ms = kReconnectTimeoutMs;
  }
}

}  // namespace chimera
