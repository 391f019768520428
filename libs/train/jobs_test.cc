#include "train/jobs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/model.h"
#include "train/jobs_testing.h"
#include "train/jobs_tokenizer.h"

extern char** environ;

namespace chimera {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kSteps = 12;

class JobsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = ::testing::TempDir() + "/jobs_" + info->name() + "_" + std::to_string(::getpid());
    fs::remove_all(root_);
    fs::create_directories(root_ + "/data");
    WriteTestFile(root_ + "/data/a.txt", JobsTestText(400));
    WriteTestFile(root_ + "/data/b.txt", JobsTestText(200));
  }
  void TearDown() override { fs::remove_all(root_); }

  JobRunnerOptions Options(const std::string& name = "jobs") const {
    return JobsTestOptions(root_ + "/" + name);
  }
  std::unique_ptr<JobRunner> MakeRunner(const JobRunnerOptions& options) const {
    auto runner = JobRunner::Create(options);
    EXPECT_TRUE(runner.ok()) << runner.status();
    return std::move(runner).value();
  }
  JobSpec Spec(int64_t steps = kSteps) const {
    JobSpec spec;
    spec.data_path = root_ + "/data";
    spec.recipe_json = SmallRecipe();
    spec.steps = static_cast<int32_t>(steps);
    return spec;
  }
  static Job WaitUntil(JobRunner* runner, const std::string& id,
                       const std::function<bool(const Job&)>& done) {
    uint64_t seen = 0;
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(50);
    while (std::chrono::steady_clock::now() < limit) {
      const Job job = runner->Get(id).value();
      if (done(job)) return job;
      seen = runner->WaitForChange(seen, std::chrono::milliseconds(1000));
    }
    ADD_FAILURE() << "job did not get there in time";
    return runner->Get(id).value();
  }
  static Job WaitEnd(JobRunner* runner, const std::string& id) {
    return WaitUntil(runner, id, [](const Job& job) { return IsTerminal(job.state); });
  }
  static std::string Weights(const JobRunner& runner, const std::string& id) {
    return ReadFile(runner.ModelFolder(id) + "/" + kWeightsFile, 1 << 30).value();
  }
  // What an undisturbed run of the spec gives.
  std::string PlainWeights(const JobSpec& spec) const {
    auto runner = MakeRunner(Options("plain"));
    const Job job = runner->Submit(spec).value();
    EXPECT_EQ(WaitEnd(runner.get(), job.job_id).state, JobState::kSucceeded);
    return Weights(*runner, job.job_id);
  }
  absl::Status Refusal(const JobSpec& spec) const {
    return MakeRunner(Options("refusals"))->Submit(spec).status();
  }

  std::string root_;
};

TEST_F(JobsTest, SubmitTrainsAModelThatLoads) {
  auto runner = MakeRunner(Options());
  JobSpec spec = Spec();
  spec.name = "river.v1";
  spec.seed = 7;
  const Job queued = runner->Submit(spec).value();
  EXPECT_TRUE(ValidateJobId(queued.job_id).ok());
  EXPECT_EQ(queued.state, JobState::kQueued);
  const Job job = WaitEnd(runner.get(), queued.job_id);
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_EQ(job.progress.step, kSteps);
  EXPECT_EQ(job.progress.checkpoint_step, kSteps);
  EXPECT_GT(job.progress.valid_bpb, 0.0);
  EXPECT_GE(job.finished_ms, job.started_ms);
  EXPECT_FALSE(job.published);
  const auto model = Model::Load(runner->ModelFolder(job.job_id));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->id(), job.model_id);
  EXPECT_EQ((*model)->shape().name, "river.v1");
}

