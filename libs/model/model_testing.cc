#include "model/model_testing.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "model/random_model.h"

namespace chimera {

std::shared_ptr<const Tokenizer> TestTokenizer() {
  static const std::shared_ptr<const Tokenizer> tokenizer = [] {
    auto ranks =
        ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/o200k_8192.tiktoken", 1 << 20);
    CHIMERA_CHECK(ranks.ok());
    auto made = Tokenizer::FromRankText(*ranks, 1024);
    CHIMERA_CHECK(made.ok());
    return *made;
  }();
  return tokenizer;
}

Config TestConfig(bool quantized, TestShape shape) {
  return TestConfigWith(quantized ? R"("method": "bitnet")" : R"("method": "none")", shape);
}

Config TestConfigWith(const std::string& quantization_keys, TestShape shape) {
  const std::string plain = R"(
    "num_hidden_layers": 2,
    "backbone": {"layer_pattern": "GD XM", "layer_pattern_repeat": 1, "layer_counts": null,
                 "moe": {"enabled": false}},
    "looping": {"enabled": false},)";
  const std::string looped = R"(
    "num_hidden_layers": 4,
    "backbone": {"layer_pattern": "GD XM GD GD", "layer_pattern_repeat": 1, "layer_counts": null,
                 "moe": {"layers": [1, 3], "n_routed_experts": 4, "moe_intermediate_size": 64}},
    "looping": {"prelude": [0, 0], "loop": [1, 2], "coda": [3, 3], "loop_range": [1, 4]},)";
  const std::string full = R"(
    "num_hidden_layers": 5,
    "backbone": {"layer_pattern": "GD TM XM SK TM", "layer_pattern_repeat": 1, "layer_counts": null,
                 "moe": {"layers": [1, 3], "n_routed_experts": 4, "moe_intermediate_size": 64}},
    "titans": {"persistent_memory_slots": 8, "local_window_size": 32},
    "braid_state": {"semantic_sketch": [256, "uint64_x4"]},
    "looping": {"prelude": [0, 0], "loop": [1, 2], "coda": [3, 4], "loop_range": [1, 4]},)";
  const std::string overlay = R"({
    "_name_or_path": "test", "hidden_size": 64, "num_heads": 1, "intermediate_size": 128,
    "initializer_range": 0.08, "vocab_size": 1080, "token_ids": [1024, 1065],)" +
                              (shape == TestShape::kFull     ? full
                               : shape == TestShape::kLooped ? looped
                                                             : plain) +
                              R"("quantization": {)" + quantization_keys + "}}";
  auto base = ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/configs/chimera-5.3.json", 1 << 20);
  auto scale = ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/configs/scales/nano.json", 1 << 20);
  CHIMERA_CHECK(base.ok() && scale.ok());
  auto config = ParseConfig(*base, {*scale, overlay});
  if (!config.ok()) ADD_FAILURE() << config.status();
  CHIMERA_CHECK(config.ok());
  return *config;
}

namespace {

// Removes the folders of this process at its end.
struct Folders {
  ~Folders() {
    for (const std::string& path : paths) {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  }
  std::vector<std::string> paths;
};

}  // namespace

std::string TestFolder(const std::string& name) {
  static Folders folders;
  const std::string path = testing::TempDir() + "/chimera_" + std::to_string(getpid()) + "_" + name;
  std::filesystem::remove_all(path);
  CHIMERA_CHECK(MakeDirs(path).ok());
  folders.paths.push_back(path);
  return path;
}

std::string TestModelFolder(const std::string& name, bool quantized, uint64_t seed,
                            TestShape shape) {
  return TestModelFolder(name, TestConfig(quantized, shape), seed);
}

std::string TestModelFolder(const std::string& name, const Config& config, uint64_t seed) {
  const std::string folder = TestFolder("model_" + name);
  auto id = WriteRandomModel(config, *TestTokenizer(), seed, folder);
  if (!id.ok()) ADD_FAILURE() << id.status();
  return folder;
}

}  // namespace chimera
