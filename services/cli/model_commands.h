// What the verbs of `chimera model` share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "services/cli/commands.h"

namespace CLI {
class App;
}  // namespace CLI

namespace chimera {

// A configuration with its overlays, or a model folder.
struct InspectFlags {
  std::string config;
  std::string scale;
  std::vector<std::string> overlays;
  std::string model;
  int head_bits = 0;  // of the configuration's model: 8, 6 or 4; 0 leaves it as it is
  bool json = false;
};

// Errors name the file.
absl::StatusOr<Config> LoadInspected(const InspectFlags& flags);

// Writes a model with random weights of a configuration; returns its id. ranks: a rank file, or
// empty for those that are looked up.
absl::StatusOr<std::string> MakeRandomFolder(const InspectFlags& what, uint64_t seed,
                                             const std::string& ranks, const std::string& folder);

void AddConvert(CLI::App& model, Command* run);

}  // namespace chimera
