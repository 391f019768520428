#include "train/ablation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/file.h"
#include "base/philox.h"
#include "base/string_view.h"
#include "model/model_testing.h"
#include "model/network.h"
#include "model/weight_file.h"
#include "train/eval.h"
#include "train/validation.h"

namespace chimera {
namespace {

using testing::HasSubstr;

constexpr const char* kFullPrecision = R"("method": "none")";
constexpr const char* kTernary = R"("method": "bitnet")";
constexpr const char* kSwitches =
    R"("method": "bitnet", "sherry_mode": {"enabled": true}, "hgf_correction": {"enabled": true})";

std::string Text() {
  std::string text;
  for (int i = 0; i < 40; ++i) {
    text += "Line " + std::to_string(i * 7919 % 613) + " of what the river said to the stone. ";
  }
  return text;
}

// Some noise on everything: what starts at zero, gates for example, would else be no part yet.
void Disturb(Parameters* parameters) {
  const PhiloxStream noise(11, RngPurpose::kWeightInit, 1 << 20);
  for (const Parameters::Entry& e : parameters->entries()) {
    const float size = e.spec.name.ends_with("_gates") ? 0.3f : 0.05f;
    for (int64_t i = e.offset; i < e.offset + e.size; ++i) {
      parameters->values()[static_cast<size_t>(i)] +=
          size * (noise.Uniform(static_cast<uint64_t>(i)) - 0.5f);
    }
  }
}

std::shared_ptr<const Model> FullModel(const char* quantization) {
  const Config config = TestConfigWith(quantization, TestShape::kFull);
  Parameters parameters(config.model);
  parameters.Initialize(config.model, 5);
  Disturb(&parameters);
  const std::string folder = TestFolder("ablation");
  EXPECT_TRUE(WriteWeights(folder + "/" + kWeightsFile, config.model, [&](const std::string& name) {
                return parameters.value(name);
              }).ok());
  EXPECT_TRUE(WriteFileAtomic(folder + "/" + kConfigFile, ConfigJson(config)).ok());
  EXPECT_TRUE(TestTokenizer()->WriteFile(folder + "/" + kTokenizerFile).ok());
  EXPECT_TRUE(WriteManifest(folder, "test").ok());
  auto model = Model::Load(folder);
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

std::set<std::string> Names(const std::vector<AblationPart>& parts) {
  std::set<std::string> names;
  for (const AblationPart& part : parts) names.insert(part.name);
  EXPECT_EQ(names.size(), parts.size()) << "two parts have one name";
  return names;
}

TEST(Ablation, NothingRemovedIsWhatEvalMeasures) {
  for (const char* quantization : {kTernary, kSwitches, kFullPrecision}) {
    const auto model = FullModel(quantization);
    ExecContext exec(1);
    for (int loops : {0, 1, 3}) {
      const auto eval = EvaluateText(*model, Text(), &exec, nullptr, nullptr, loops);
      ASSERT_TRUE(eval.ok()) << eval.status();
      EXPECT_EQ(eval->loops, loops == 0 ? 2 : loops);
      const double bpb = Ablation(*model, loops, &exec).Measure(Text(), {}).bpb;
      EXPECT_NEAR(bpb / eval->bpb, 1.0, 0.001) << quantization << ", loops " << loops;
    }
  }
}

TEST(Ablation, LoopsChangeTheLoss) {
  const auto model = FullModel(kTernary);
  ExecContext exec(1);
  const auto bpb = [&](int loops) {
    return EvaluateText(*model, Text(), &exec, nullptr, nullptr, loops)->bpb;
  };
  EXPECT_EQ(bpb(0), bpb(2));
  EXPECT_NE(bpb(1), bpb(2));
  EXPECT_NE(bpb(4), bpb(2));
}

TEST(Ablation, EveryPartChangesTheLossAndComesBack) {
  for (const char* quantization : {kTernary, kSwitches}) {
    const auto model = FullModel(quantization);
    ExecContext exec(1);
    Ablation ablation(*model, 0, &exec);
    const double whole = ablation.Measure(Text(), {}).bpb;
    std::set<double> seen = {whole};
    for (const AblationPart& part : AblationParts(model->shape())) {
      const double bpb = ablation.Measure(Text(), {part.name}).bpb;
      EXPECT_TRUE(std::isfinite(bpb)) << part.name;
      EXPECT_TRUE(seen.insert(bpb).second) << part.name << " removes nothing, or what another does";
    }
    EXPECT_EQ(ablation.Measure(Text(), {}).bpb, whole);
  }
}

TEST(Ablation, TheFullTestModelHasEveryPart) {
  const std::set<std::string> all = Names(AllAblationParts());
  EXPECT_EQ(Names(AblationParts(TestConfigWith(kSwitches, TestShape::kFull).model)), all);
  EXPECT_EQ(Names(AblationParts(TestConfig(true).model)),
            (std::set<std::string>{"gd", "gd.gates", "gd.decay", "xm", "xm.gates", "conv", "ffn"}));
}

// What a zeroed output projection is given does not matter: the loss is the same to the bit.
TEST(Ablation, RemovedLayersAreGoneWithAllTheyHold) {
  for (const char* quantization : {kTernary, kSwitches, kFullPrecision}) {
    const auto model = FullModel(quantization);
    ExecContext exec(1);
    Ablation ablation(*model, 0, &exec);
    const std::vector<std::vector<std::string>> pairs[] = {
        {{"gd"}, {"gd", "gd.gates", "gd.decay"}},
        {{"xm"}, {"xm", "xm.gates"}},
        {{"tm"}, {"tm", "tm.memory", "tm.window", "tm.slots", "tm.retrieval"}},
        {{"sk"}, {"sk", "sk.delta", "sk.sketch"}},
        {{"sk", "sk.delta"}, {"sk", "sk.relaxation"}},
        {{"gd", "sk"}, {"gd", "sk", "conv"}},
        {{"sk.relaxation"}, {"sk.relaxation", "sk.binding", "sk.autoregressive"}},
        {{"experts"}, {"experts", "router"}},
        // Blank tokens hide a memory that reaches the output through the block tokens alone.
        {{"tm.window", "tm.retrieval"}, {"tm.window", "tm.retrieval", "tm.blocks", "tm.memory"}},
    };
    for (const auto& pair : pairs) {
      EXPECT_EQ(ablation.Measure(Text(), pair[0]).bpb, ablation.Measure(Text(), pair[1]).bpb)
          << testing::PrintToString(pair[1]);
    }
    EXPECT_EQ(ablation.Measure(Text(), {"loop"}).bpb,
              Ablation(*model, 1, &exec).Measure(Text(), {}).bpb);
  }
}

TEST(Ablation, CountsEveryPickOfATextThatTakesSeveralPasses) {
  const auto model = FullModel(kTernary);
  ExecContext exec(1);
  std::string text;
  while (text.size() < 12000) text += Text();
  const auto tokens = EvaluateText(*model, text, &exec, nullptr)->tokens;
  ASSERT_GT(tokens, 2048);
  Ablation ablation(*model, 3, &exec);
  const AblationResult whole = ablation.Measure(text, {});
  ASSERT_EQ(whole.experts.size(), 2u);
  EXPECT_EQ(whole.experts[0].layer, 1);
  EXPECT_EQ(whole.experts[0].picks, 2 * 3 * tokens) << "looped";
  EXPECT_EQ(whole.experts[1].layer, 3);
  EXPECT_EQ(whole.experts[1].picks, 2 * tokens);
  for (const ExpertImbalance& layer : whole.experts) {
    EXPECT_GT(layer.imbalance, 0.0);
    EXPECT_LE(layer.imbalance, 1.0) << "of 4 experts one is picked at most by every token";
  }
  // Two of four experts with half of the picks each: twice the mean.
  for (const ExpertImbalance& layer : ablation.Measure(text, {"router"}).experts) {
    EXPECT_EQ(layer.imbalance, 1.0);
  }
}

TEST(Ablation, FaultsAreNamed) {
  const ModelConfig full = TestConfig(true, TestShape::kFull).model, plain = TestConfig(true).model;
  EXPECT_TRUE(CheckAblation(full, {"tm", "tm.memory"}).ok());
  EXPECT_THAT(ToStd(CheckAblation(full, {"tm", "attention"}).message()),
              HasSubstr("no part \"attention\"; it has gd, gd.gates"));
  EXPECT_THAT(ToStd(CheckAblation(plain, {"tm"}).message()), HasSubstr("no part \"tm\""));
  for (int loops : {0, 1, 4}) EXPECT_TRUE(CheckLoops(full, loops).ok());
  EXPECT_THAT(ToStd(CheckLoops(full, 5).message()), HasSubstr("loops 5 is outside 1..4"));
  EXPECT_FALSE(CheckLoops(full, -1).ok());
  EXPECT_THAT(ToStd(CheckLoops(plain, 2).message()), HasSubstr("looping.enabled"));
  EXPECT_TRUE(CheckLoops(plain, 1).ok());
}

TEST(WholeCharacters, NeverSplitsOne) {
  EXPECT_EQ(WholeCharacters("a\u00e9b", 4), "a\u00e9b");
  EXPECT_EQ(WholeCharacters("a\u00e9b", 3), "a\u00e9");
  EXPECT_EQ(WholeCharacters("a\u00e9b", 2), "a");
  EXPECT_EQ(WholeCharacters("\u00e9", 1), "");
}

}  // namespace
}  // namespace chimera
