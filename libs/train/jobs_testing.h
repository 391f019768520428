// Shared by the job tests: a small text, the smoke recipe, a runner over a folder.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

#include "base/file.h"
#include "train/jobs.h"

namespace chimera {

// Deterministic English-like lines.
inline std::string JobsTestText(int lines) {
  static constexpr const char* kWords[] = {"the",   "river", "keeps", "what", "rain",  "gave",
                                           "stone", "and",   "small", "fire", "under", "night"};
  std::string text;
  uint32_t state = 1;
  for (int line = 0; line < lines; ++line) {
    for (int word = 0; word < 9; ++word) {
      state = state * 1664525u + 1013904223u;
      text += kWords[(state >> 16) % 12];
      text += word == 8 ? ".\n" : " ";
    }
  }
  return text;
}

inline void WriteTestFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string SmokeRecipe() {
  return ReadFile(std::string(CHIMERA_SOURCE_DIR) + "/configs/recipes/smoke.json", 1 << 20).value();
}

// The smoke recipe with a quarter of its tokens a step.
inline std::string SmallRecipe() {
  std::string text = SmokeRecipe();
  auto replace = [&](const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
  };
  replace("\"seq_len\": 128", "\"seq_len\": 64");
  replace("\"batch_seqs\": 8", "\"batch_seqs\": 4");
  return text;
}

inline JobRunnerOptions JobsTestOptions(const std::string& folder) {
  JobRunnerOptions options;
  options.folder = folder;
  options.rules.any_path = true;
  options.rules.default_recipe_path =
      std::string(CHIMERA_SOURCE_DIR) + "/configs/recipes/smoke.json";
  options.tokenizer_paths = {std::string(CHIMERA_SOURCE_DIR) + "/tests/golden/o200k_8192.tiktoken"};
  options.checkpoint_interval_s = 1;
  options.threads = 1;
  return options;
}

}  // namespace chimera
