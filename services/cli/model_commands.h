// What the verbs of `chimera model` share.
#pragma once

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
  bool json = false;
};

// Errors name the file.
absl::StatusOr<Config> LoadInspected(const InspectFlags& flags);

void AddConvert(CLI::App& model, Command* run);

}  // namespace chimera
