#include "train/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>

#include "base/file.h"
#include "base/string_view.h"
#include "model/model_testing.h"
#include "train/batches.h"
#include "train/checkpoint.h"
#include "train/corpus.h"
#include "train/curve_svg.h"
#include "train/eval.h"
#include "train/optimizer.h"

namespace chimera {
namespace {

using testing::HasSubstr;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // enough steps to run every path, not to learn
#else
constexpr bool kSanitized = false;
#endif

// A little text with structure to learn.
std::string Story(int sentences) {
  static constexpr const char* kWho[] = {"The fox", "A child", "Our cat", "The old king"};
  static constexpr const char* kDoes[] = {"sees", "follows", "finds", "forgets"};
  static constexpr const char* kWhat[] = {"a red door", "the river", "a letter", "the moon"};
  std::string text;
  for (int i = 0; i < sentences; ++i) {
    text +=
        std::string(kWho[i % 4]) + " " + kDoes[(i / 3) % 4] + " " + kWhat[(i * 7 / 2) % 4] + ".\n";
  }
  return text;
}

class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = TestFolder("trainer");
    ASSERT_TRUE(MakeDirs(root_ + "/data").ok());
    ASSERT_TRUE(WriteFileAtomic(root_ + "/data/story.txt", Story(400)).ok());
    recipe_.config = TestConfig(true);
    recipe_.seed = 3;
    recipe_.seq_len = 48;
    recipe_.batch_seqs = 4;
    recipe_.steps = 24;
    recipe_.lr = 0.01;
    recipe_.warmup_steps = 4;
    recipe_.weight_decay = 0.1;
    recipe_.grad_clip = 1.0;
    recipe_.valid_fraction = 0.1;
    recipe_.checkpoint_interval_s = 0;
    recipe_.threads = 1;
  }

  absl::StatusOr<TrainResult> Train(const std::string& work, int64_t stop_after = INT64_MAX) {
    TrainOptions options;
    options.data_path = data_path_.empty() ? root_ + "/data" : data_path_;
    options.work_folder = root_ + "/" + work;
    options.tokenizer = TestTokenizer();
    options.on_progress = on_progress_;
    int64_t polls = 0;
    options.should_stop = [&polls, stop_after] { return polls++ >= stop_after; };
    return RunTraining(recipe_, options);
  }
  std::string Weights(const std::string& work) {
    return *ReadFile(root_ + "/" + work + "/model/" + kWeightsFile, 64 << 20);
  }

  std::string root_, data_path_;
  std::function<void(const TrainProgress&)> on_progress_;
  TrainRecipe recipe_;
};

TEST_F(TrainerTest, LearnsAndExportsAModelThatServesTheSameFigure) {
  recipe_.steps = 120;
  const auto result = Train("learn");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->finished);
  // 1,080 ids guessed blindly cost ln(1080) = 6.98 nats.
  EXPECT_LT(result->progress.train_loss_nats, 3.0);
  auto model = Model::Load(result->model_folder);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ((*model)->id(), result->model_id);
  auto documents = *ReadCorpus(root_ + "/data");
  const auto held = HoldOut(recipe_.valid_fraction, &documents);
  ExecContext exec(1);
  const auto eval = EvaluateText(**model, held[0].text, &exec, nullptr);
  ASSERT_TRUE(eval.ok());
  EXPECT_NEAR(eval->bpb / result->progress.valid_bpb, 1.0, 1e-3);
  EXPECT_TRUE(std::filesystem::exists(root_ + "/learn/curve.svg"));
}

TEST_F(TrainerTest, StoppedAndResumedEqualsUndisturbed) {
  ASSERT_TRUE(Train("whole")->finished);
  for (int64_t stop : {1, 7, 16}) {
    const std::string work = "stopped" + std::to_string(stop);
    EXPECT_FALSE(Train(work, stop)->finished);
    ASSERT_TRUE(Train(work)->finished);
    EXPECT_EQ(Weights(work), Weights("whole")) << "stopped after " << stop;
  }
}

// Every part of the backbone at once: loops drawn, experts balanced, fields dropped, the depth
// router fitted at the end, and the served figure still that of the trainer.
TEST_F(TrainerTest, TheFullPatternLearnsAndServesTheSameFigure) {
  recipe_.config = TestConfig(true, TestShape::kFull);
  recipe_.steps = kSanitized ? 6 : 60;
  double loops = 0;
  on_progress_ = [&](const TrainProgress& progress) { loops += progress.mean_loops; };
  const auto result = Train("full");
  ASSERT_TRUE(result.ok()) << result.status();
  if (!kSanitized) {
    EXPECT_LT(result->progress.train_loss_nats, 4.5);
  }
  EXPECT_GT(loops, 1.0);
  auto model = Model::Load(result->model_folder);
  ASSERT_TRUE(model.ok()) << model.status();
  auto documents = *ReadCorpus(root_ + "/data");
  const auto held = HoldOut(recipe_.valid_fraction, &documents);
  ExecContext exec(1);
  const auto eval = EvaluateText(**model, held[0].text, &exec, nullptr);
  ASSERT_TRUE(eval.ok());
  EXPECT_NEAR(eval->bpb / result->progress.valid_bpb, 1.0, 5e-3);
  const auto report = ReadFile(root_ + "/full/router.json", 1 << 16);
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(*report, HasSubstr("\"majority\""));
}

