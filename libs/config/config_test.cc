#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "base/philox.h"
#include "base/string_view.h"

namespace chimera {
namespace {

using testing::HasSubstr;

const char kFull[] = CHIMERA_SOURCE_DIR "/configs/chimera-5.3.json";
const char kOld[] = CHIMERA_SOURCE_DIR "/configs/chimera-5.1.json";

std::string ScalePath(const std::string& scale) {
  return std::string(CHIMERA_SOURCE_DIR) + "/configs/scales/" + scale + ".json";
}

std::string Text(const std::string& path) {
  auto text = ReadFile(path, kConfigBytesMax);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.value_or("");
}

absl::StatusOr<Config> WithOverlay(const std::string& overlay) {
  return ParseConfig(Text(kFull), {overlay});
}

// The error of an overlay on the full config; "loaded" when there was none.
std::string ErrorOf(const std::string& overlay) {
  auto config = WithOverlay(overlay);
  if (config.ok()) return "loaded";
  EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << config.status();
  return std::string(ToStd(config.status().message()));
}

TEST(Config, LoadsTheFullFile) {
  auto config = LoadConfig(kFull);
  ASSERT_TRUE(config.ok()) << config.status();
  const ModelConfig& m = config->model;
  EXPECT_EQ(m.name, "chimera-5.3-hyper");
  EXPECT_EQ(config->version, "5.3.0");
  EXPECT_EQ(m.d_model, 2560);
  EXPECT_EQ(m.d_ff, 6912);
  EXPECT_EQ(m.n_heads, 40);
  EXPECT_EQ(m.vocab_size, 200073);
  EXPECT_FLOAT_EQ(m.norm_eps, 1e-6f);
  EXPECT_FLOAT_EQ(m.init_std, 0.006f);
  EXPECT_TRUE(m.quant.enabled);
  EXPECT_EQ(m.quant.group_size, 128);
  EXPECT_EQ(m.gd.chunk_len, 64);
  EXPECT_EQ(m.moe.n_routed, 16);
  EXPECT_EQ(m.moe.d_expert, 1728);
  EXPECT_EQ(m.tm.kv_heads, 8);
  EXPECT_TRUE(m.loop.enabled);
  EXPECT_EQ(m.loop.first_layer, 4);
  EXPECT_EQ(m.loop.last_layer, 23);
  EXPECT_EQ(m.loop.loops_max, 6);
  EXPECT_EQ(m.loop.loops_default, 2);
}

TEST(Config, LayerMapIsThatOfTheSpecification) {
  auto config = LoadConfig(kFull);
  ASSERT_TRUE(config.ok()) << config.status();
  std::string map;
  for (int i = 0; i < config->model.n_layers; ++i) {
    map += LayerKindName(config->model.layers[static_cast<size_t>(i)]);
    map += config->model.ffn[static_cast<size_t>(i)] == FfnKind::kMoe ? "m " : "d ";
  }
  const std::string eight = "GDd XMd GDd TMm GDd XMd GDd SKm ";
  EXPECT_EQ(map, eight + eight + eight + "GDd XMd GDd TMm ");
}

TEST(Config, TypedSectionsHoldTheFilesValues) {
  auto c = LoadConfig(kFull);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->tokens, (TokenIds{199998, 199999, 200018, 200019, 200058}));
  EXPECT_EQ(c->generation, (GenerationConfig{0.7, 0.92, 1.08, 4096, true, true}));
  EXPECT_EQ(c->deployment, (DeploymentConfig{16, 30, true, 20, 8}));
  EXPECT_EQ(c->pretrain, (PretrainConfig{"cosine_warmup", 2'000'000'000'000, 4'000'000, 4096, 3e-4,
                                         2000, 0.1, 1.0}));
  EXPECT_EQ(c->memory, (MemoryConfig{8192, 200000, 500000, 64, 14, 16384}));
  EvolutionConfig evolution;  // its defaults are those of the file
  evolution.state_file = "chimera51_evolution.state";
  EXPECT_EQ(c->evolution, evolution);
  EXPECT_EQ(c->diagnostics.report_interval_tokens, 256);
  EXPECT_EQ(c->diagnostics.metrics.size(), 18u);
  EXPECT_EQ(c->guidance.hard_constraints.size(), 4u);
  EXPECT_EQ(c->guidance.soft_constraints.size(), 3u);
  EXPECT_EQ(c->guidance.obligations.size(), 8u);
  EXPECT_EQ(c->guidance.max_debts, 64);
  EXPECT_FLOAT_EQ(c->guidance.pressure_weight, 0.3f);
  EXPECT_EQ(c->diagnostics.thresholds.size(), 5u);
  EXPECT_EQ(c->budget.parts.size(), 12u);
  EXPECT_EQ(c->budget.parts[0], (BudgetLabel{"ternary_weights", 410}));
  EXPECT_EQ(c->budget.total_mb, 2524);
  EXPECT_EQ(c->budget.max_with_growth_mb, 3174);
  EXPECT_EQ(c->size_labels.front(), (std::pair<std::string, std::string>{"params.base", "2.3B"}));
  EXPECT_EQ(c->grammar.modes.size(), 9u);
  EXPECT_EQ(c->grammar.storage_mb, 64);
  EXPECT_EQ(
      c->switches,
      (Switches{
          .multimodal = true, .span_inference = true, .entropy_valve = true, .debt_ledger = true}));
}

TEST(Config, BothVersionsLoadWithAllScales) {
  struct Want {
    const char* scale;
    int d_model, d_ff, n_layers, vocab_size, d_expert;
  };
  for (const char* path : {kFull, kOld}) {
    for (const Want& want :
         {Want{"nano", 256, 704, 8, 4152, 128}, Want{"tiny", 256, 640, 28, 16440, 128},
          Want{"small", 512, 1408, 28, 32824, 384}, Want{"base", 2560, 6912, 28, 200073, 1728}}) {
      auto config = LoadConfig(path, {ScalePath(want.scale)});
      ASSERT_TRUE(config.ok()) << config.status();
      const ModelConfig& m = config->model;
      EXPECT_EQ(m.d_model, want.d_model);
      EXPECT_EQ(m.d_ff, want.d_ff);
      EXPECT_EQ(m.n_layers, want.n_layers);
      EXPECT_EQ(m.vocab_size, want.vocab_size);
      EXPECT_EQ(m.moe.d_expert, want.d_expert);
      EXPECT_EQ(m.layers.size(), static_cast<size_t>(m.n_layers));
      EXPECT_EQ(m.ffn.size(), m.layers.size());
      if (m.vocab_size != 200073) {
        EXPECT_EQ(config->tokens.eot, m.vocab_size - 56);
        EXPECT_EQ(config->tokens.pad, m.vocab_size - 15);
      }
    }
  }
}

TEST(Config, JsonRoundTrips) {
  for (const std::string& overlay : std::vector<std::string>{"{}", Text(ScalePath("nano"))}) {
    auto config = WithOverlay(overlay);
    ASSERT_TRUE(config.ok()) << config.status();
    auto again = ParseConfig(ConfigJson(*config));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(*again == *config);
    EXPECT_EQ(again->model.layers, config->model.layers);
    EXPECT_EQ(again->model.d_model, config->model.d_model);
    EXPECT_EQ(again->pretrain, config->pretrain);
    EXPECT_EQ(again->generation, config->generation);
    EXPECT_EQ(ConfigJson(*again), ConfigJson(*config));
  }
  auto nano = WithOverlay(Text(ScalePath("nano")));
  auto full = WithOverlay("{}");
  EXPECT_FALSE(*nano == *full);
}

TEST(Config, RecipeOverlayOfGdAndXm) {
  const std::string nano = Text(ScalePath("nano"));
  const std::string overlay = R"({"num_hidden_layers":8,
    "backbone":{"layer_pattern":"GD XM","layer_pattern_repeat":4,"moe":{"enabled":false}},
    "looping":{"enabled":false},"vocab_size":4152,"token_ids":[4096,4137]})";
  for (const auto& overlays : std::vector<std::vector<std::string>>{{overlay}, {nano, overlay}}) {
    auto config = ParseConfig(Text(kFull), overlays);
    ASSERT_TRUE(config.ok()) << config.status();
    const ModelConfig& m = config->model;
    ASSERT_EQ(m.layers.size(), 8u);
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(m.layers[i], i % 2 == 0 ? LayerKind::kGatedDelta : LayerKind::kMlstm);
      EXPECT_EQ(m.ffn[i], FfnKind::kDense);
    }
    EXPECT_FALSE(m.loop.enabled);
    EXPECT_EQ(m.moe.n_routed, 0);
    EXPECT_TRUE(CheckTrainable(*config).ok()) << CheckTrainable(*config);
    EXPECT_TRUE(*ParseConfig(ConfigJson(*config)) == *config);
  }
}

