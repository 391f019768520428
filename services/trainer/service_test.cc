#include "services/trainer/service.h"

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "chimera/trainer/v1/trainer.grpc.pb.h"
#include "cluster/channel.h"
#include "cluster/server.h"
#include "model/model.h"
#include "train/jobs_testing.h"

namespace chimera {
namespace {

namespace pb = trainer::v1;
using ::testing::HasSubstr;

class TrainerServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = ::testing::TempDir() + "/trainer_service_" + info->name() + "_" +
            std::to_string(::getpid());
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ + "/data");
    WriteTestFile(root_ + "/data/a.txt", JobsTestText(400));
    JobRunnerOptions options = JobsTestOptions(root_ + "/jobs");
    options.publish = [](const std::string& folder) -> absl::StatusOr<std::string> {
      const auto model = Model::Load(folder);
      if (!model.ok()) return model.status();
      return (*model)->id();
    };
    runner_ = JobRunner::Create(options).value();
    TrainerServiceOptions service;
    service.heartbeat_ms = 300;
    service_ = std::make_unique<TrainerServer>(runner_.get(), service);
    server_ = Server::Start({}, service_->service(), "chimera.trainer.v1.TrainerService").value();
    stub_ = pb::TrainerService::NewStub(MakeChannel(server_->address()));
  }
  void TearDown() override {
    stub_.reset();
    service_->EndWatches();
    server_.reset();
    service_.reset();
    runner_.reset();
    std::filesystem::remove_all(root_);
  }

  grpc::Status Submit(int steps, bool publish, pb::Job* job) {
    grpc::ClientContext context;
    pb::SubmitJobRequest request;
    request.mutable_spec()->set_data_path(root_ + "/data");
    request.mutable_spec()->set_recipe_json(SmallRecipe());
    request.mutable_spec()->set_steps(steps);
    request.mutable_spec()->set_publish(publish);
    pb::SubmitJobResponse response;
    const grpc::Status status = stub_->SubmitJob(&context, request, &response);
    *job = response.job();
    return status;
  }
  // Reads a watch to its end.
  std::vector<pb::Job> Watch(const std::string& id, grpc::Status* status) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(50));
    pb::WatchJobRequest request;
    request.set_job_id(id);
    auto reader = stub_->WatchJob(&context, request);
    std::vector<pb::Job> seen;
    pb::WatchJobResponse response;
    while (reader->Read(&response)) seen.push_back(response.job());
    *status = reader->Finish();
    return seen;
  }
  pb::Job Cancel(const std::string& id, grpc::Status* status) {
    grpc::ClientContext context;
    pb::CancelJobRequest request;
    request.set_job_id(id);
    pb::CancelJobResponse response;
    *status = stub_->CancelJob(&context, request, &response);
    return response.job();
  }

  std::string root_;
  std::unique_ptr<JobRunner> runner_;
  std::unique_ptr<TrainerServer> service_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<pb::TrainerService::Stub> stub_;
};

TEST_F(TrainerServiceTest, SubmitWatchAndPublish) {
  pb::Job job;
  ASSERT_TRUE(Submit(20, true, &job).ok());
  EXPECT_EQ(job.spec().steps(), 20);
  grpc::Status status;
  const std::vector<pb::Job> seen = Watch(job.job_id(), &status);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_GE(seen.size(), 2u);
  const pb::Job& last = seen.back();
  EXPECT_EQ(last.state(), pb::JOB_STATE_SUCCEEDED) << last.error();
  EXPECT_TRUE(last.published());
  EXPECT_EQ(last.model_id().size(), 64u);
  EXPECT_EQ(last.progress().step(), 20);
  EXPECT_GT(last.progress().valid_bpb(), 0.0);
  for (size_t i = 1; i < seen.size(); ++i) {
    EXPECT_GE(seen[i].progress().step(), seen[i - 1].progress().step());
  }
  grpc::ClientContext context;
  pb::PublishJobRequest request;
  request.set_job_id(job.job_id());
  pb::PublishJobResponse response;
  ASSERT_TRUE(stub_->PublishJob(&context, request, &response).ok());
  EXPECT_EQ(response.model_id(), last.model_id());
  // A watch of a job that is over says so once.
  EXPECT_EQ(Watch(job.job_id(), &status).size(), 1u);
  EXPECT_TRUE(status.ok());
}

TEST_F(TrainerServiceTest, CancelAndResume) {
  pb::Job job;
  ASSERT_TRUE(Submit(100000, false, &job).ok());
  grpc::Status status;
  const pb::Job cancelled = Cancel(job.job_id(), &status);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(cancelled.state(), pb::JOB_STATE_CANCELLED);
  {
    grpc::ClientContext context;
    pb::ResumeJobRequest request;
    request.set_job_id(job.job_id());
    pb::ResumeJobResponse response;
    ASSERT_TRUE(stub_->ResumeJob(&context, request, &response).ok());
    EXPECT_EQ(response.job().state(), pb::JOB_STATE_QUEUED);
  }
  Cancel(job.job_id(), &status);
  EXPECT_TRUE(status.ok());
}

TEST_F(TrainerServiceTest, WatchHeartbeatsAndEndsWithTheDrain) {
  pb::Job first, queued;
  ASSERT_TRUE(Submit(1000000, false, &first).ok());
  ASSERT_TRUE(Submit(5, false, &queued).ok());
  grpc::ClientContext context;
  pb::WatchJobRequest request;
  request.set_job_id(queued.job_id());
  auto reader = stub_->WatchJob(&context, request);
  pb::WatchJobResponse response;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(reader->Read(&response)) << "a job that does not change is still heard of";
    EXPECT_EQ(response.job().state(), pb::JOB_STATE_QUEUED);
  }
  service_->EndWatches();
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(TrainerServiceTest, AbandonedWatchesDoNoHarm) {
  pb::Job job;
  ASSERT_TRUE(Submit(1000000, false, &job).ok());
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    pb::WatchJobRequest request;
    request.set_job_id(job.job_id());
    auto reader = stub_->WatchJob(&context, request);
    pb::WatchJobResponse response;
    EXPECT_TRUE(reader->Read(&response));
    context.TryCancel();
    while (reader->Read(&response)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  grpc::Status status;
  EXPECT_EQ(Cancel(job.job_id(), &status).state(), pb::JOB_STATE_CANCELLED);
}

TEST_F(TrainerServiceTest, ListPagesWithoutRecipes) {
  pb::Job job;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Submit(1, false, &job).ok());
  grpc::ClientContext context;
  pb::ListJobsRequest request;
  request.set_page_size(2);
  pb::ListJobsResponse response;
  ASSERT_TRUE(stub_->ListJobs(&context, request, &response).ok());
  ASSERT_EQ(response.jobs_size(), 2);
  EXPECT_EQ(response.jobs(0).job_id(), job.job_id()) << "newest first";
  EXPECT_TRUE(response.jobs(0).spec().recipe_json().empty());
  EXPECT_FALSE(response.next_page_token().empty());
}

TEST_F(TrainerServiceTest, ErrorsAreSentencesWithTheRightCode) {
  grpc::Status status;
  EXPECT_TRUE(Watch("0123456789abcdef", &status).empty());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(Watch("../../etc/passwd", &status).empty());
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  Cancel("", &status);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  grpc::ClientContext context;
  pb::SubmitJobRequest request;
  request.mutable_spec()->set_data_path(root_ + "/nowhere");
  pb::SubmitJobResponse response;
  status = stub_->SubmitJob(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(status.error_message(), HasSubstr("nowhere: no such file or folder"));
}

}  // namespace
}  // namespace chimera