TEST_F(TrainerTest, TheFullPatternResumesBitForBit) {
  recipe_.config = TestConfig(true, TestShape::kFull);
  recipe_.steps = 8;
  ASSERT_TRUE(Train("full_whole")->finished);
  recipe_.gradient_checkpointing = true;  // trades memory for time, not bits
  recipe_.threads = 2;
  EXPECT_FALSE(Train("full_stopped", 5)->finished);
  ASSERT_TRUE(Train("full_stopped")->finished);
  EXPECT_EQ(Weights("full_stopped"), Weights("full_whole"));
}

TEST_F(TrainerTest, ThreadsDoNotChangeTheWeights) {
  ASSERT_TRUE(Train("one")->finished);
  recipe_.threads = 2;
  ASSERT_TRUE(Train("two")->finished);
  EXPECT_EQ(Weights("one"), Weights("two"));
  recipe_.seed = 4;
  ASSERT_TRUE(Train("seed")->finished);
  EXPECT_NE(Weights("one"), Weights("seed"));
}

// The mezo runs below: what AdamW learns in 24 steps they do not, and the figures say so.
void UseMezo(TrainRecipe* recipe) {
  recipe->optimizer = OptimizerKind::kMezo;
  recipe->lr = 3e-4;
  recipe->mezo_eps = 1e-2;
  recipe->weight_decay = 0.1;
  recipe->grad_clip = 0;
}

TEST_F(TrainerTest, MezoStoppedAndResumedEqualsUndisturbed) {
  UseMezo(&recipe_);
  ASSERT_TRUE(Train("whole")->finished);
  for (int64_t stop : {1, 16}) {
    const std::string work = "stopped" + std::to_string(stop);
    EXPECT_FALSE(Train(work, stop)->finished);
    ASSERT_TRUE(Train(work)->finished);
    EXPECT_EQ(Weights(work), Weights("whole")) << "stopped after " << stop;
    EXPECT_EQ(LoadCheckpoint(root_ + "/" + work + "/checkpoint.ckpt")->values,
              LoadCheckpoint(root_ + "/whole/checkpoint.ckpt")->values);
  }
  recipe_.threads = 2;
  ASSERT_TRUE(Train("threads")->finished);
  EXPECT_EQ(Weights("threads"), Weights("whole"));
  recipe_.seed = 4;
  ASSERT_TRUE(Train("seed")->finished);
  EXPECT_NE(Weights("seed"), Weights("whole"));
}

TEST_F(TrainerTest, AnotherOptimizersCheckpointIsRefusedByName) {
  recipe_.steps = 2;
  ASSERT_TRUE(Train("work")->finished);
  const auto adamw_bytes = std::filesystem::file_size(root_ + "/work/checkpoint.ckpt");
  UseMezo(&recipe_);
  const absl::Status refused = Train("work").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ToStd(refused.message()), HasSubstr("train.optimizer = \"adamw\""));
  EXPECT_THAT(ToStd(refused.message()), HasSubstr("\"mezo\""));
  ASSERT_TRUE(Train("mezo")->finished);
  // No moments: two thirds of what AdamW stores of the parameters are gone.
  const auto mezo = LoadCheckpoint(root_ + "/mezo/checkpoint.ckpt");
  EXPECT_EQ(adamw_bytes - std::filesystem::file_size(root_ + "/mezo/checkpoint.ckpt"),
            2 * mezo->values.size() * sizeof(float) + std::strlen("adamw") - std::strlen("mezo"));
}