TEST(Config, PatternsAndQuantizationOff) {
  auto config = WithOverlay(R"({"num_hidden_layers":3,"quantization":{"method":"none"},
    "backbone":{"layer_pattern":"  XM  GD","layer_pattern_repeat":1.5,
                "layer_aliases":{"Z":"xlstm_m"},"layer_counts":null,"moe":{"enabled":false}},
    "looping":{"enabled":false}})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->model.quant.enabled);
  EXPECT_EQ(config->model.layers,
            (std::vector<LayerKind>{LayerKind::kMlstm, LayerKind::kGatedDelta, LayerKind::kMlstm}));
  // Counts that come with the pattern are checked, and an alias is a real name.
  EXPECT_THAT(ErrorOf(R"({"backbone":{"layer_pattern":"GD XM GD TM GD XM GD GD"}})"), "loaded");
  EXPECT_THAT(ErrorOf(R"({"backbone":{"layer_pattern":"GD XM GD TM GD XM GD GD",
                                      "layer_counts":{"GD":17,"SK":1}}})"),
              HasSubstr("backbone.layer_counts.SK = 1 is wrong: the pattern holds 0"));
}

TEST(Config, CountWithoutTheLayerIsAnError) {
  EXPECT_THAT(ErrorOf(R"({"backbone":{"layer_counts":{"XM":null}}})"),
              HasSubstr("backbone.layer_counts.XM is missing: the pattern holds 7"));
}

