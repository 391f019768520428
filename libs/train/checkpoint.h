// A training run frozen between two steps (docs/formats/checkpoint.md): continuing from it gives
// the same bits as never having stopped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace chimera {

// One point of the loss curve.
struct CurvePoint {
  int64_t step = 0;
  double train_loss_nats = 0;
  double valid_bpb = 0;  // 0: not measured at this point
  double seconds = 0;    // of training so far, over all resumptions
};

struct Checkpoint {
  uint64_t recipe_hash = 0;  // of everything that must not change between save and resume
  std::string platform;      // instruction set and matrix library: other ones give other bits
  std::string optimizer;     // OptimizerName
  std::string init_model;    // id of the model the run started from; empty: fresh parameters
  int64_t step = 0;          // optimizer steps done
  double seconds = 0;
  std::vector<float> values;
  std::vector<float> m;  // moments of adamw; empty for mezo, which has none
  std::vector<float> v;
  std::vector<float> states;    // recurrent state of every lane
  std::vector<double> balance;  // of the experts (train/expert_balance.h)
  std::vector<CurvePoint> curve;
};

// Atomic: on error the previous file is intact.
absl::Status SaveCheckpoint(const std::string& path, const Checkpoint& checkpoint);
// Also reads version 1, whose runs were AdamW's from fresh parameters without experts. NOT_FOUND
// when absent, DATA_LOSS naming the fault when damaged.
absl::StatusOr<Checkpoint> LoadCheckpoint(const std::string& path);

}  // namespace chimera