// Version 1 files, from before there were two optimizers, go on as AdamW.
TEST_F(TrainerTest, CheckpointsOfVersionOneGoOn) {
  ASSERT_TRUE(Train("whole")->finished);
  EXPECT_FALSE(Train("old", 7)->finished);
  const std::string path = root_ + "/old/checkpoint.ckpt";
  std::string file = *ReadFile(path, 64 << 20);
  const std::string added("\x05\0\0\0\0\0\0\0adamw\0\0\0\0\0\0\0\0", 21);
  const size_t at = file.find(added);
  ASSERT_NE(at, std::string::npos);
  // The experts' load, a count of zero, stands before the curve.
  const size_t curve = 8 + LoadCheckpoint(path)->curve.size() * sizeof(CurvePoint);
  file.erase(file.size() - curve - 8, 8);
  file.erase(at, added.size());
  file[8] = 1;
  const uint64_t checksum = Xxh3(std::string_view(file).substr(24));
  std::memcpy(file.data() + 16, &checksum, sizeof(checksum));
  ASSERT_TRUE(WriteFileAtomic(path, file).ok());
  ASSERT_TRUE(Train("old")->finished);
  EXPECT_EQ(Weights("old"), Weights("whole"));
}

// From scratch, measured: 400 steps take the loss from 7.10 to 6.83 nats (ln 1080 = 6.98) where
// AdamW needs 120 steps to 3. Slow, but down, report by report.
TEST_F(TrainerTest, MezoLowersTheLoss) {
  UseMezo(&recipe_);
  recipe_.steps = 400;
  recipe_.log_every_steps = 100;
  std::vector<TrainProgress> reports;
  on_progress_ = [&](const TrainProgress& p) { reports.push_back(p); };
  ASSERT_TRUE(Train("mezo").ok());
  ASSERT_EQ(reports.size(), 5u);  // the last one with the held-out figure
  for (size_t i = 1; i < 4; ++i) {
    EXPECT_LT(reports[i].train_loss_nats, reports[i - 1].train_loss_nats) << i;
    EXPECT_NE(reports[i].projected_gradient, 0.0);
    EXPECT_GT(reports[i].gradient_norm, 0.0);
  }
  EXPECT_LT(reports[3].train_loss_nats, reports[0].train_loss_nats - 0.15);
}

// With a learning rate of zero a run that starts from a model ends as that model: the held-out
// figure to the bit, and the weight file to the byte.
TEST_F(TrainerTest, StartsAtTheModelsLoss) {
  const auto first = Train("first");
  ASSERT_TRUE(first.ok());
  for (OptimizerKind kind : {OptimizerKind::kAdamW, OptimizerKind::kMezo}) {
    recipe_.optimizer = kind;
    recipe_.lr = 0;
    recipe_.seed = 77;
    recipe_.init_model = first->model_folder;
    const std::string work = OptimizerName(kind);
    const auto again = Train(work);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->progress.valid_bpb, first->progress.valid_bpb);
    EXPECT_EQ(Weights(work), Weights("first"));
    EXPECT_EQ(again->model_id, first->model_id);
  }
}

TEST_F(TrainerTest, ARunKeepsTheModelItStartedFrom) {
  recipe_.steps = 6;
  ASSERT_TRUE(Train("first")->finished);
  recipe_.seed = 8;
  ASSERT_TRUE(Train("second")->finished);
  recipe_.seed = 3;
  recipe_.init_model = root_ + "/first/model";
  ASSERT_TRUE(Train("whole")->finished);
  EXPECT_FALSE(Train("work", 2)->finished);
  for (const std::string& other : {root_ + "/second/model", std::string()}) {
    recipe_.init_model = other;
    const absl::Status refused = Train("work").status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
    EXPECT_THAT(ToStd(refused.message()), HasSubstr("began with model "));
  }
  recipe_.init_model = root_ + "/first/model";
  std::filesystem::rename(recipe_.init_model, root_ + "/moved");
  ASSERT_TRUE(Train("work")->finished) << "the checkpoint holds all it needs";
  EXPECT_EQ(Weights("work"), Weights("whole"));
  EXPECT_EQ(Train("fresh").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TrainerTest, AModelThatDoesNotFitIsRefused) {
  recipe_.steps = 2;
  recipe_.init_model = TestModelFolder("floats", false);
  absl::Status refused = Train("work").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ToStd(refused.message()), HasSubstr("train.init_model = "));
  EXPECT_THAT(ToStd(refused.message()), HasSubstr("embedding is 1080 x 64 float in the model"));
  recipe_.init_model = root_ + "/data";
  refused = Train("work").status();
  EXPECT_THAT(ToStd(refused.message()), HasSubstr("not a model folder"));
}

// The same run with less memory, also when it is switched on half-way.
TEST_F(TrainerTest, GradientCheckpointingChangesNoBit) {
  ASSERT_TRUE(Train("kept")->finished);
  EXPECT_FALSE(Train("late", 9)->finished);
  recipe_.gradient_checkpointing = true;
  ASSERT_TRUE(Train("recomputed")->finished);
  EXPECT_EQ(Weights("recomputed"), Weights("kept"));
  ASSERT_TRUE(Train("late")->finished);
  EXPECT_EQ(Weights("late"), Weights("kept"));
}

