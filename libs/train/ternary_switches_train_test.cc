// Base 3, Sherry and the low-rank correction from text to a served model: each trains, exports and
// serves what its trainer reported, resumes bit for bit, and makes another model than without it.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "base/file.h"
#include "model/model_testing.h"
#include "model/network.h"
#include "model/ternary_switches.h"
#include "train/adamw.h"
#include "train/corpus.h"
#include "train/eval.h"
#include "train/trainer.h"

namespace chimera {
namespace {

constexpr char kPlain[] = R"("method": "bitnet")";
constexpr char kBase3[] = R"("packing": "base3")";
constexpr char kSherry[] = R"("sherry_mode": {"enabled": true})";
constexpr char kHgf[] = R"("hgf_correction": {"enabled": true})";

std::string Verses(int lines) {
  static constexpr const char* kWho[] = {"A miller", "The heron", "My sister", "One sailor"};
  static constexpr const char* kDoes[] = {"carries", "paints", "loses", "remembers"};
  static constexpr const char* kWhat[] = {"the lantern", "a song", "an old coat", "the north wind"};
  std::string text;
  for (int i = 0; i < lines; ++i) {
    text += std::string(kWho[i % 4]) + " " + kDoes[i / 2 % 4] + " " + kWhat[i * 5 / 3 % 4] + ";\n";
  }
  return text;
}

struct Outcome {
  std::shared_ptr<const Model> model;
  std::string weights;
  double valid_bpb = 0, served_bpb = 0;
};

class TernarySwitchesTrain : public testing::Test {
 protected:
  void SetUp() override {
    root_ = TestFolder("switches");
    ASSERT_TRUE(MakeDirs(root_ + "/data").ok());
    ASSERT_TRUE(WriteFileAtomic(root_ + "/data/verses.txt", Verses(300)).ok());
  }

  absl::StatusOr<TrainResult> Train(const std::string& keys, const std::string& work, int64_t steps,
                                    int64_t stop_after = INT64_MAX) {
    TrainRecipe recipe;
    recipe.config = TestConfigWith(keys);
    recipe.seed = 3;
    recipe.seq_len = 48;
    recipe.batch_seqs = 4;
    recipe.steps = steps;
    recipe.lr = 0.01;
    recipe.warmup_steps = 4;
    recipe.weight_decay = 0.1;
    recipe.grad_clip = 1.0;
    recipe.valid_fraction = 0.1;
    recipe.checkpoint_interval_s = 0;
    recipe.threads = 1;
    TrainOptions options;
    options.data_path = root_ + "/data";
    options.work_folder = root_ + "/" + work;
    options.tokenizer = TestTokenizer();
    int64_t polls = 0;
    options.should_stop = [&polls, stop_after] { return polls++ >= stop_after; };
    return RunTraining(recipe, options);
  }
  std::string WeightsOf(const std::string& work) {
    return *ReadFile(root_ + "/" + work + "/model/" + kWeightsFile, 64 << 20);
  }

  // Trains, loads what was exported and measures it on the held-out part, as served.
  Outcome TrainAndServe(const std::string& keys, const std::string& work, int64_t steps) {
    Outcome out;
    const auto result = Train(keys, work, steps);
    EXPECT_TRUE(result.ok() && result->finished) << result.status();
    if (!result.ok()) return out;
    auto model = Model::Load(result->model_folder);
    EXPECT_TRUE(model.ok()) << model.status();
    if (!model.ok()) return out;
    auto documents = *ReadCorpus(root_ + "/data");
    const auto held = HoldOut(0.1, &documents);
    ExecContext exec(1);
    const auto eval = EvaluateText(**model, held[0].text, &exec, nullptr);
    EXPECT_TRUE(eval.ok());
    out.model = *model;
    out.weights = WeightsOf(work);
    out.valid_bpb = result->progress.valid_bpb;
    out.served_bpb = eval->bpb;
    return out;
  }

