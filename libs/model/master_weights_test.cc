#include "model/master_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/file.h"
#include "base/string_view.h"
#include "model/model_testing.h"
#include "model/planes_testing.h"
#include "model/weight_file.h"

namespace chimera {
namespace {

using testing::HasSubstr;

std::string Encode(const ModelConfig& config, const Parameters& parameters) {
  return EncodeWeights(config, [&](const std::string& name) { return parameters.value(name); });
}

// Writes the parameters as the model of a folder and loads it.
std::shared_ptr<const Model> Export(const std::string& folder, const Config& config,
                                    const Parameters& parameters) {
  EXPECT_TRUE(WriteFileAtomic(folder + "/" + kWeightsFile, Encode(config.model, parameters)).ok());
  EXPECT_TRUE(WriteFileAtomic(folder + "/" + kConfigFile, ConfigJson(config)).ok());
  EXPECT_TRUE(TestTokenizer()->WriteFile(folder + "/" + kTokenizerFile).ok());
  EXPECT_TRUE(WriteManifest(folder, "test").ok());
  auto model = Model::Load(folder);
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

// Mean loss of some text from a fresh state.
double Loss(const ModelConfig& config, Parameters* parameters) {
  ExecContext exec(1);
  Tape tape(&exec);
  Network network(config, parameters);
  network.Prepare(&exec);
  std::vector<int32_t> text;
  for (int i = 0; i < 101; ++i) text.push_back(i * 29 % config.vocab_size);
  std::vector<float> start(static_cast<size_t>(network.StateFloats())), end(start), nll(100);
  return network.Forward(&tape, TextBatch(text).view(), start.data(), end.data(), nll.data());
}

// Restored parameters are the exported model: the same file, and the same loss to the bit.
TEST(MasterWeights, QuantiseToTheModelTheyCameFrom) {
  for (bool quantized : {true, false}) {
    const Config config = TestConfig(quantized);
    Parameters trained(config.model), restored(config.model);
    trained.Initialize(config.model, 3);
    // Groups that quantise to zeros only, and a row of zeros in the embedding.
    float* w_out = trained.values().data() + trained.entry("layers.0.ffn.w_out").offset;
    std::fill(w_out, w_out + 3 * 128, 0.0f);
    std::fill(trained.values().begin(), trained.values().begin() + 64, 0.0f);
    const auto model = Export(TestFolder("masters"), config, trained);
    RestoreMasters(*model, &restored);
    EXPECT_EQ(Encode(config.model, restored), Encode(config.model, trained));
    EXPECT_EQ(Loss(config.model, &restored), Loss(config.model, &trained));
    const bool same = std::equal(trained.values().begin(), trained.values().end(),
                                 restored.values().begin(), restored.values().end());
    EXPECT_EQ(same, !quantized) << "rounding is not undone, floats come back as they were";
  }
}

// Every packing, with the low-rank correction beside it.
TEST(MasterWeights, PackedModelsComeBackToTheByte) {
  for (const char* keys :
       {R"("packing": "base3")", R"("head_bits": 6)", R"("head_bits": 4)",
        R"("sherry_mode": {"enabled": true})",
        R"("sherry_mode": {"enabled": true}, "hgf_correction": {"enabled": true})"}) {
    const Config config = TestConfigWith(keys, TestShape::kFull);
    Parameters trained(config.model), restored(config.model);
    trained.Initialize(config.model, 3);
    float* w_out = trained.values().data() + trained.entry("layers.0.ffn.w_out").offset;
    std::fill(w_out, w_out + 3 * 128, 0.0f);
    const auto model = Export(TestFolder("packed_masters"), config, trained);
    RestoreMasters(*model, &restored);
    EXPECT_TRUE(Encode(config.model, restored) == Encode(config.model, trained)) << keys;
  }
}

TEST(MasterWeights, TheShippedModelComesBackToTheByte) {
  const std::string folder = std::string(CHIMERA_SOURCE_DIR) + "/models/nano";
  const auto model = Model::Load(folder);
  ASSERT_TRUE(model.ok()) << model.status();
  Parameters restored((*model)->shape());
  RestoreMasters(**model, &restored);
  EXPECT_TRUE(Encode((*model)->shape(), restored) ==
              *ReadFile(folder + "/" + kWeightsFile, 64 << 20));
}

// Why the weights are stretched: mu * t itself keeps the trits and loses the scale, by the share of
// trits that are not zero.
TEST(MasterWeights, PlainTritsTimesScaleIsAnotherModel) {
  const Config config = TestConfig(true);
  Parameters trained(config.model), plain(config.model);
  trained.Initialize(config.model, 3);
  const auto model = Export(TestFolder("plain"), config, trained);
  RestoreMasters(*model, &plain);
  for (const Parameters::Entry& e : plain.entries()) {
    if (e.spec.kind != TensorKind::kTernary) continue;
    const auto payload = model->weights().payload(e.spec.name);
    const TernaryView view{payload.data(),
                           reinterpret_cast<const uint16_t*>(
                               payload.data() + TernaryCodeBytes(e.spec.rows, e.spec.cols)),
                           e.spec.rows, e.spec.cols};
    DequantizeWeights(view, 0, RowTiles(e.spec.rows), plain.values().data() + e.offset);
  }
  const auto again = Export(TestFolder("again"), config, plain);
  const auto mean_scale = [](const Model& m) {
    const LinearView& w = m.weights().layers()[0].ffn.w_in;
    std::vector<float> values(static_cast<size_t>(w.rows) * static_cast<size_t>(w.cols));
    DequantizeWeights(w.ternary, 0, RowTiles(w.rows), values.data());
    double sum = 0.0;
    int64_t trits = 0;
    for (float x : values) {
      sum += std::abs(x);
      trits += x != 0.0f;
    }
    return std::pair(sum / static_cast<double>(trits), trits);
  };
  const auto [scale, trits] = mean_scale(*model);
  const auto [scale_again, trits_again] = mean_scale(*again);
  EXPECT_EQ(trits, trits_again);
  // Uniform weights: three quarters of them are beyond half their mean.
  EXPECT_NEAR(scale_again / scale, 0.75, 0.01);
  EXPECT_GT(std::abs(Loss(config.model, &plain) - Loss(config.model, &trained)), 1e-4);
}

TEST(MasterWeights, DifferencesAreNamed) {
  const ModelConfig config = TestConfig(true).model;
  EXPECT_TRUE(CheckSameTensors(config, config).ok());
  ModelConfig other = config;
  other.d_ff = 192;
  EXPECT_THAT(ToStd(CheckSameTensors(config, other).message()),
              HasSubstr("layers.0.ffn.w_in is 256 x 64 ternary in the model and 384 x 64 ternary"));
  other = config;
  std::swap(other.layers[0], other.layers[1]);
  EXPECT_THAT(ToStd(CheckSameTensors(config, other).message()),
              HasSubstr("the model has layers.0.gd.w_in where the recipe has layers.0.xm.w_in"));
  other = config;
  other.quant.enabled = false;
  EXPECT_THAT(ToStd(CheckSameTensors(config, other).message()),
              HasSubstr("embedding is 1080 x 64 int8 in the model and 1080 x 64 float"));
}

}  // namespace
}  // namespace chimera