TEST_F(TrainerTest, BadDataGetsOneSentence) {
  ASSERT_TRUE(MakeDirs(root_ + "/empty").ok());
  ASSERT_TRUE(WriteFileAtomic(root_ + "/binary", std::string("ab\0cd", 5)).ok());
  ASSERT_TRUE(WriteFileAtomic(root_ + "/latin1", "caf\xe9 noir").ok());
  const std::pair<const char*, const char*> cases[] = {{"/absent", "no such file"},
                                                       {"/empty", "no text found"},
                                                       {"/binary", "binary"},
                                                       {"/latin1", "not UTF-8 at byte offset 3"}};
  for (const auto& [path, words] : cases) {
    data_path_ = root_ + path;
    const absl::Status status = Train("bad").status();
    EXPECT_FALSE(status.ok());
    EXPECT_NE(std::string(status.message()).find(words), std::string::npos) << status;
    EXPECT_NE(std::string(status.message()).find(data_path_), std::string::npos) << status;
  }
}

TEST_F(TrainerTest, FullDiskKeepsTheLastCheckpoint) {
  EXPECT_FALSE(Train("full", 5)->finished);
  const std::string path = root_ + "/full/checkpoint.ckpt";
  const std::string good = *ReadFile(path, 64 << 20);
  std::filesystem::create_symlink("/dev/full", path + ".tmp");
  const absl::Status status = Train("full", 3).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(*ReadFile(path, 64 << 20), good);
  std::filesystem::remove(path + ".tmp");
  ASSERT_TRUE(Train("full")->finished);
  ASSERT_TRUE(Train("undisturbed")->finished);
  EXPECT_EQ(Weights("full"), Weights("undisturbed"));
}

TEST_F(TrainerTest, ForeignAndDamagedCheckpointsAreRefused) {
  EXPECT_FALSE(Train("other", 2)->finished);
  recipe_.lr = 0.02;
  EXPECT_EQ(Train("other").status().code(), absl::StatusCode::kFailedPrecondition);
  recipe_.lr = 0.01;
  const std::string path = root_ + "/other/checkpoint.ckpt";
  const std::string good = *ReadFile(path, 64 << 20);
  std::string flipped = good;
  flipped[good.size() / 2] ^= 4;
  for (const std::string& bad : {flipped, good.substr(0, good.size() - 9), std::string("x")}) {
    ASSERT_TRUE(WriteFileAtomic(path, bad).ok());
    EXPECT_EQ(Train("other").status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST(Schedule, WarmsUpThenFollowsTheCosine) {
  const LearningRateSchedule o{
      .lr = 1.0, .lr_min_ratio = 0.1, .warmup_steps = 10, .steps_total = 110};
  EXPECT_DOUBLE_EQ(LearningRate(o, 1), 0.1);
  EXPECT_DOUBLE_EQ(LearningRate(o, 10), 1.0);
  EXPECT_NEAR(LearningRate(o, 60), 0.55, 1e-12);
  EXPECT_NEAR(LearningRate(o, 110), 0.1, 1e-12);
  EXPECT_NEAR(LearningRate(o, 500), 0.1, 1e-12);
}

TEST(Batches, LanesContinueWhereTheyStopped) {
  std::vector<int32_t> stream(100);
  for (int i = 0; i < 100; ++i) stream[size_t(i)] = i;
  const Batches batches(stream, 25, 4, 5);
  const Batch first = batches.At(0), second = batches.At(1);
  EXPECT_EQ(first.tokens[5], 25);
  EXPECT_EQ(first.reset[5], 1);
  EXPECT_EQ(first.targets[4], second.tokens[0]);
  EXPECT_EQ(batches.At(20).tokens[0], 0) << "wraps around";
}

TEST(Corpus, HoldsOutTheTailAtACharacterBorder) {
  std::vector<Document> documents = {{"a", "first"}, {"b", "gr\xc3\xbc\xc3\x9f dich"}};
  const auto held = HoldOut(0.45, &documents);
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(documents[1].text + held[0].text, "gr\xc3\xbc\xc3\x9f dich");
  EXPECT_NE(static_cast<uint8_t>(held[0].text[0]) & 0xc0, 0x80);
}

TEST(CurveSvg, DrawsEveryPointAndEscapesTheTitle) {
  const std::string svg = CurveSvg("a<b", {{10, 5.0, 0, 1}, {20, 4.0, 2.5, 2}});
  EXPECT_NE(svg.find("a&lt;b"), std::string::npos);
  EXPECT_NE(svg.find("<polyline"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_NE(CurveSvg("empty", {}).find("</svg>"), std::string::npos);
}

}  // namespace
}  // namespace chimera