TEST_F(JobsTest, CancelAndResumeEndsWithTheSameBits) {
  const JobSpec spec = Spec(60);
  const std::string plain = PlainWeights(spec);
  auto runner = MakeRunner(Options());
  const std::string id = runner->Submit(spec).value().job_id;
  WaitUntil(runner.get(), id, [](const Job& job) { return job.progress.step >= 10; });
  ASSERT_TRUE(runner->Cancel(id).ok());
  const Job cancelled = WaitEnd(runner.get(), id);
  ASSERT_EQ(cancelled.state, JobState::kCancelled);
  EXPECT_LT(cancelled.progress.checkpoint_step, 60);
  EXPECT_TRUE(runner->Cancel(id).ok()) << "cancelling twice is no error";
  EXPECT_EQ(runner->Publish(id).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_EQ(runner->Resume(id).value().state, JobState::kQueued);
  const Job job = WaitEnd(runner.get(), id);
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_TRUE(Weights(*runner, id) == plain);
  EXPECT_EQ(runner->Resume(id).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(runner->Cancel(id).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(JobsTest, RestartGoesOnWithRunningAndQueuedJobs) {
  const JobSpec spec = Spec(60);
  const std::string plain = PlainWeights(spec);
  std::string first, second;
  {
    auto runner = MakeRunner(Options());
    first = runner->Submit(spec).value().job_id;
    second = runner->Submit(Spec(2)).value().job_id;
    WaitUntil(runner.get(), first, [](const Job& job) { return job.progress.step >= 10; });
  }
  auto runner = MakeRunner(Options());
  EXPECT_EQ(WaitEnd(runner.get(), first).state, JobState::kSucceeded);
  EXPECT_EQ(runner->Get(second).value().state == JobState::kSucceeded, false);
  EXPECT_EQ(WaitEnd(runner.get(), second).state, JobState::kSucceeded);
  EXPECT_TRUE(Weights(*runner, first) == plain);
}

// Runs the queued job in another process and kills that after its first checkpoint. False when the
// job was over before.
bool RunAndKill(const std::string& folder, const std::string& checkpoint) {
  const std::string child = std::string(CHIMERA_BINARY_DIR) + "/bin/jobs_crash_child";
  std::vector<char*> argv = {const_cast<char*>(child.c_str()), const_cast<char*>(folder.c_str()),
                             nullptr};
  pid_t pid = 0;
  EXPECT_EQ(::posix_spawn(&pid, child.c_str(), nullptr, nullptr, argv.data(), environ), 0);
  for (int i = 0; i < 10000 && !fs::exists(checkpoint); ++i) ::usleep(2000);
  EXPECT_TRUE(fs::exists(checkpoint));
  ::usleep(20000);
  ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFSIGNALED(status);
}

TEST_F(JobsTest, KilledProcessResumesBitIdentical) {
  JobSpec spec = Spec(150);
  std::string id;
  bool killed = false;
  for (int attempt = 0; !killed && attempt < 4; ++attempt) {
    spec.steps = 150 << attempt;  // a machine so fast that the job ended gets a longer one
    id = MakeRunner(Options())->Submit(spec).value().job_id;
    const std::string checkpoint = root_ + "/jobs/" + id + "/work/checkpoint.ckpt";
    fs::remove(checkpoint);
    killed = RunAndKill(root_ + "/jobs", checkpoint);
  }
  ASSERT_TRUE(killed);
  auto runner = MakeRunner(Options());
  const Job job = WaitEnd(runner.get(), id);
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_TRUE(Weights(*runner, id) == PlainWeights(spec));
}

TEST_F(JobsTest, QueueIsFirstInFirstOutAndBounded) {
  JobRunnerOptions options = Options();
  options.max_jobs = 3;
  auto runner = MakeRunner(options);
  const std::string long_job = runner->Submit(Spec(100000)).value().job_id;
  const std::string a = runner->Submit(Spec(1)).value().job_id;
  const std::string b = runner->Submit(Spec(1)).value().job_id;
  const absl::Status full = runner->Submit(Spec(1)).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("3"));
  // A queued job is cancelled at once and never starts.
  EXPECT_EQ(runner->Cancel(a).value().state, JobState::kCancelled);
  ASSERT_TRUE(runner->Cancel(long_job).ok());
  EXPECT_EQ(WaitEnd(runner.get(), long_job).state, JobState::kCancelled);
  EXPECT_EQ(WaitEnd(runner.get(), b).state, JobState::kSucceeded);
  EXPECT_EQ(runner->Get(a).value().started_ms, 0);
}

TEST_F(JobsTest, ListPagesNewestFirst) {
  auto runner = MakeRunner(Options());
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(runner->Submit(Spec(1)).value().job_id);
  std::vector<std::string> seen;
  std::string token;
  do {
    const JobPage page = runner->List(2, token).value();
    EXPECT_LE(page.jobs.size(), 2u);
    for (const Job& job : page.jobs) seen.push_back(job.job_id);
    token = page.next_page_token;
  } while (!token.empty());
  EXPECT_THAT(seen, ::testing::ElementsAreArray(ids.rbegin(), ids.rend()));
  EXPECT_EQ(runner->List(501, "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(runner->List(-1, "").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(runner->List(2, "../../etc").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(JobsTest, PublishRecordsWhatTheKnotSaid) {
  JobRunnerOptions options = Options();
  std::atomic<bool> up{false};
  options.publish = [&](const std::string& folder) -> absl::StatusOr<std::string> {
    if (!up) return absl::UnavailableError("the knot is away");
    return Model::Load(folder).value()->id();
  };
  auto runner = MakeRunner(options);
  JobSpec spec = Spec(2);
  spec.publish = true;
  const std::string id = runner->Submit(spec).value().job_id;
  Job job = WaitEnd(runner.get(), id);
  EXPECT_EQ(job.state, JobState::kSucceeded);
  EXPECT_FALSE(job.published);
  EXPECT_THAT(job.error, HasSubstr("the knot is away"));
  up = true;
  EXPECT_EQ(runner->Publish(id).value(), job.model_id);
  job = runner->Get(id).value();
  EXPECT_TRUE(job.published);
  EXPECT_THAT(job.error, IsEmpty());
}

TEST_F(JobsTest, OneProcessAtATime) {
  auto runner = MakeRunner(Options());
  const absl::Status second = JobRunner::Create(Options()).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(JobsTest, WaitForChangeWakesOnChangeAndOnTimeout) {
  auto runner = MakeRunner(Options());
  const uint64_t seen = runner->version();
  EXPECT_EQ(runner->WaitForChange(seen, std::chrono::milliseconds(20)), seen);
  ASSERT_TRUE(runner->Submit(Spec(1)).ok());
  EXPECT_GT(runner->WaitForChange(seen, std::chrono::milliseconds(10000)), seen);
}

TEST_F(JobsTest, RefusesBadData) {
  JobSpec spec = Spec();
  spec.data_path = root_ + "/nowhere";
  EXPECT_EQ(Refusal(spec).code(), absl::StatusCode::kNotFound);
  spec.data_path = "";
  EXPECT_EQ(Refusal(spec).code(), absl::StatusCode::kInvalidArgument);
  spec.data_path = std::string(5000, 'a');
  EXPECT_EQ(Refusal(spec).code(), absl::StatusCode::kInvalidArgument);

  fs::create_directories(root_ + "/empty");
  spec.data_path = root_ + "/empty";
  EXPECT_THAT(std::string(Refusal(spec).message()), HasSubstr("no text found"));
  WriteTestFile(root_ + "/empty/nothing.txt", "");
  EXPECT_THAT(std::string(Refusal(spec).message()), HasSubstr("no text found"));

  WriteTestFile(root_ + "/binary.bin", std::string("ab\0cd", 5));
  spec.data_path = root_ + "/binary.bin";
  EXPECT_THAT(std::string(Refusal(spec).message()), HasSubstr("zero byte at offset 2"));
  WriteTestFile(root_ + "/latin.txt", "caf\xe9 au lait");
  spec.data_path = root_ + "/latin.txt";
  EXPECT_THAT(std::string(Refusal(spec).message()), HasSubstr("not UTF-8 at byte offset 3"));
  spec.data_path = "/dev/zero";
  EXPECT_EQ(Refusal(spec).code(), absl::StatusCode::kInvalidArgument);

  if (::geteuid() != 0) {
    WriteTestFile(root_ + "/locked.txt", "text");
    fs::permissions(root_ + "/locked.txt", fs::perms::none);
    spec.data_path = root_ + "/locked.txt";
    EXPECT_EQ(Refusal(spec).code(), absl::StatusCode::kPermissionDenied);
  }
}

TEST_F(JobsTest, BadBytesDeepInTheDataFailTheJobWithOneSentence) {
  WriteTestFile(root_ + "/data/late.txt", JobsTestText(500) + "caf\xe9");
  auto runner = MakeRunner(Options());
  const Job job = WaitEnd(runner.get(), runner->Submit(Spec()).value().job_id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_THAT(job.error, HasSubstr("late.txt: not UTF-8 at byte offset"));
  EXPECT_EQ(job.error.find('\n'), std::string::npos);
}

TEST_F(JobsTest, DataRootHoldsJobsInside) {
  JobRules rules = Options().rules;
  rules.any_path = false;
  EXPECT_EQ(ResolveJobPath(rules, "data_path", root_ + "/data").status().code(),
            absl::StatusCode::kFailedPrecondition);
  rules.data_root = root_ + "/data";
  EXPECT_TRUE(ResolveJobPath(rules, "data_path", "a.txt").ok());
  EXPECT_TRUE(ResolveJobPath(rules, "data_path", root_ + "/data").ok());
  EXPECT_TRUE(ResolveJobPath(rules, "data_path", ".").ok());
  fs::create_directories(root_ + "/database");
  fs::create_symlink("/etc", root_ + "/data/link");
  for (const std::string path :
       {"..", "../", "/etc/passwd", "a.txt/../../x", "link", "link/passwd", "/", "link/nothing"}) {
    EXPECT_EQ(ResolveJobPath(rules, "data_path", path).status().code(),
              absl::StatusCode::kPermissionDenied)
        << path;
  }
  EXPECT_EQ(ResolveJobPath(rules, "data_path", root_ + "/database").status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ResolveJobPath(rules, "data_path", "missing.txt").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(JobsTest, RefusesBadRecipesAndLimits) {
  const std::string smoke = SmokeRecipe();
  auto with = [&](const std::string& from, const std::string& to) {
    JobSpec spec = Spec();
    spec.recipe_json = smoke;
    spec.steps.reset();
    const size_t at = spec.recipe_json.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    spec.recipe_json.replace(at, from.size(), to);
    return Refusal(spec);
  };
  EXPECT_THAT(std::string(with("\"seq_len\": 128", "\"seq_lenn\": 128").message()),
              HasSubstr("seq_lenn"));
  EXPECT_THAT(std::string(with("\"seq_len\": 128", "\"seq_len\": \"long\"").message()),
              HasSubstr("seq_len"));
  EXPECT_EQ(with("\"num_heads\": 1", "\"num_heads\": 3").code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(with("\"config\": \"configs/chimera-5.3.json\"", "\"config\": \"/etc/passwd\"").code(),
            absl::StatusCode::kInvalidArgument);
  JobSpec spec = Spec();
  spec.recipe_json = "[1]";
  EXPECT_FALSE(Refusal(spec).ok());
  spec.recipe_json = std::string(kJobRecipeBytesMax + 1, ' ');
  EXPECT_EQ(Refusal(spec).code(), absl::StatusCode::kInvalidArgument);

  spec = Spec(0);
  EXPECT_THAT(std::string(Refusal(spec).message()), HasSubstr("steps 0"));
  spec = Spec();
  spec.minutes_max = -1;
  EXPECT_EQ(Refusal(spec).code(), absl::StatusCode::kInvalidArgument);
  spec.minutes_max = std::nan("");
  EXPECT_EQ(Refusal(spec).code(), absl::StatusCode::kInvalidArgument);
  const std::vector<std::string> bad_names = {"a/b", "..\n", "a b", std::string(65, 'n')};
  for (const std::string& name : bad_names) {
    spec = Spec();
    spec.name = name;
    EXPECT_EQ(Refusal(spec).code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

// A job that adapts the model of an earlier one, through its recipe.
TEST_F(JobsTest, MezoStartsFromAModel) {
  auto runner = MakeRunner(Options());
  const Job first = WaitEnd(runner.get(), runner->Submit(Spec()).value().job_id);
  ASSERT_EQ(first.state, JobState::kSucceeded) << first.error;
  const auto adapting = [&](const std::string& model, const std::string& more = "") {
    nlohmann::json recipe = nlohmann::json::parse(SmallRecipe());
    recipe["train"].erase("grad_clip");
    recipe["train"]["optimizer"] = "mezo";
    recipe["train"]["lr"] = 1e-5;
    recipe["train"]["init_model"] = model;
    if (!more.empty()) recipe["overlay"].merge_patch(nlohmann::json::parse(more));
    JobSpec spec = Spec();
    spec.recipe_json = recipe.dump();
    return spec;
  };
  const std::string model = runner->ModelFolder(first.job_id);
  const Job job = WaitEnd(runner.get(), runner->Submit(adapting(model)).value().job_id);
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_NE(job.model_id, first.model_id);
  EXPECT_NE(job.progress.projected_gradient, 0.0);
  EXPECT_GT(job.progress.gradient_norm, 0.0);
  // So few and small steps leave the figure nearly where it was; from fresh parameters it would
  // stand at ln(1080) nats a token.
  EXPECT_NEAR(job.progress.valid_bpb / first.progress.valid_bpb, 1.0, 0.02);

  EXPECT_THAT(std::string(Refusal(adapting(root_ + "/none")).message()), HasSubstr("no such file"));
  EXPECT_THAT(std::string(Refusal(adapting(root_ + "/data")).message()),
              HasSubstr("train.init_model = "));
  EXPECT_THAT(std::string(Refusal(adapting(model, R"({"intermediate_size":256})")).message()),
              HasSubstr("layers.0.ffn.w_in is 384 x 64 ternary in the model and 512 x 64"));
  // Below data_root like the data.
  JobRules rules = Options().rules;
  rules.data_root = root_ + "/data";
  Job outside;
  outside.spec = adapting(model);
  outside.spec.data_path = "a.txt";
  const absl::Status refused = PrepareJob(rules, &outside);
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("train.init_model"));
}

TEST_F(JobsTest, RefusesIdsThatAreNone) {
  auto runner = MakeRunner(Options());
  for (const std::string id : {"", "../../../../etc", "0123456789ABCDEF", "0123456789abcdef0"}) {
    EXPECT_EQ(runner->Get(id).status().code(), absl::StatusCode::kInvalidArgument) << id;
    EXPECT_EQ(runner->Cancel(id).status().code(), absl::StatusCode::kInvalidArgument) << id;
  }
  EXPECT_EQ(runner->Get("0123456789abcdef").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(runner->Resume("0123456789abcdef").status().code(), absl::StatusCode::kNotFound);
}

// A job with a checkpoint at some step, cancelled; its folder is then damaged and resumed.
class DamagedJobTest : public JobsTest {
 protected:
  void MakeCheckpoint() {
    runner_ = MakeRunner(Options());
    id_ = runner_->Submit(Spec(60)).value().job_id;
    WaitUntil(runner_.get(), id_, [](const Job& job) { return job.progress.step >= 10; });
    ASSERT_TRUE(runner_->Cancel(id_).ok());
    ASSERT_EQ(WaitEnd(runner_.get(), id_).state, JobState::kCancelled);
    work_ = root_ + "/jobs/" + id_ + "/work";
    checkpoint_ = work_ + "/checkpoint.ckpt";
  }
  Job Resume() {
    EXPECT_TRUE(runner_->Resume(id_).ok());
    return WaitEnd(runner_.get(), id_);
  }
  std::unique_ptr<JobRunner> runner_;
  std::string id_, work_, checkpoint_;
};

TEST_F(DamagedJobTest, FullDiskKeepsTheLastGoodCheckpoint) {
  MakeCheckpoint();
  const std::string good = ReadFile(checkpoint_, 1 << 30).value();
  fs::create_symlink("/dev/full", checkpoint_ + ".tmp");
  const Job job = Resume();
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_THAT(job.error, HasSubstr("No space left on device"));
  EXPECT_TRUE(ReadFile(checkpoint_, 1 << 30).value() == good);
  fs::remove(checkpoint_ + ".tmp");
  EXPECT_EQ(Resume().state, JobState::kSucceeded);
  EXPECT_TRUE(Weights(*runner_, id_) == PlainWeights(Spec(60)));
}

TEST_F(DamagedJobTest, TruncatedAndFlippedCheckpointsAreRefused) {
  MakeCheckpoint();
  const std::string good = ReadFile(checkpoint_, 1 << 30).value();
  for (const size_t length : {size_t{0}, size_t{20}, good.size() / 2, good.size() - 1}) {
    WriteTestFile(checkpoint_, good.substr(0, length));
    const Job job = Resume();
    EXPECT_EQ(job.state, JobState::kFailed) << length;
    EXPECT_THAT(job.error, HasSubstr("checkpoint.ckpt")) << length;
  }
  std::string flipped = good;
  flipped[good.size() / 3] = static_cast<char>(flipped[good.size() / 3] ^ 0x10);
  WriteTestFile(checkpoint_, flipped);
  EXPECT_THAT(Resume().error, HasSubstr("checksum"));
}

TEST_F(DamagedJobTest, CheckpointOfAnotherRecipeIsRefused) {
  MakeCheckpoint();
  WriteTestFile(root_ + "/data/c.txt", "other data now\n");
  const Job job = Resume();
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_THAT(job.error, HasSubstr("another recipe or other data"));
}

TEST_F(DamagedJobTest, DamagedJobFileIsLeftOutOthersStay) {
  MakeCheckpoint();
  runner_.reset();
  fs::create_directories(root_ + "/jobs/00000000000000aa");
  WriteTestFile(root_ + "/jobs/00000000000000aa/job.json", "{\"job_id\": 3}");
  fs::create_directories(root_ + "/jobs/stranger");
  runner_ = MakeRunner(Options());
  EXPECT_EQ(runner_->List(0, "").value().jobs.size(), 1u);
}

TEST(JobJsonTest, RoundTripKeepsEveryField) {
  Job job;
  job.job_id = "0123456789abcdef";
  job.spec.data_path = "a/\"b\"";
  job.spec.recipe_json = "{}";
  job.spec.steps = 3;
  job.spec.minutes_max = 0.5;
  job.spec.seed = UINT64_MAX;
  job.spec.publish = true;
  job.spec.name = "n";
  job.data_path = "/a";
  job.recipe_text = "{\"x\":1}";
  job.state = JobState::kFailed;
  job.progress.step = 5;
  job.progress.train_loss_nats = 1.25;
  job.progress.gradient_norm = 0.5;
  job.progress.projected_gradient = -0.25;
  job.error = "why";
  job.model_id = "m";
  job.published = true;
  job.created_ms = 1;
  job.sequence = 9;
  job.queue_order = 10;
  const std::string text = JobToJson(job);
  const auto back = JobFromJson(text);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(JobToJson(*back), text);
  EXPECT_EQ(back->spec.seed, UINT64_MAX);
  EXPECT_EQ(back->progress.projected_gradient, -0.25);
  for (size_t length = 0; length + 2 < text.size(); ++length) {
    EXPECT_FALSE(JobFromJson(text.substr(0, length)).ok()) << length;
  }
  EXPECT_FALSE(JobFromJson("[]").ok());
  EXPECT_FALSE(JobFromJson("{}").ok());
}

TEST(JobsTokenizerTest, TruncatedEqualsTheRankFileCut) {
  const std::string ranks = std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/o200k_8192.tiktoken";
  const auto full = LoadTokenizerFile(ranks, 0).value();
  const auto cut = TruncateTokenizer(full, 1024).value();
  EXPECT_EQ(cut->Hash(), LoadTokenizerFile(ranks, 1024).value()->Hash());
  EXPECT_EQ(TruncateTokenizer(cut, 2048).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FindTokenizer({"/nowhere", ranks}, 1024).value()->Hash(), cut->Hash());
  EXPECT_THAT(std::string(FindTokenizer({"/nowhere"}, 1024).status().message()),
              HasSubstr("fetch_tokenizer.sh"));
}

}  // namespace
}  // namespace chimera
