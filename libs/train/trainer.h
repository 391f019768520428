// Runs a recipe: text in, model folder out. Resumable at any moment: a killed run continued from
// its work folder ends with bit-identical weights (FEATURES T4).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "config/recipe.h"
#include "text/tokenizer.h"

namespace chimera {

struct TrainProgress {
  int64_t step = 0;
  int64_t steps_total = 0;
  int64_t tokens = 0;
  double train_loss_nats = 0;  // nats per token, mean since the last report
  double valid_bpb = 0;        // bits per byte of the held-out part; 0 until first measured
  double tokens_per_s = 0;
  double eta_s = 0;
  double learning_rate = 0;
  // Root mean square since the last report, before clipping. With mezo of the projected gradients,
  // whose mean square is that of the gradient's norm.
  double gradient_norm = 0;
  double projected_gradient = 0;  // mezo: of the last step; 0 otherwise
  double mean_loops = 1;          // iterations of the looped block a token ran, last step
  double expert_imbalance = 0;    // busiest over mean, minus 1, in the worst layer; 0 without any
  int64_t checkpoint_step = 0;    // steps covered by the last checkpoint on disk
};

struct TrainOptions {
  std::string data_path;    // a text file, or a folder of text files
  std::string valid_path;   // held-out text; empty: the recipe's fraction of the data
  std::string work_folder;  // checkpoint.ckpt, curve.svg, router.json, model/; created when missing
  std::shared_ptr<const Tokenizer> tokenizer;             // vocabulary must fit the recipe's config
  std::function<void(const TrainProgress&)> on_progress;  // called after each report interval
  std::function<bool()> should_stop;                      // polled after each step
};

struct TrainResult {
  bool finished = false;  // false: should_stop said so; the checkpoint allows to go on
  TrainProgress progress;
  std::string model_folder;  // set when finished
  std::string model_id;
};

// Trains until the recipe's end, or until should_stop. Errors: an empty, unreadable or binary data
// path, an init_model that does not fit, a checkpoint of another recipe, a full disk (the last good
// checkpoint survives).
absl::StatusOr<TrainResult> RunTraining(const TrainRecipe& recipe, const TrainOptions& options);

}  // namespace chimera
