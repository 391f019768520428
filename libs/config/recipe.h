// A training recipe: which model, on top of which config, and how to train it (configs/recipes/).
//   {"config": "configs/chimera-5.3.json", "scale": "nano", "overlay": {...}, "train": {...}}
// "config" is looked up in the recipe's folder, then in the folders above it; "scale" names
// scales/<scale>.json beside the config; "overlay" is a merge patch. Defaults of "train" come from
// training.phases[pretrain], those of "mezo" from here. Errors name the key path. Functions here
// are thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/config.h"

namespace chimera {

enum class OptimizerKind { kAdamW, kMezo };
// "adamw", "mezo".
const char* OptimizerName(OptimizerKind kind);

// Value type. Training stops at the first of steps, tokens_budget and max_minutes that is set.
struct TrainRecipe {
  Config config;
  uint64_t seed = 1;
  int seq_len = 0;
  int batch_seqs = 0;  // sequences per optimizer step
  int64_t steps = 0;   // 0: no limit of its own
  double max_minutes = 0;
  int64_t tokens_budget = 0;
  // Folder of the model to start from; empty: fresh parameters from the seed.
  std::string init_model;
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  double lr = 0;
  double lr_min_ratio = 0.1;  // the cosine ends at lr * lr_min_ratio
  int64_t warmup_steps = 0;
  double weight_decay = 0;
  double beta1 = 0.9;  // these five act with adamw only
  double beta2 = 0.95;
  double eps = 1e-8;
  double grad_clip = 0;                 // 0: off
  bool gradient_checkpointing = false;  // less memory, one more forward pass; the same bits
  double mezo_eps = 1e-3;               // with mezo only: how far a probe moves each parameter
  // Passes over text from all over the data that settle the experts' biases after the last step
  // (train/expert_settle.h). A recipe without the key: one for every 4 steps, at most 1,000.
  int64_t expert_settle_passes = 0;
  int64_t eval_every_steps = 0;  // 0: at the end only
  int64_t eval_bytes = 65536;    // of the held-out part, from its start
  double valid_fraction = 0.02;  // held out from the end of the data when no file is given
  int64_t log_every_steps = 10;
  int checkpoint_interval_s = 300;  // 0: at the end only
  int threads = 0;                  // 0: UsableCpus()

  bool operator==(const TrainRecipe&) const = default;

  int64_t TokensPerStep() const { return static_cast<int64_t>(seq_len) * batch_seqs; }
  // The step at which training ends by steps or tokens_budget, whichever comes first.
  int64_t StepsTotal() const;
};

// A relative init_model is looked up like "config".
absl::StatusOr<TrainRecipe> LoadRecipe(const std::string& path);

// base_dir stands for the recipe's folder. "config" and "scale" may not leave the folders they are
// looked up in (no absolute paths, no ".."). init_model is taken as it is: what it may name is the
// caller's affair.
absl::StatusOr<TrainRecipe> ParseRecipe(const std::string& json_text, const std::string& base_dir);

}  // namespace chimera
