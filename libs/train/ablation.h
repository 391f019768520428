// What the parts of a network are worth: bits per byte with parts removed, by the training plane
// (validation.h). A part is removed by changing the weights that a model restores to
// (model/master_weights.h), the config of the network that runs them, or what its memories do; the
// model itself stays as it is. Nothing is trained again: the figure says how much the finished
// network leans on a part, not how well it would do had it never had it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/exec_context.h"
#include "config/model_config.h"
#include "model/model.h"
#include "model/network.h"

namespace chimera {

struct AblationPart {
  const char* name;  // "tm.memory"
  const char* help;  // one sentence
};

// All parts, in the order of a table; then those that a model of this shape has. A part that cannot
// matter does not count: the sketch's memory, grammar and debt terms need fields, which a plain
// text does not bring.
std::vector<AblationPart> AllAblationParts();
std::vector<AblationPart> AblationParts(const ModelConfig& config);

// INVALID_ARGUMENT names the first that the model does not have, and what it has.
absl::Status CheckAblation(const ModelConfig& config, const std::vector<std::string>& parts);

// How unevenly a layer's experts were used over a text, later iterations of the loop included.
struct ExpertImbalance {
  int layer = 0;
  int64_t picks = 0;     // two a token and iteration
  double imbalance = 0;  // max_i c_i / mean(c) - 1; 0 is perfectly even
};

struct AblationResult {
  double bpb = 0;
  std::vector<ExpertImbalance> experts;  // one a layer with experts
};

// Thread-compatible; the model and exec are borrowed.
class Ablation {
 public:
  // Every token runs `loops` iterations of the looped block; CheckLoops holds, 0 is the default.
  Ablation(const Model& model, int loops, ExecContext* exec);

  // What the model has with these loops: a model that runs its block once has no loop to lose.
  const ModelConfig& config() const { return config_; }

  // The text without `parts`, for which CheckAblation of config() holds; none: the whole model. The
  // text is not empty.
  AblationResult Measure(std::string_view text, const std::vector<std::string>& parts);

 private:
  const Model& model_;
  ModelConfig config_;  // the model's, with the chosen loops as its default
  ExecContext* exec_;
  Parameters parameters_;
  std::vector<float> whole_;  // the parameters with nothing removed
};

}  // namespace chimera