  std::string root_;
};

TEST_F(TernarySwitchesTrain, EachTrainsExportsAndServesItsFigure) {
  std::map<std::string, Outcome> by;
  const std::string both = std::string(kSherry) + ", " + kHgf;
  for (const std::string& keys :
       {std::string(kPlain), std::string(kBase3), std::string(kSherry), std::string(kHgf), both}) {
    const Outcome out = TrainAndServe(keys, "run" + std::to_string(by.size()), 80);
    ASSERT_NE(out.model, nullptr);
    EXPECT_NEAR(out.served_bpb / out.valid_bpb, 1.0, 1e-3) << keys;
    EXPECT_LT(out.valid_bpb, 1.5) << keys << ": untrained it is above 4";
    by[keys] = out;
  }
  // Ablation, and what each costs in the file.
  EXPECT_EQ(by[kBase3].served_bpb, by[kPlain].served_bpb) << "a packing changes no bit of a result";
  EXPECT_LT(by[kBase3].weights.size(), by[kPlain].weights.size());
  EXPECT_NE(by[kSherry].served_bpb, by[kPlain].served_bpb);
  EXPECT_LT(by[kSherry].weights.size(), by[kBase3].weights.size());
  EXPECT_NE(by[kHgf].served_bpb, by[kPlain].served_bpb);
  EXPECT_GT(by[kHgf].weights.size(), by[kPlain].weights.size());
  EXPECT_NE(by[both].served_bpb, by[kSherry].served_bpb);
  for (const LayerWeights& layer : by[kHgf].model->weights().layers()) {
    const LowRankView& correction = layer.ffn.w_out.low_rank;
    ASSERT_NE(correction.a, nullptr);
    EXPECT_NE(correction.gate, 0.1f) << "the gate has learnt";
    EXPECT_NE(correction.lanes[0], 0.0f) << "B has left zero";
  }
  EXPECT_EQ(by[kPlain].model->weights().layers()[0].ffn.w_out.low_rank.a, nullptr);
}

TEST_F(TernarySwitchesTrain, StoppedAndResumedEqualsUndisturbed) {
  const std::string keys = std::string(kSherry) + ", " + kHgf;
  ASSERT_TRUE(Train(keys, "whole", 20)->finished);
  for (int64_t stop : {1, 9, 17}) {  // warming up, learning, gates frozen
    const std::string work = "stopped" + std::to_string(stop);
    EXPECT_FALSE(Train(keys, work, 20, stop)->finished);
    ASSERT_TRUE(Train(keys, work, 20)->finished);
    EXPECT_EQ(WeightsOf(work), WeightsOf("whole")) << "stopped after " << stop;
  }
}

// A loss whose gradient is one half everywhere.
class Slope final : public BatchLoss {
 public:
  explicit Slope(Parameters* parameters) : parameters_(parameters) {}
  double Evaluate(bool) override { return 1.0; }
  void Backward() override {
    std::fill(parameters_->grads().begin(), parameters_->grads().end(), 0.5f);
  }

 private:
  Parameters* parameters_;
};

// Frozen means frozen: no decay, no momentum.
TEST(AdamW, FrozenParametersStay) {
  const ModelConfig config = TestConfigWith(kHgf).model;
  Parameters parameters(config);
  parameters.Initialize(config, 1);
  AdamW adamw({.schedule = {.lr = 0.01, .steps_total = 2}}, &parameters);
  Slope loss(&parameters);
  ExecContext exec(1);
  for (int64_t step = 1; step <= 2; ++step) {
    parameters.SetProgress(step == 1 ? 0.5 : 0.9);
    const std::vector<float> before(parameters.values().begin(), parameters.values().end());
    adamw.Step(&exec, step, &loss);
    int still = 0;
    for (const Parameters::Entry& e : parameters.entries()) {
      const auto at = static_cast<size_t>(e.offset);
      const bool moved = parameters.values()[at] != before[at];
      EXPECT_EQ(moved, step == 1 || !e.spec.name.ends_with(kHgfGate)) << e.spec.name;
      still += !moved;
    }
    EXPECT_EQ(still, step == 1 ? 0 : 8);
  }
}

TEST_F(TernarySwitchesTrain, ASwitchMakesAnotherRecipe) {
  EXPECT_FALSE(Train(kPlain, "other", 8, 2)->finished);
  EXPECT_EQ(Train(kSherry, "other", 8).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace chimera