struct BadCase {
  const char* overlay;
  const char* message;
};

class ConfigRejects : public testing::TestWithParam<BadCase> {};

TEST_P(ConfigRejects, NamingTheKey) {
  EXPECT_THAT(ErrorOf(GetParam().overlay), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    UnknownKeys, ConfigRejects,
    testing::Values(BadCase{R"({"hiden_size":256})", "hiden_size is an unknown key"},
                    BadCase{R"({"backbone":{"moe":{"layer":[1]}}})",
                            "backbone.moe.layer is an unknown key"},
                    BadCase{R"({"titans":{"extra":{}}})", "titans.extra is an unknown key"},
                    BadCase{R"({"training":{"phases":[{"name":"pretrain"},{"name":"rl","lr":1}]}})",
                            "training.phases[pretrain].tokens is missing"},
                    BadCase{R"({"context_tiers":[{"name":"recent_ring","tokens":4096,"size":2}]})",
                            "context_tiers[recent_ring].size is an unknown key"},
                    BadCase{R"({"context_tiers":[{"name":"recent_ring","tokens":4096},{"mb":1}]})",
                            "context_tiers[].mb is an unknown key"},
                    BadCase{R"({"context_tiers":[{"name":"recent_ring","tokens":4096},)"
                            R"({"name":"braid_state","mb":1},{"name":"braid_state","mb":1}]})",
                            "context_tiers[braid_state].name stands there twice"}));

INSTANTIATE_TEST_SUITE_P(
    WrongTypes, ConfigRejects,
    testing::Values(
        BadCase{R"({"hidden_size":"256"})",
                "hidden_size = \"256\" must be an integer, is a string"},
        BadCase{R"({"hidden_size":256.0})", "hidden_size = 256.0 must be an integer, is a number"},
        BadCase{R"({"backbone":[]})", "backbone = [] must be an object, is an array"},
        BadCase{R"({"backbone":{"moe":{"layers":[3,"7"]}}})",
                "backbone.moe.layers[1] = \"7\" is outside 0..1023"},
        BadCase{R"({"looping":{"enabled":1}})", "looping.enabled = 1 must be true or false"},
        BadCase{R"({"generation":{"top_p":"0.9"}})", "generation.top_p = \"0.9\" must be a number"},
        BadCase{R"({"deployment":{"mmap":[1]}})", "deployment.mmap = [1] must hold strings only"},
        // Keys no reader claims have a type as well.
        BadCase{R"({"entropy_valve":{"levels":{"low":{"loops":"1"}}}})",
                "entropy_valve.levels.low.loops = \"1\" must be an integer, is a string"},
        BadCase{R"({"debt_ledger":{"obligations":{"a":1}}})",
                "debt_ledger.obligations = {\"a\":1} must be an array of strings, is an object"},
        BadCase{R"({"debt_ledger":{"obligations":["close_bracket","close_door"]}})",
                "debt_ledger.obligations[1] = \"close_door\" is not known"},
        BadCase{R"({"debt_ledger":{"obligations":["finish_list","finish_list"]}})",
                "debt_ledger.obligations[1] = \"finish_list\" stands there twice"},
        BadCase{R"({"grammar":{"soft_constraints":["sentence_rythm"]}})",
                "grammar.soft_constraints[0] = \"sentence_rythm\" is not known"},
        BadCase{R"({"debt_ledger":{"max_outstanding":7}})",
                "debt_ledger.max_outstanding = 7 is outside 8..64"},
        BadCase{R"({"files":{"weights":7}})", "files.weights = 7 must be a string"}));

INSTANTIATE_TEST_SUITE_P(
    Ranges, ConfigRejects,
    testing::Values(
        BadCase{R"({"hidden_size":99999999999999999999})", "hidden_size = "},
        BadCase{R"({"hidden_size":-64})", "hidden_size = -64 is outside 64..65536"},
        BadCase{R"({"hidden_size":2592})", "hidden_size = 2592 must be a multiple of 64"},
        BadCase{R"({"intermediate_size":6913})", "intermediate_size = 6913 must be a multiple"},
        BadCase{R"({"head_dim":128})", "head_dim = 128 is not supported, only 64 is"},
        BadCase{R"({"num_heads":20})",
                "num_heads = 20 does not fit: num_heads * head_dim is 1280, hidden_size is 2560"},
        BadCase{R"({"hidden_act":"gelu"})", "hidden_act = \"gelu\" is not supported"},
        BadCase{R"({"_v":"6.0.0"})", "_v = \"6.0.0\" is not supported"},
        BadCase{R"({"vocab_size":200000})", "vocab_size"},
        BadCase{R"({"vocab_size":311})", "vocab_size = 311 is outside 312..200073"},
        BadCase{R"({"vocab_size":4152})", "token_ids = [199999,200058] must be [4096, 4137]"},
        BadCase{R"({"quantization":{"group_size":96}})",
                "quantization.group_size = 96 must be a multiple of activation_block_size 64"},
        BadCase{R"({"quantization":{"group_size":256}})", "quantization.group_size = 256"},
        BadCase{R"({"quantization":{"method":"int4"}})", "quantization.method = \"int4\" must be"},
        BadCase{R"({"training":null})", "training is missing"},
        BadCase{R"({"generation":{"top_p":0}})", "generation.top_p = 0 must be above 0"},
        BadCase{R"({"deployment":{"deterministic":false}})",
                "deployment.deterministic = false is not supported, only true is"},
        BadCase{R"({"memory_budget_mb":{"total":1}})", "memory_budget_mb.total = 1 is wrong"},
        BadCase{R"({"memory_budget_mb":{"_vals":[1,2]}})",
                "memory_budget_mb._vals = [1,2] holds 2 entries, _keys holds 12"}));

INSTANTIATE_TEST_SUITE_P(
    Evolution, ConfigRejects,
    testing::Values(
        BadCase{R"({"self_evolution":{"tier2":{"episodic_cases":{"max_cases":4097}}}})",
                "self_evolution.safety.max_growth_mb.episodic = 8 is too small: 4097 entries of "
                "2048 bytes take 8390656 bytes"},
        BadCase{R"({"self_evolution":{"tier2":{"meta_guidelines":{"max":600}}}})",
                "self_evolution.safety.max_growth_mb.guidelines = 2 is too small"},
        BadCase{R"({"self_evolution":{"tier2":{"episodic_cases":{"case_bytes":1024}}}})",
                "self_evolution.tier2.episodic_cases.case_bytes = 1024 is not supported"},
        BadCase{R"({"self_evolution":{"tier1":{"memory_growth":{"forgetting":"oldest"}}}})",
                "self_evolution.tier1.memory_growth.forgetting = \"oldest\" is not supported"},
        BadCase{R"({"self_evolution":{"tier1":{"memory_growth":{"max_per_session":-1}}}})",
                "self_evolution.tier1.memory_growth.max_per_session = -1 is outside 0..1000000"},
        BadCase{R"({"self_evolution":{"safety":{"freeze_threshold":0}}})",
                "self_evolution.safety.freeze_threshold = 0 must be above 0 and below 1"},
        BadCase{R"({"self_evolution":{"safety":{"state_file":"../x"}}})",
                "self_evolution.safety.state_file = \"../x\" must be a file name"},
        BadCase{R"({"diagnostics":{"thresholds":{"min_contrastive_benefit":2}}})",
                "diagnostics.thresholds.min_contrastive_benefit = 2 is outside -1..1"}));

INSTANTIATE_TEST_SUITE_P(
    Layers, ConfigRejects,
    testing::Values(
        BadCase{R"({"backbone":{"moe":{"layers":[3,7,30]}}})",
                "backbone.moe.layers[2] = 30 is outside 0..27"},
        BadCase{R"({"backbone":{"moe":{"layers":[7,3]}}})",
                "backbone.moe.layers[1] = 3 does not come after 7"},
        BadCase{R"({"backbone":{"moe":{"num_experts_per_tok":17}}})",
                "backbone.moe.num_experts_per_tok = 17 is not supported, only 2 is"},
        BadCase{R"({"backbone":{"moe":{"moe_intermediate_size":100}}})",
                "backbone.moe.moe_intermediate_size = 100 must be a multiple of 64"},
        BadCase{R"({"backbone":{"layer_pattern":"GD QQ GD TM GD XM GD SK"}})",
                "names \"QQ\", which is not in layer_aliases"},
        BadCase{R"({"backbone":{"layer_pattern":""}})", "backbone.layer_pattern_repeat = 3.5"},
        BadCase{R"({"backbone":{"layer_pattern_repeat":3}})",
                "8 layers in layer_pattern times 3 is 24, num_hidden_layers is 28"},
        BadCase{R"({"backbone":{"layer_aliases":{"GD":"attention"}}})",
                "backbone.layer_aliases.GD = \"attention\" must be"},
        BadCase{R"({"backbone":{"layer_counts":{"GD":13}}})",
                "backbone.layer_counts.GD = 13 is wrong: the pattern holds 14 such layers"},
        BadCase{R"({"looping":{"loop":[4,30]}})", "looping.loop[1] = 30 is outside 0..27"},
        BadCase{R"({"looping":{"loop":[5,23]}})", "looping.loop = [5,23] must start at layer 4"},
        BadCase{R"({"looping":{"coda":[24,26]}})", "looping.coda = [24,26] must end at the last"},
        BadCase{R"({"looping":{"loop_default":7}})", "looping.loop_default = 7 is outside"},
        BadCase{R"({"looping":{"prelude":[0]}})", "looping.prelude = [0] must hold the first"}));

TEST(Config, HostileTexts) {
  auto error = [](const std::string& text) {
    auto config = ParseConfig(text);
    EXPECT_FALSE(config.ok());
    return std::string(ToStd(config.status().message()));
  };
  EXPECT_THAT(error(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(error("{\"a\":1,}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error("[1]"), HasSubstr("must be an object, is an array"));
  EXPECT_THAT(error("{\"a\":1,\"a\":2}"), HasSubstr("key \"a\" is written twice"));
  EXPECT_THAT(error("{\"a.b\":1}"), HasSubstr("key \"a.b\""));
  EXPECT_THAT(error("{\"x\":" + std::string(100000, '[') + std::string(100000, ']') + "}"),
              HasSubstr("nested deeper than 32 levels"));
  EXPECT_THAT(error("{\"x\":" + std::string(100000, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(error(std::string(kConfigBytesMax + 1, ' ')), HasSubstr("exceed the limit"));
  EXPECT_THAT(error("{}"), HasSubstr("_name_or_path is missing"));
  EXPECT_THAT(error("{\"_name_or_path\":\"\xff\"}"), HasSubstr("not valid JSON"));
  std::string many = "{\"k0\":0";
  for (int i = 1; i < 600; ++i) many += ",\"k" + std::to_string(i) + "\":0";
  EXPECT_THAT(error(many + "}"), HasSubstr("more than 512 keys"));
}

// Every prefix of a real file is refused, never read as something else.
TEST(Config, TruncatedFileIsAnError) {
  const std::string text = Text(kFull);
  size_t end = text.find_last_of('}');
  for (size_t size = 0; size < end; size += 499) {
    EXPECT_FALSE(ParseConfig(text.substr(0, size)).ok()) << size;
  }
}

// Damaged bytes are refused or read as another valid configuration; what loads is within limits.
TEST(Config, DamagedFileNeverBreaksTheRules) {
  const std::string text = Text(kFull);
  for (uint32_t round = 0; round < 400; ++round) {
    std::string damaged = text;
    for (uint32_t hit = 0; hit <= round % 3; ++hit) {
      const auto random = Philox4x32({round, hit, 0, 0}, 7, 0);
      damaged[random[0] % damaged.size()] = static_cast<char>(random[1] & 0x7f);
    }
    auto config = ParseConfig(damaged);
    if (!config.ok()) {
      EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << config.status();
      continue;
    }
    const ModelConfig& m = config->model;
    EXPECT_EQ(m.layers.size(), static_cast<size_t>(m.n_layers));
    EXPECT_EQ(m.d_model, m.n_heads * 64);
    EXPECT_TRUE(ParseConfig(ConfigJson(*config)).ok());
  }
}

TEST(Config, MissingFileIsNotFound) {
  EXPECT_EQ(LoadConfig("/nonexistent/x.json").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(LoadConfig(kFull, {"/nonexistent/x.json"}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(CheckTrainable, SaysWhatIsMissing) {
  auto refusal = [](const std::string& overlay) {
    auto config = WithOverlay(overlay);
    EXPECT_TRUE(config.ok()) << config.status();
    if (!config.ok()) return std::string();
    return std::string(ToStd(CheckTrainable(*config).message()));
  };
  EXPECT_EQ(refusal("{}"), "");
  const std::string gd = R"("num_hidden_layers":28,"backbone":{"layer_pattern":"GD XM",
                            "layer_pattern_repeat":14)";
  EXPECT_EQ(refusal("{" + gd + "}}"), "");
  const std::string plain = gd + R"(,"moe":{"enabled":false}},"looping":{"enabled":false})";
  EXPECT_EQ(refusal("{" + plain + "}"), "");
  EXPECT_THAT(refusal("{" + plain + R"(,"byte_level":{"enabled":true}})"),
              HasSubstr("byte_level.enabled = true is not supported yet"));
  for (const char* on : {"sherry_mode", "hgf_correction"}) {
    EXPECT_EQ(refusal("{" + plain + R"(,"quantization":{")" + on + R"(":{"enabled":true}}})"), "");
  }
}

TEST(Config, TernarySwitchesWorkBothWays) {
  const ModelConfig plain = WithOverlay("{}")->model;
  EXPECT_EQ(plain.quant.packing, TernaryPacking::kRowsInLanes);
  EXPECT_FALSE(plain.quant.hgf);
  const auto quant = [](const std::string& keys) {
    auto config = WithOverlay(R"({"quantization":{)" + keys + "}}");
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? config->model.quant : QuantConfig{};
  };
  EXPECT_EQ(quant(R"("packing":"rows_in_lanes")").packing, TernaryPacking::kRowsInLanes);
  EXPECT_EQ(quant(R"("packing":"base3")").packing, TernaryPacking::kBase3);
  EXPECT_EQ(plain.quant.head_bits, 8);
  EXPECT_EQ(quant(R"("head_bits":8)").head_bits, 8);
  EXPECT_EQ(quant(R"("head_bits":6)").head_bits, 6);
  EXPECT_EQ(quant(R"("head_bits":4,"packing":"base3")").head_bits, 4);
  EXPECT_TRUE(quant(R"("sherry_mode":{"enabled":true})").sherry());
  EXPECT_FALSE(quant(R"("packing":"base3")").sherry());
  EXPECT_TRUE(quant(R"("hgf_correction":{"enabled":true})").hgf);
  const QuantConfig both =
      quant(R"("sherry_mode":{"enabled":true},"hgf_correction":{"enabled":true})");
  EXPECT_TRUE(both.sherry() && both.hgf);
}

TEST(Config, ImpossibleTernarySwitchesAreNamed) {
  const auto error = [](const std::string& keys) {
    return ErrorOf(R"({"quantization":{)" + keys + "}}");
  };
  EXPECT_THAT(error(R"("packing":"base4")"), HasSubstr("quantization.packing = \"base4\""));
  EXPECT_THAT(error(R"("packing":3)"), HasSubstr("quantization.packing"));
  EXPECT_THAT(error(R"("head_bits":5)"), HasSubstr("quantization.head_bits = 5 must be 8, 6 or 4"));
  EXPECT_THAT(error(R"("head_bits":3)"), HasSubstr("quantization.head_bits = 3"));
  EXPECT_THAT(error(R"("head_bits":"4")"), HasSubstr("quantization.head_bits"));
  EXPECT_THAT(error(R"("method":"none","head_bits":4)"),
              HasSubstr("quantization.head_bits = 4 needs ternary weights"));
  EXPECT_THAT(error(R"("method":"none","packing":"base3")"),
              HasSubstr("quantization.packing = \"base3\" needs ternary weights"));
  EXPECT_THAT(error(R"("method":"none","sherry_mode":{"enabled":true})"),
              HasSubstr("quantization.sherry_mode.enabled = true needs ternary weights"));
  EXPECT_THAT(error(R"("method":"none","hgf_correction":{"enabled":true})"),
              HasSubstr("quantization.hgf_correction.enabled = true needs ternary weights"));
  EXPECT_THAT(error(R"("packing":"base3","sherry_mode":{"enabled":true})"),
              HasSubstr("does not fit quantization.sherry_mode.enabled"));
  EXPECT_THAT(error(R"("sherry_mode":{"bits":1.5})"),
              HasSubstr("quantization.sherry_mode.bits = 1.5"));
}

}  // namespace
}  // namespace chimera
