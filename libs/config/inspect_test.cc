#include "config/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"

namespace chimera {
namespace {

using testing::HasSubstr;

Config Load(const std::string& scale) {
  const std::string configs = std::string(CHIMERA_SOURCE_DIR) + "/configs/";
  auto config = LoadConfig(configs + "chimera-5.3.json", {configs + "scales/" + scale + ".json"});
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(Config{});
}

void ExpectNear(int64_t got, double want, double relative) {
  EXPECT_LE(std::fabs(static_cast<double>(got) - want), relative * want) << got << " vs " << want;
}

// The table of math-backbone 0.2.
TEST(Inspect, BaseCountsAgreeWithTheSpecification) {
  const ParameterCounts p = CountParameters(Load("base").model);
  ExpectNear(p.mixers, 0.934e9, 0.005);
  ExpectNear(p.ffn, 1.115e9, 0.005);
  ExpectNear(p.mixers + p.ffn, 2.049e9, 0.005);
  ExpectNear(p.moe, 1.580e9, 0.005);
  ExpectNear(p.embedding, 0.512e9, 0.005);
  ExpectNear(p.total, 4.141e9, 0.005);
  ExpectNear(p.moe_active, 0.279e9, 0.005);
  ExpectNear(p.active, 2.328e9, 0.005);
  ASSERT_EQ(p.executed.size(), 6u);
  EXPECT_EQ(p.executed[0], p.active);
  ExpectNear(p.executed[1], 3.99e9, 0.005);
  ExpectNear(p.executed[3], 7.31e9, 0.005);
  ExpectNear(p.executed[5], 10.63e9, 0.005);
}

TEST(Inspect, TinyCountOfTheSpecification) {
  // "hidden 256, heads 4, ffn 640, moe 128, 28 layers, vocab 16384 -> 9.2+10.3+11.7+4.2 = 35.4M";
  // its mixers are 5 D^2 everywhere, ours carry gates, convolutions and the windows of TM besides;
  // sketches of SK and the depth router are not in it.
  const ParameterCounts p = CountParameters(Load("tiny").model);
  EXPECT_GE(p.mixers, 28 * 5 * 256 * 256);
  const int64_t sketches = 3 * (4 * 32 * 256 + 256);
  ExpectNear(p.total - p.loop - sketches, 35.4e6, 0.03);
  ExpectNear(p.ffn, 10.3e6, 0.01);
  ExpectNear(p.moe, 11.7e6, 0.01);
  ExpectNear(p.embedding, 4.2e6, 0.01);
}

// One GD and one XM layer of width 64, counted by hand.
TEST(Inspect, HandCountedModel) {
  ModelConfig m;
  m.d_model = 64;
  m.d_ff = 192;
  m.n_layers = 2;
  m.n_heads = 1;
  m.vocab_size = 1080;
  m.layers = {LayerKind::kGatedDelta, LayerKind::kMlstm};
  m.ffn = {FfnKind::kDense, FfnKind::kDense};
  const int64_t gd = 5 * 64 * 64 + 2 * 64 + 2 + 3 * 64 * 4 + 64 + 64;
  const int64_t xm = 5 * 64 * 64 + 2 * 64 + 2 + 64 + 64;
  const int64_t ffn = 3 * 64 * 192 + 192;
  ParameterCounts p = CountParameters(m);
  EXPECT_EQ(p.mixers, gd + xm);
  EXPECT_EQ(p.ffn, 2 * ffn);
  EXPECT_EQ(p.moe, 0);
  EXPECT_EQ(p.loop, 0);
  EXPECT_EQ(p.norms, 5 * 64);
  EXPECT_EQ(p.embedding, 1080 * 64);
  EXPECT_EQ(p.total, gd + xm + 2 * ffn + 5 * 64 + 1080 * 64);
  EXPECT_EQ(p.ternary, 2 * (5 * 64 * 64 + 3 * 64 * 192));
  EXPECT_EQ(p.ternary + p.floats + p.embedding, p.total);
  EXPECT_EQ(p.active_with_head, p.total);
  EXPECT_EQ(p.executed, std::vector<int64_t>{p.active});
  const ByteCounts b = CountBytes(m);
  EXPECT_EQ(b.ternary, p.ternary * 17 / 64);
  EXPECT_EQ(b.embedding, p.embedding);
  EXPECT_EQ(b.weights, b.ternary + b.embedding + b.floats);
  EXPECT_EQ(b.stream_state, 2 * (4096 + 3 * 64 * 3) + 2 * (4096 + 64 + 1));
  m.quant.head_bits = 4;
  EXPECT_EQ(CountBytes(m).embedding, 1080 * 64 * 17 / 32);
  m.quant.head_bits = 6;
  EXPECT_EQ(CountBytes(m).embedding, 1080 * 64 * 25 / 32);
  m.quant.enabled = false;
  p = CountParameters(m);
  EXPECT_EQ(p.ternary, 0);
  EXPECT_EQ(CountBytes(m).weights, 4 * p.total);
}

// The corrections of two hand-counted layers, and the packings of their file.
TEST(Inspect, TernarySwitchesAreCounted) {
  ModelConfig m;
  m.d_model = 64;
  m.d_ff = 192;
  m.n_layers = 2;
  m.n_heads = 1;
  m.vocab_size = 1080;
  m.layers = {LayerKind::kGatedDelta, LayerKind::kMlstm};
  m.ffn = {FfnKind::kDense, FfnKind::kDense};
  const ParameterCounts plain = CountParameters(m);
  EXPECT_EQ(plain.hgf, 0);
  EXPECT_EQ(CountBytes(m).ternary_file, CountBytes(m).ternary);
  m.quant.hgf = true;
  const ParameterCounts p = CountParameters(m);
  const int64_t mixer = 16 * (256 + 64) + 1 + 16 * (64 + 64) + 1;
  const int64_t ffn = 16 * (384 + 64) + 1 + 16 * (64 + 192) + 1;
  EXPECT_EQ(p.hgf, 2 * (mixer + ffn));
  EXPECT_EQ(p.total, plain.total + p.hgf);
  EXPECT_EQ(p.floats, plain.floats + p.hgf);
  EXPECT_EQ(p.ternary, plain.ternary);
  EXPECT_EQ(p.active, plain.active + p.hgf);
  EXPECT_EQ(p.executed, std::vector<int64_t>{p.active});
  m.quant.packing = TernaryPacking::kBase3;
  EXPECT_EQ(CountBytes(m).ternary_file, static_cast<int64_t>(double(p.ternary) * 1.725 / 8));
  EXPECT_EQ(CountBytes(m).ternary, CountBytes(m).ternary_file) << "served as it is mapped";
  m.quant.packing = TernaryPacking::kSherry;
  EXPECT_EQ(CountBytes(m).ternary_file, p.ternary * 11 / 64);
  EXPECT_EQ(CountBytes(m).ternary, p.ternary * 17 / 64) << "in memory nothing changes";
}

TEST(Inspect, TernarySwitchesAreShown) {
  const std::string configs = std::string(CHIMERA_SOURCE_DIR) + "/configs/";
  auto text = ReadFile(configs + "chimera-5.3.json", kConfigBytesMax);
  ASSERT_TRUE(text.ok());
  auto config = ParseConfig(*text, {R"({"quantization": {"hgf_correction": {"enabled": true},
                                        "sherry_mode": {"enabled": true}}})"});
  ASSERT_TRUE(config.ok()) << config.status();
  auto report = BuildReport(*config);
  ASSERT_TRUE(report.ok());
  const std::string shown = RenderReport(*report);
  EXPECT_THAT(shown, HasSubstr("low-rank corrections"));
  EXPECT_THAT(shown, HasSubstr("... packed in the file"));
  // At rank 16 and float32, over all ternary bytes, of which the routed experts without corrections
  // are half: the fp16 pair of the paper costs 12 to 15 % of the maps that have one.
  const double share = 4.0 * double(report->parameters.hgf) / double(report->bytes.ternary);
  EXPECT_GT(share, 0.05);
  EXPECT_LT(share, 0.30);
  EXPECT_THAT(RenderReport(*BuildReport(Load("base"))), testing::Not(HasSubstr("corrections")));
}

TEST(Inspect, PartsAddUp) {
  for (const char* scale : {"nano", "tiny", "small", "base"}) {
    const Config config = Load(scale);
    const ParameterCounts p = CountParameters(config.model);
    EXPECT_EQ(p.total, p.embedding + p.mixers + p.ffn + p.moe + p.norms + p.loop + p.hgf);
    EXPECT_EQ(p.total, p.embedding + p.ternary + p.floats);
    auto report = BuildReport(config);
    ASSERT_TRUE(report.ok()) << report.status();
    int64_t layers = 0;
    for (const LayerRow& row : report->layers) layers += row.mixer_parameters + row.ffn_parameters;
    EXPECT_EQ(layers, p.mixers + p.ffn + p.moe);
  }
}

// math-backbone 0.3 #6: matrices of 26.2 MiB in fp32 at two loops, Titans memory 10 MiB, rings of 6
// MiB. Here matrices and memory are bf16; convolution taps (1.4), scales and memory tokens of the
// rings (0.6) and write buffers (1.0) come on top.
TEST(Inspect, StreamStateOfBase) {
  const ByteCounts b = CountBytes(Load("base").model);
  const double mib = static_cast<double>(b.stream_state) / (1 << 20);
  EXPECT_NEAR(mib, 26.2 / 2 + 10.0 / 2 + 6 + 1.4 + 0.6 + 1.0, 0.2);
  EXPECT_LE(mib, 30.0);
}

TEST(Inspect, ReportOfBase) {
  auto report = BuildReport(Load("base"));
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->layers.size(), 28u);
  EXPECT_EQ(report->layers[3].mixer, LayerKind::kTitans);
  EXPECT_EQ(report->layers[3].part, LoopPart::kPrelude);
  EXPECT_EQ(report->layers[4].part, LoopPart::kLoop);
  EXPECT_EQ(report->layers[24].part, LoopPart::kCoda);
  EXPECT_GT(report->pending_keys, 0);
  EXPECT_GT(report->claimed_keys, 90);
  const std::string text = RenderReport(*report);
  EXPECT_THAT(text, HasSubstr("512,186,880"));  // the embedding
  EXPECT_THAT(text, testing::ContainsRegex("params.moe_total +350M  1.58"));
  EXPECT_THAT(text, testing::ContainsRegex("memory_budget_mb.moe_experts +66  "));
  // 410 + 66 + 30 of the labelled 2524 are counted instead.
  const double rest = 2524 - 410 - 66 - 30;
  const double counted =
      static_cast<double>(report->bytes.weights + report->bytes.stream_state) / (1 << 20);
  const LabelRow& total = *(report->labels.end() - 3);
  EXPECT_EQ(total.key, "memory_budget_mb.total");
  EXPECT_NEAR(std::stod(total.measured), rest + counted, 0.11);
  EXPECT_THAT(text, HasSubstr("Trainable today: yes"));
}

TEST(Inspect, JsonReport) {
  auto report = BuildReport(Load("nano"));
  ASSERT_TRUE(report.ok()) << report.status();
  const auto json = nlohmann::json::parse(RenderReportJson(*report), nullptr, false);
  ASSERT_TRUE(json.is_object());
  const ParameterCounts p = CountParameters(report->model);
  EXPECT_EQ(json["parameters"]["total"], p.total);
  EXPECT_EQ(json["parameters"]["embedding"], p.embedding);
  EXPECT_EQ(json["parameters"]["mixers"], p.mixers);
  EXPECT_EQ(json["parameters"]["ffn"], p.ffn);
  EXPECT_EQ(json["parameters"]["moe"], p.moe);
  EXPECT_EQ(json["pending_keys"], report->pending_keys);
  EXPECT_EQ(json["layers"].size(), 8u);
  EXPECT_EQ(json["layers"][3]["mixer"], "TM");
  EXPECT_EQ(json["trainable"], true);
}

}  // namespace
}  // namespace chimera
